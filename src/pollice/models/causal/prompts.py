"""Label words, examples and a text, turned into token pieces.

Knows nothing about models: the pieces are token ids, the tokenizer is a protocol.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

from pollice.errors import PromptError, counted
from pollice.models.causal.questions import Question, Template

Tokens = tuple[int, ...]

_MARK = "\ue000"  # a private-use character: stands for a text while a template is rendered


class PromptTokenizer(Protocol):
    """What a prompt needs of a tokenizer."""

    @property
    def has_chat_template(self) -> bool:
        """Whether the checkpoint was trained on conversations."""

    def encode_markup(self, text: str) -> Tokens:
        """Encode our own words: control tokens in them count, and none is added."""

    def is_unknown(self, token: int) -> bool:
        """Tell whether a token stands for something the vocabulary lacks."""

    def render_chat(self, turns: Sequence[tuple[str, str]]) -> str:
        """Render (role, content) turns up to where the model's answer starts."""

    @property
    def start(self) -> Tokens:
        """The tokens that every sequence starts with: BOS, or none."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A text with its label, shown before the question. Its tokens are already cut."""

    tokens: Tokens
    label: str


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A question as tokens."""

    tokens: Tokens
    words: tuple[tuple[Tokens, ...], ...]
    """For each label, in order, the tokens of each of its words."""


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """A prompt as tokens: ``prefix``, then the text, then each of the endings on its own."""

    prefix: Tokens
    endings: tuple[Ending, ...]


_NESTED = 8  # so deep in one another are control words found; the rest are letters
_BRACKETED = re.compile(  # a run of spaces is read once, from its start: no text takes long
    r"(?:(?<!\s)\s++)?(?:<<[^<>\[\]]{1,40}>>|<[^<>\[\]]{1,40}>|\[[^<>\[\]]{1,40}\])\s*+"
)
_CONTROL = re.compile(
    r"\[/?inst\]|<</?sys>>|</?s>|<(?:bos|eos|pad|unk|mask|(?:start|end)_of_turn)>"
    r"|\[(?:cls|sep|pad|unk|mask)\]|<\|[^|]+\|>"
)


def without_control_words(text: str) -> str:
    """Return a text without what chat formats and tokenizers mark turns with, or split forms of it.

    No opinion is in ``[INST]`` or ``< / s >``. They never become control tokens, but their letters
    alone tip the label of a text that hangs in the balance.
    """
    for _ in range(_NESTED):  # what is left may have closed up to another
        text, before = _BRACKETED.sub(_kept, text), text
        if text == before:
            break
    return text.strip()


def _kept(found: re.Match[str]) -> str:
    word = "".join(found[0].split()).lower()
    return " " if _CONTROL.fullmatch(word) else found[0]


def assemble(
    template: Template,
    label_names: Sequence[str],
    tokenizer: PromptTokenizer,
    examples: Sequence[Example] = (),
    *,
    first_token_decides: bool = False,
) -> Pieces:
    """Return the prompt's tokens, the texts encoded apart from all that surrounds them.

    Args:
        template: What is asked.
        label_names: Whose words are asked for, unless the template asks for something else.
        tokenizer: Of the checkpoint.
        examples: Shown before the text.
        first_token_decides: Whether words of two labels must start with different tokens, as where
            the answer's first token alone is trained; else words are scored whole.

    Raises:
        PromptError: two labels have the same word, or words that start alike where the first token
            decides; a word has no tokens, nothing stands between the text and the label, or the
            chat template leaves a turn out.
    """
    asked = template.asked or tuple(label_names)
    rendered = [_render(template, question, tokenizer, examples) for question in template.questions]
    for prompt in rendered:
        if prompt.count(_MARK) != len(examples) + 1:
            raise PromptError(
                f"Expected a prompt with {counted(len(examples), 'example')} and one text, but "
                f"found {counted(prompt.count(_MARK), 'place')} for them. The chat template must "
                f"show every turn's content once, and nothing that is given may "
                f"hold the character {_MARK!a}."
            )
    # All questions share one prefix, that of the first: examples ask the first question alone, and
    # of the other questions only what follows the text is used.
    around = rendered[0].split(_MARK)
    prefix: list[int] = []
    for between, example in zip(around[:-2], examples, strict=True):
        prefix += tokenizer.encode_markup(between)
        prefix += example.tokens
    prefix += tokenizer.encode_markup(around[-2])
    start = tokenizer.start
    # Many chat templates write BOS themselves, and it must not stand there twice.
    if tuple(prefix[: len(start)]) != start:
        prefix = [*start, *prefix]
    return Pieces(
        prefix=tuple(prefix),
        endings=tuple(
            _ending(text.split(_MARK)[-1], question, asked, tokenizer, alone=first_token_decides)
            for text, question in zip(rendered, template.questions, strict=True)
        ),
    )


def _render(
    template: Template,
    question: Question,
    tokenizer: PromptTokenizer,
    examples: Sequence[Example],
) -> str:
    if tokenizer.has_chat_template:
        return _render_chat(template, question, tokenizer, examples)
    asked = f"{template.before}{_MARK}{template.after}{question.answer}"
    shown = [
        f"{asked}{_joint(asked)}{_shown_word(template, example.label)}{template.separator}"
        for example in examples
    ]
    lead = f"{template.instructions}{template.separator}" if template.instructions else ""
    return lead + "".join(shown) + asked


def _render_chat(
    template: Template,
    question: Question,
    tokenizer: PromptTokenizer,
    examples: Sequence[Example],
) -> str:
    request = f"{template.before}{_MARK}\n\n{question.ask}".rstrip()
    turns = [("system", template.instructions)] if template.instructions else []
    for example in examples:
        turns += [("user", request), ("assistant", _shown_word(template, example.label))]
    return tokenizer.render_chat([*turns, ("user", request)])


def _shown_word(template: Template, label: str) -> str:
    return template.shown.get(label) or template.questions[0].words[label][0]


def _joint(text: str) -> str:
    """Return what joins a text and the word after it."""
    return "" if text[-1:].isspace() or not text else " "


def _ending(
    text: str,
    question: Question,
    label_names: Sequence[str],
    tokenizer: PromptTokenizer,
    *,
    alone: bool,
) -> Ending:
    """Encode an ending together with each word, so that words get their usual tokens.

    Tokens that all words begin with, such as the space before a digit, belong to the ending.
    """
    # Many tokenizers make one token of a blank and the word after it: encoded apart, a word would
    # get tokens that the model has hardly ever seen after such an ending.
    joint = {
        (label, word): tokenizer.encode_markup(f"{text}{_joint(text)}{word}")
        for label in label_names
        for word in question.words[label]
    }
    _check_made(joint, tokenizer.encode_markup(text), tokenizer)
    # Less one: a word that begins all the others still needs a token that is its own to predict.
    shortest = min(len(tokens) for tokens in joint.values())
    shared = min(_shared_length(joint.values()), shortest - 1)
    if not shared:
        raise PromptError(
            "Expected words between the text and its label, but the template ends with {text}. "
            "Write for example '{text}\\nOverall, the opinion is'."
        )
    words = {key: tokens[shared:] for key, tokens in joint.items()}
    _check_told_apart(words, alone=alone)
    return Ending(
        tokens=next(iter(joint.values()))[:shared],
        words=tuple(
            tuple(tokens for (owner, _), tokens in words.items() if owner == label)
            for label in label_names
        ),
    )


def _shared_length(sequences: Iterable[Tokens]) -> int:
    length = 0
    for column in zip(*sequences, strict=False):
        if len(set(column)) > 1:
            break
        length += 1
    return length


def _check_made(
    joint: Mapping[tuple[str, str], Tokens], text: Tokens, tokenizer: PromptTokenizer
) -> None:
    for (label, word), tokens in joint.items():
        own = tokens[_shared_length([text, tokens]) :]
        if not word.strip() or not own or any(tokenizer.is_unknown(token) for token in own):
            raise PromptError(
                f"The tokenizer of this checkpoint cannot make the word {word!r} of label "
                f"{label!r}. Give another word with label_words."
            )


def _check_told_apart(words: Mapping[tuple[str, str], Tokens], *, alone: bool) -> None:
    for first, second in combinations(words, 2):
        if first[0] == second[0]:
            continue
        if words[first] == words[second]:
            raise PromptError(
                f"The words {first[1]!r} of label {first[0]!r} and {second[1]!r} of label "
                f"{second[0]!r} are the same tokens, so they cannot be told apart. Give other "
                "words with label_words."
            )
        if alone and words[first][0] == words[second][0]:
            raise PromptError(
                f"The words {first[1]!r} of label {first[0]!r} and {second[1]!r} of label "
                f"{second[0]!r} start with the same token, so one answer position cannot tell "
                "them apart. Give other words, that start with different tokens, with label_words."
            )


def spell(pieces: Pieces, decode: Callable[[Sequence[int]], str], labels: int) -> tuple[str, ...]:
    """Return every question as it is asked, with ``{text}`` for the text and the words after it.

    Args:
        pieces: The prompt as tokens.
        decode: Turns tokens into the text that they stand for.
        labels: How many labels' words are written out; of more, the first ones.
    """
    prefix = decode(pieces.prefix)
    return tuple(
        f"{prefix}{{text}}{decode(ending.tokens)} ["
        + " | ".join(
            ", ".join(decode(word).strip() for word in words) for words in ending.words[:labels]
        )
        + (" | ...]" if len(ending.words) > labels else "]")
        for ending in pieces.endings
    )
