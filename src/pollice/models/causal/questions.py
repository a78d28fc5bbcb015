"""What is asked, in words: built-in questions for opinions and for any labels, or a user's own.

Knows nothing about tokens, and nothing about models.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from pollice.data.scales import Scale, find_scale
from pollice.errors import PromptError

POLES = ("negative", "positive")
"""What is asked about where the labels are more than two steps of a scale, the worst first."""


_STEP_WORDS = {
    3: ("bad", "okay", "good"),
    4: ("terrible", "bad", "good", "excellent"),
    5: ("terrible", "bad", "okay", "good", "excellent"),
    6: ("terrible", "bad", "weak", "fine", "good", "excellent"),
    7: ("terrible", "bad", "weak", "okay", "fine", "good", "excellent"),
}
_LETTERS = "ABCDEFGHIJKL"
"""For more steps than there are words."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One way to ask for the label, after the text."""

    answer: str
    """The answer's beginning: the label's words come right after it."""
    words: Mapping[str, tuple[str, ...]]
    """The words that mean each label; their probabilities are summed."""
    ask: str = ""
    """What a chat checkpoint is asked in the user's turn; plain checkpoints read on instead."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """All of a prompt but the text and the examples."""

    questions: tuple[Question, ...]
    before: str = ""
    """What stands right before every text."""
    after: str = "\n"
    """What stands between the text and a question's answer, in plain prompts."""
    instructions: str = ""
    separator: str = "\n\n"
    """What stands between examples, in plain prompts."""
    asked: tuple[str, ...] = ()
    """What has words in every question; empty: the labels themselves, in their order."""
    shown: Mapping[str, str] = field(default_factory=dict)
    """What an example of a label shows; else the first question's first word for it."""
    scale: Scale | None = None
    """The scale that the labels name, where the questions are made for it."""
    purpose: str = ""
    """What the questions are made for, as a sentence."""


_OPINION = "Overall, the author's opinion of it is"
_JUDGED = (
    ("How was it, in one word?", "In one word:"),
    ("What is the author's verdict?", "My verdict:"),
)
_ANY = (
    ("What is this text about: {}?", "This text is about"),
    ("What kind of message is this: {}?", "This message is a"),
    ("What is this: {}?", "This is"),
    ("Which word fits this text best: {}?", "In one word:"),
)
_USUAL = ("normal", "ordinary", "fine")
"""The words of a label that only denies another."""
_DESCRIBED = ("Which of these is true of the text: {}?", "In other words, this is about")


def default_template(
    label_names: Sequence[str],
    label_words: Mapping[str, Sequence[str]] | None = None,
    descriptions: Mapping[str, str] | None = None,
) -> Template:
    """Return the template for labels: steps of a scale of opinions, or any names.

    Args:
        label_names: The labels, in any order.
        label_words: The words of some labels, in place of their names.
        descriptions: What some labels mean, in a few words each.
    """
    words, meanings = label_words or {}, descriptions or {}
    _check_words(words, label_names)
    _check_labels(meanings, label_names, "A description is")
    scale = find_scale(label_names)
    if scale and not words and not meanings:
        return _scale_template(scale)
    named = {name: tuple(words.get(name, _own_words(name, label_names))) for name in label_names}
    if scale:
        return Template(
            questions=_opinion_questions(named, named),
            purpose="Three general questions on opinions were asked, with the words of label_words "
            "or the labels' own names.",
        )
    return _any_template(named, meanings)


def template_to_train(
    label_names: Sequence[str],
    label_words: Mapping[str, Sequence[str]] | None = None,
    descriptions: Mapping[str, str] | None = None,
) -> Template:
    """Return the template for labels of which each is trained by the first token of its words.

    The steps of a scale get words that differ in it, the more so the more steps there are.
    """
    scale = find_scale(label_names)
    if scale is None or len(scale.names) == 2 or label_words or descriptions:
        return default_template(label_names, label_words, descriptions)
    steps = _STEP_WORDS.get(len(scale.names), _LETTERS)
    # Not strict: there may be more letters than steps.
    words = {name: (word,) for name, word in zip(scale.names, steps, strict=False)}
    return Template(
        questions=_opinion_questions(words, words),
        scale=scale,
        purpose="Three general questions on opinions were asked, with a word for each step: "
        f"{', '.join(f'{word} for {name}' for name, (word,) in words.items())}.",
    )


def _scale_template(scale: Scale) -> Template:
    low, high = (scale.names[0], scale.names[-1]) if len(scale.names) == 2 else POLES
    judged = {
        low: ("terrible", "bad", "awful", "poor"),
        high: ("great", "good", "excellent", "wonderful"),
    }
    steps = f"{', '.join(scale.names[:-1])} and {scale.names[-1]}"
    return Template(
        questions=_opinion_questions({low: ("negative",), high: ("positive",)}, judged),
        asked=() if len(scale.names) == 2 else POLES,
        shown={} if len(scale.names) == 2 else {name: _readable(name) for name in scale.names},
        scale=scale,
        purpose="Three general questions on opinions were asked, which are made for these labels: "
        f"{steps} were read as a scale from the worst opinion to the best.",
    )


