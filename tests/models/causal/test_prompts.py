"""Prompts as token pieces: control tokens only where the template puts them, words as usual."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pollice.errors import PromptError
from pollice.models.causal.prompts import (
    Example,
    Pieces,
    assemble,
    spell,
    without_control_words,
)
from pollice.models.causal.questions import Question, Template, custom_template, default_template
from pollice.models.pretrained.tokenizer import TextTokenizer
from tiny import CAUSAL_FAMILIES, ENCODER_FAMILIES, tiny_causal, tiny_encoder

LABELS = ("negative", "positive")
CONTROL_WORDS = (
    *("[INST]", "[/INST]", "<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "<mask>"),
    *("<start_of_turn>", "<end_of_turn>", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]"),
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|end_of_text|>"),
)
QUESTIONS = (
    Question(
        ask="Is it positive or negative?",
        answer="Overall, the opinion is",
        words={"negative": ("negative",), "positive": ("positive",)},
    ),
    Question(
        ask="How was it?",
        answer="In summary, it was",
        words={"negative": ("bad", "awful"), "positive": ("good", "excellent")},
    ),
)
HOSTILE = [
    *CONTROL_WORDS,
    " ".join(CONTROL_WORDS),
    "".join(CONTROL_WORDS),
    *(f"good{word}film" for word in CONTROL_WORDS),
    *(f"{word[:2]} {word[2:]}" for word in CONTROL_WORDS),
    "<|im_" + "end|> <|im_ end|> [IN ST] [I[INST]NST] < / s >",
]
NOT_PREPENDING = ("gemma3", "llama", "qwen2")
"""Families whose tokenizer adds no space of its own: their pieces spell the prompt exactly."""


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TextTokenizer]:
    root = tmp_path_factory.mktemp("tokenizers")
    built = {f"{family}-raw": tiny_causal(root / family, family) for family in CAUSAL_FAMILIES}
    for family in CAUSAL_FAMILIES:
        built[f"{family}-chat"] = tiny_causal(root / f"{family}-chat", family, chat=True)
    for family in ENCODER_FAMILIES:
        built[family] = tiny_encoder(root / family, family)
    return {name: TextTokenizer(folder) for name, folder in built.items()}


CAUSAL = [f"{family}-{kind}" for family in CAUSAL_FAMILIES for kind in ("raw", "chat")]


def examples_of(tokenizer: TextTokenizer, texts: Sequence[str]) -> list[Example]:
    encoded = tokenizer.encode_texts(texts)
    return [
        Example(tokens=tuple(tokens), label=LABELS[row % 2]) for row, tokens in enumerate(encoded)
    ]


def spelled(tokenizer: TextTokenizer, tokens: Sequence[int]) -> str:
    text: str = tokenizer.tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
    return text


def fails(sentence: str, labels: Sequence[str], tokenizer: Any, **question: Any) -> None:
    template = Template(questions=(Question(answer="It was", **question),))
    with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
        assemble(template, labels, tokenizer)


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("shots", [0, 3])
@pytest.mark.parametrize("instructions", ["", "Judge the film."])
def test_a_prompt_starts_once(
    tokenizers: Mapping[str, TextTokenizer], name: str, shots: int, instructions: str
) -> None:
    tokenizer = tokenizers[name]
    template = Template(questions=QUESTIONS, instructions=instructions)
    examples = examples_of(tokenizer, ["the film was great"] * shots)
    pieces = assemble(template, LABELS, tokenizer, examples)
    bos = tokenizer.tokenizer.bos_token_id
    endings = [token for ending in pieces.endings for token in ending.tokens]
    assert bos not in endings
    if name.startswith("qwen2"):
        assert tokenizer.start == ()
    else:
        assert pieces.prefix[0] == bos
        assert pieces.prefix.count(bos) == 1


@pytest.mark.parametrize("name", [*CAUSAL, *ENCODER_FAMILIES])
def test_texts_never_make_control_tokens(
    tokenizers: Mapping[str, TextTokenizer], name: str
) -> None:
    tokenizer = tokenizers[name]
    control = set(tokenizer.tokenizer.all_special_ids) - {tokenizer.tokenizer.unk_token_id}
    assert control
    for text, tokens in zip(HOSTILE, tokenizer.encode_texts(HOSTILE), strict=True):
        assert control.isdisjoint(tokens), text
        assert tokens, text


SPLIT_FORMS = (
    "< / s >",
    "<end_ of_turn>",
    "[IN ST]",
    "<|im_ end|>",
    "[I[INST]NST]",
    "<<SYS>>",
    "[inst]",
)


@pytest.mark.parametrize("word", [*CONTROL_WORDS, *SPLIT_FORMS])
def test_a_prompt_asks_about_a_text_without_control_words(word: str) -> None:
    for text in ("a film", "It was long.\nIt was [sic] 3 < 4 > 2 <3 & [spoiler] <great>"):
        assert without_control_words(f"{word} {text}") == text
        assert without_control_words(f"{text}\n\n{word}{word}") == text
        assert without_control_words(f"{text}{word}") == text
    assert (
        without_control_words(f"a {word} film") == without_control_words(f"a{word}film") == "a film"
    )


@pytest.mark.parametrize("name", ["gemma-raw", "mistral-raw", "llama-chat", "qwen2-raw", "roberta"])
def test_control_words_in_a_text_are_kept_as_letters(
    tokenizers: Mapping[str, TextTokenizer], name: str
) -> None:
    tokenizer = tokenizers[name]
    for text, tokens in zip(HOSTILE, tokenizer.encode_texts(HOSTILE), strict=True):
        assert spelled(tokenizer, tokens).strip() == text


@pytest.mark.parametrize("name", CAUSAL)
def test_a_text_and_its_surroundings_do_not_join_into_control_tokens(
    tokenizers: Mapping[str, TextTokenizer], name: str
) -> None:
    tokenizer = tokenizers[name]

    def control_tokens(before: str, text: str, after: str) -> list[int]:
        template = Template(questions=QUESTIONS, before=before, after=after)
        pieces = assemble(template, LABELS, tokenizer, examples_of(tokenizer, [text]))
        tokens = [*pieces.prefix, *pieces.endings[0].tokens]
        return [token for token in tokens if token in tokenizer.control_tokens]

    for word in CONTROL_WORDS:
        split = control_tokens(word[:2], word[2:-1], f"{word[-1]}\n")
        assert split == control_tokens("so ", "good", "\n"), word


@pytest.mark.parametrize("family", NOT_PREPENDING)
def test_plain_pieces_spell_the_whole_prompt(
    tokenizers: Mapping[str, TextTokenizer], family: str
) -> None:
    tokenizer = tokenizers[f"{family}-raw"]
    template = Template(questions=QUESTIONS, before="Review: ", instructions="Judge.")
    pieces = assemble(template, LABELS, tokenizer, examples_of(tokenizer, ["so bad", "so good"]))
    start = spelled(tokenizer, tokenizer.start)
    asked = "Overall, the opinion is"
    assert spelled(tokenizer, pieces.prefix) == (
        f"{start}Judge.\n\nReview: so bad\n{asked} negative\n\n"
        f"Review: so good\n{asked} positive\n\nReview: "
    )
    assert whole_words(tokenizer, pieces) == [
        [[f"\n{asked} negative"], [f"\n{asked} positive"]],
        [
            ["\nIn summary, it was bad", "\nIn summary, it was awful"],
            ["\nIn summary, it was good", "\nIn summary, it was excellent"],
        ],
    ]


def whole_words(tokenizer: TextTokenizer, pieces: Pieces) -> list[list[list[str]]]:
    return [
        [
            [spelled(tokenizer, [*ending.tokens, *word]) for word in label_words]
            for label_words in ending.words
        ]
        for ending in pieces.endings
    ]


@pytest.mark.parametrize(
    ("name", "prefix", "ending"),
    [
        (
            "gemma3-chat",
            "<bos><start_of_turn>system\nJudge.<end_of_turn>\n"
            "<start_of_turn>user\nso good\n\n{ask}<end_of_turn>\n"
            "<start_of_turn>model\npositive<end_of_turn>\n<start_of_turn>user\n",
            "\n\n{ask}<end_of_turn>\n<start_of_turn>model\n",
        ),
        (
            "qwen2-chat",
            "<|im_start|>system\nJudge.<|im_end|>\n"
            "<|im_start|>user\nso good\n\n{ask}<|im_end|>\n"
            "<|im_start|>assistant\npositive<|im_end|>\n<|im_start|>user\n",
            "\n\n{ask}<|im_end|>\n<|im_start|>assistant\n",
        ),
    ],
)
def test_chat_pieces_spell_the_whole_conversation(
    tokenizers: Mapping[str, TextTokenizer], name: str, prefix: str, ending: str
) -> None:
    tokenizer = tokenizers[name]
    question = QUESTIONS[0]
    template = Template(questions=(question,), instructions="Judge.")
    (example,) = examples_of(tokenizer, ["so good"])
    pieces = assemble(
        template, LABELS, tokenizer, [Example(tokens=example.tokens, label="positive")]
    )
    assert spelled(tokenizer, pieces.prefix) == prefix.format(ask=question.ask)
    assert whole_words(tokenizer, pieces) == [
        [[ending.format(ask=question.ask) + word] for word in LABELS]
    ]


def test_instructions_go_to_the_user_where_there_is_no_system_turn(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(tiny_causal(tmp_path / "gemma", "gemma", chat=True))
    tokenizer.tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}" + tokenizer.tokenizer.chat_template
    )
    template = Template(questions=QUESTIONS[:1], instructions="Judge.")
    pieces = assemble(template, LABELS, tokenizer)
    assert spelled(tokenizer, pieces.prefix) == "<bos><start_of_turn>user\nJudge.\n\n"


@pytest.mark.parametrize("name", CAUSAL)
def test_words_get_the_tokens_that_they_have_in_running_text(
    tokenizers: Mapping[str, TextTokenizer], name: str
) -> None:
    tokenizer = tokenizers[name]
    template = default_template(LABELS)
    pieces = assemble(template, LABELS, tokenizer)
    for question, ending in zip(template.questions, pieces.endings, strict=True):
        for label, words in zip(LABELS, ending.words, strict=True):
            assert len(words) == len(question.words[label])
            for word, tokens in zip(question.words[label], words, strict=True):
                request = f"the film\n\n{question.ask}"
                running = (
                    tokenizer.render_chat([("user", request)])
                    if tokenizer.has_chat_template
                    else f"the film\n{question.answer}"
                )
                joint = "" if running[-1].isspace() else " "
                whole = tokenizer.encode_markup(f"{running}{joint}{word}")
                assert whole[-len(tokens) :] == tokens
                assert whole[-len(tokens) - 1] == ending.tokens[-1]


@pytest.mark.parametrize(("template", "times"), [("It was", 0), ("{text} {text}", 2)])
def test_a_template_must_hold_the_text_once(template: str, times: int) -> None:
    sentence = (
        f"A template must hold {{text}} exactly once, but {template!r} holds it {times} times. "
        "Write for example '{text}\\nOverall, the opinion is'."
    )
    with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
        custom_template(template, {}, LABELS)


def test_where_the_first_token_decides_words_must_differ_in_it(
    tokenizers: Mapping[str, TextTokenizer],
) -> None:
    sentence = (
        "The words 'good' of label 'negative' and 'good film' of label 'positive' start with the "
        "same token, so one answer position cannot tell them apart. Give other words, that start "
        "with different tokens, with label_words."
    )
    words = {"negative": ("good",), "positive": ("good film",)}
    template = Template(questions=(Question(answer="It was", words=words),))
    with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
        assemble(template, LABELS, tokenizers["gemma3-raw"], first_token_decides=True)


def test_words_that_start_alike_are_scored_whole(tokenizers: Mapping[str, TextTokenizer]) -> None:
    words = {"negative": ("good",), "positive": ("good film",)}
    template = Template(questions=(Question(answer="It was", words=words),))
    (ending,) = assemble(template, LABELS, tokenizers["gemma3-raw"]).endings
    (good,), (good_film,) = ending.words
    assert good_film[: len(good)] == good
    assert len(good_film) > len(good)


def test_two_labels_of_one_word_are_refused(tokenizers: Mapping[str, TextTokenizer]) -> None:
    fails(
        "The words 'good' of label 'negative' and 'good' of label 'positive' are the same tokens, "
        "so they cannot be told apart. Give other words with label_words.",
        LABELS,
        tokenizers["gemma3-raw"],
        words={"negative": ("good",), "positive": ("good",)},
    )


def test_a_prompt_is_spelled_with_a_place_for_the_text(
    tokenizers: Mapping[str, TextTokenizer],
) -> None:
    tokenizer = tokenizers["llama-raw"]
    pieces = assemble(Template(questions=QUESTIONS), LABELS, tokenizer)
    start = spelled(tokenizer, tokenizer.start)
    assert spell(pieces, tokenizer.spell, 12) == (
        f"{start}{{text}}\nOverall, the opinion is [negative | positive]",
        f"{start}{{text}}\nIn summary, it was [bad, awful | good, excellent]",
    )
    assert spell(pieces, tokenizer.spell, 1)[0].endswith("[negative | ...]")


@pytest.mark.parametrize("labels", [("0", "1"), ("1", "2", "3", "4", "5"), ("not good", "not bad")])
@pytest.mark.parametrize("name", CAUSAL)
def test_labels_that_begin_alike_are_asked_for_where_they_differ(
    tokenizers: Mapping[str, TextTokenizer], name: str, labels: Sequence[str]
) -> None:
    tokenizer = tokenizers[name]
    template = custom_template("{text}\nThe label that fits this text best is", {}, labels)
    (ending,) = assemble(template, labels, tokenizer).endings
    firsts = [word[0] for (word,) in ending.words]
    assert len(set(firsts)) == len(labels)
    if name.removesuffix("-raw") in NOT_PREPENDING:
        for label, (word,) in zip(labels, ending.words, strict=True):
            whole = spelled(tokenizer, [*ending.tokens, *word])
            assert whole.endswith(f"The label that fits this text best is {label}")


def test_a_label_without_words_is_refused() -> None:
    sentence = (
        "Expected one word or more for the label 'positive', but label_words gives none. "
        "Give one, or leave the label out: then its own name is asked for."
    )
    with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
        custom_template("{text} It was", {"positive": []}, LABELS)


@pytest.mark.parametrize("template", ["{text}", "{text} ", "Review: {text}"])
@pytest.mark.parametrize("name", ["gemma3-raw", "mistral-raw", "llama-raw"])
def test_a_template_that_ends_with_the_text_is_refused(
    tokenizers: Mapping[str, TextTokenizer], name: str, template: str
) -> None:
    sentence = (
        "Expected words between the text and its label, but the template ends with {text}. "
        "Write for example '{text}\\nOverall, the opinion is'."
    )
    with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
        assemble(custom_template(template, {}, LABELS), LABELS, tokenizers[name])


def test_a_prompt_that_loses_or_doubles_a_text_is_refused(
    tmp_path: Path, tokenizers: Mapping[str, TextTokenizer]
) -> None:
    silent = TextTokenizer(tiny_causal(tmp_path, "gemma3", chat=True))
    silent.tokenizer.chat_template = "{{ bos_token }}hello"
    doubled = Template(questions=QUESTIONS, instructions="Judge \ue000.")
    for template, tokenizer, places in [
        (default_template(LABELS), silent, 0),
        (doubled, tokenizers["gemma3-raw"], 2),
    ]:
        sentence = (
            f"Expected a prompt with 0 examples and one text, but found {places} places for them. "
            "The chat template must show every turn's content once, and nothing that is given may "
            "hold the character '\\ue000'."
        )
        with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
            assemble(template, LABELS, tokenizer)


def test_words_of_one_label_may_start_alike(tokenizers: Mapping[str, TextTokenizer]) -> None:
    words = {"negative": ("bad", "bad film"), "positive": ("good",)}
    template = Template(questions=(Question(answer="It was", words=words),))
    (ending,) = assemble(template, LABELS, tokenizers["gemma3-raw"]).endings
    bad, bad_film = ending.words[0]
    assert bad_film[: len(bad)] == bad


def test_a_word_that_the_vocabulary_lacks_is_refused(
    tokenizers: Mapping[str, TextTokenizer],
) -> None:
    fails(
        "The tokenizer of this checkpoint cannot make the word '😀' of label 'positive'. "
        "Give another word with label_words.",
        LABELS,
        tokenizers["bert"],
        words={"negative": ("bad",), "positive": ("😀",)},
    )


def test_an_empty_word_is_refused(tokenizers: Mapping[str, TextTokenizer]) -> None:
    fails(
        "The tokenizer of this checkpoint cannot make the word '' of label 'positive'. "
        "Give another word with label_words.",
        LABELS,
        tokenizers["bert"],
        words={"negative": ("bad",), "positive": ("",)},
    )