def _opinion_questions(
    opinion: Mapping[str, tuple[str, ...]], judged: Mapping[str, tuple[str, ...]]
) -> tuple[Question, ...]:
    """Return general questions, not about films; docs/prompting.md says what they score."""
    listed = " or ".join([", ".join(words[0] for words in opinion.values())])
    asked = "positive or negative" if len(opinion) == 2 else listed
    return (
        Question(ask=f"Is the author's opinion {asked}?", answer=_OPINION, words=opinion),
        *(Question(ask=ask, answer=answer, words=judged) for ask, answer in _JUDGED),
    )


def _any_template(named: Mapping[str, tuple[str, ...]], meanings: Mapping[str, str]) -> Template:
    """Return several short, natural questions: no one of them fits every kind of label."""
    listed = ", ".join(
        f"{words[0]} ({meanings[name]})" if name in meanings else words[0]
        for name, words in named.items()
    )
    questions = [
        Question(ask=ask.format(listed), answer=answer, words=named) for ask, answer in _ANY
    ]
    if meanings:
        ask, answer = _DESCRIBED
        described = {name: (meanings.get(name, words[0]),) for name, words in named.items()}
        questions.append(Question(ask=ask.format(listed), answer=answer, words=described))
    return Template(
        questions=tuple(questions),
        purpose=f"{len(questions)} general questions were asked, which are made for no labels in "
        "particular: they name what a text is or is about. Words or descriptions of the labels, or "
        "a template of your own, may do better.",
    )


def _own_words(label: str, label_names: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a label: its name, but for one that only denies another label.

    "not spam" is likely after "This is" where spam is denied, so where it is talked about.
    """
    others = [_readable(name).casefold() for name in label_names if name != label]
    plain = _readable(label).casefold()
    denied = [
        f"{no}{gap}{other}"
        for no in ("not", "non", "no")
        for gap in (" ", "-", "")
        for other in others
    ]
    return _USUAL if plain in denied or (plain, *others) == ("ham", "spam") else (_readable(label),)


def _readable(label: str) -> str:
    return " ".join(label.replace("_", " ").split())


def custom_template(
    template: str, label_words: Mapping[str, Sequence[str]], label_names: Sequence[str]
) -> Template:
    """Return the template of a user: ``template`` holds ``{text}``; the label comes at its end.

    Labels that ``label_words`` does not name are asked for by their own names.
    """
    if template.count("{text}") != 1:
        raise PromptError(
            f"A template must hold {{text}} exactly once, but {template!r} holds it "
            f"{template.count('{text}')} times. Write for example "
            "'{text}\\nOverall, the opinion is'."
        )
    _check_words(label_words, label_names)
    before, after = template.split("{text}")
    words = {name: tuple(label_words.get(name, (_readable(name),))) for name in label_names}
    # Blanks after the text belong to plain prompts alone: a chat has a joint of its own.
    lead = after[: len(after) - len(after.lstrip())]
    question = Question(ask=after.strip(), answer=after.lstrip(), words=words)
    return Template(
        questions=(question,),
        before=before,
        after=lead,
        purpose="A question of your own was asked.",
    )


def _check_words(label_words: Mapping[str, Sequence[str]], label_names: Sequence[str]) -> None:
    _check_labels(label_words, label_names, "Label words are")
    for label, given in label_words.items():
        if not given:
            raise PromptError(
                f"Expected one word or more for the label {label!r}, but label_words gives none. "
                "Give one, or leave the label out: then its own name is asked for."
            )


def _check_labels(given: Iterable[str], label_names: Sequence[str], what: str) -> None:
    unknown = [label for label in given if label not in label_names]
    if unknown:
        raise PromptError(
            f"{what} given for {unknown[0]!r}, but the labels are: {', '.join(label_names)}."
        )


def hypotheses(
    template: str, label_words: Mapping[str, str], label_names: Sequence[str]
) -> tuple[str, ...]:
    """Return one statement for each label: ``template`` with the label's words for its ``{}``.

    Labels that ``label_words`` does not name are negative and positive where they are two poles
    of a scale, and their own names otherwise.

    Raises:
        PromptError: words are given for what is no label, or two labels get the same statement.
    """
    _check_labels(label_words, label_names, "Label words are")
    # Three sources, the strongest last: names, the poles of a scale, and what the user gave.
    words = {name: _readable(name) for name in label_names}
    scale = find_scale(label_names)
    if scale:
        words |= {scale.names[0]: POLES[0], scale.names[-1]: POLES[-1]}
    words |= label_words
    statements = {name: template.replace("{}", words[name]) for name in label_names}
    for first, second in combinations(label_names, 2):
        if statements[first] == statements[second]:
            raise PromptError(
                f"The labels {first!r} and {second!r} both become {statements[first]!r}, so they "
                "cannot be told apart. Give them different label_words."
            )
    return tuple(statements.values())
