"""Texts become the vectors that a plain forward pass of transformers gives."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from pollice.errors import CheckpointError
from pollice.models.encoder.classifiers import SequenceClassifier
from pollice.models.encoder.reader import Reader, check_max_tokens
from pollice.models.encoder.vectors import Pooling, TextEncoder, read_prefix
from pollice.models.pretrained.options import ClassifierOptions, ReadingOptions
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import load_classifier
from tiny import ENCODER_FAMILIES, tiny_classifier, tiny_encoder

TEXTS = ["the film was great", "", "dreadful", "a lovely story with superb actors " * 3, "bad 😀 !"]


def settings(**changed: Any) -> ReadingOptions:
    usual: dict[str, Any] = {
        "max_tokens": 128,
        "keep": "head_tail",
        "batch_tokens": 512,
        "dtype": "float32",
        "device": "cpu",
    }
    return ReadingOptions(**{**usual, **changed})


def reading(**changed: Any) -> ClassifierOptions:
    usual: dict[str, Any] = {
        "max_tokens": 128,
        "batch_tokens": 512,
        "dtype": "float32",
        "device": "cpu",
    }
    return ClassifierOptions(**{**usual, **changed})


@pytest.fixture(scope="module", params=ENCODER_FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / request.param, request.param)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("batch_tokens", [1, 100, 4096])
def test_vectors_equal_those_of_one_text_at_a_time(
    checkpoint: Path, pooling: Pooling, batch_tokens: int
) -> None:
    encoder = TextEncoder(checkpoint, settings(batch_tokens=batch_tokens), pooling)
    vectors, encoded = encoder.encode(TEXTS)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model: Any = AutoModel.from_pretrained(checkpoint).eval()
    assert not encoded.truncated.any()
    for vector, tokens, text in zip(vectors, encoded.tokens, TEXTS, strict=True):
        inputs = tokenizer(text, return_tensors="pt")
        assert tokens == inputs["input_ids"][0].tolist()
        with torch.inference_mode():
            states = model(input_ids=inputs["input_ids"]).last_hidden_state[0]
        expected = states[0] if pooling == "cls" else states.mean(dim=0)
        np.testing.assert_allclose(vector, expected.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("keep", "head", "tail"), [("head", 8, 0), ("tail", 0, 8), ("head_tail", 2, 6)]
)
def test_a_long_text_is_cut_inside_its_control_tokens(
    checkpoint: Path, keep: Any, head: int, tail: int
) -> None:
    reader = Reader(TextTokenizer(checkpoint), max_tokens=10, keep=keep)
    whole = AutoTokenizer.from_pretrained(checkpoint)(TEXTS[3])["input_ids"]
    inside = whole[1:-1]
    encoded = reader.read([TEXTS[3], "bad"])
    assert encoded.tokens[0] == [
        whole[0],
        *inside[:head],
        *inside[len(inside) - tail :],
        whole[-1],
    ]
    assert encoded.truncated.tolist() == [True, False]
    assert encoded.lengths.tolist() == [10, len(encoded.tokens[1])]


@pytest.mark.parametrize("keep", ["head_tail", "head", "tail"])
def test_a_prefix_stands_before_whatever_is_read(checkpoint: Path, keep: str) -> None:
    """Cutting a long text never cuts the prefix, and a short text reads as both in one."""
    tokenizer = TextTokenizer(checkpoint)
    plain = Reader(tokenizer, max_tokens=12, keep="head").read(["query the film"])
    reader = Reader(tokenizer, max_tokens=12, keep=keep, prefix="query ")  # type: ignore[arg-type]
    short, long = reader.read(["the film", "great " * 40]).tokens
    assert short == plain.tokens[0]
    start = 1 + len(tokenizer.encode_texts(["query"])[0])  # one control token
    assert long[:start] == short[:start]
    assert len(long) == 12


def test_the_prefix_is_what_the_checkpoint_says(tmp_path: Path) -> None:
    assert read_prefix(tmp_path) == ""
    prompts = {"prompts": {"query": "query: ", "passage": "passage: "}}
    file = tmp_path / "config_sentence_transformers.json"
    file.write_text(json.dumps(prompts))
    assert read_prefix(tmp_path) == ""
    file.write_text(json.dumps({**prompts, "default_prompt_name": "query"}))
    assert read_prefix(tmp_path) == "query: "


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "Expected the prompts of sentence-transformers in {file}, but it cannot be read as "),
        ("[1]", "Expected the prompts of sentence-transformers in {file}, but it cannot be read "),
        (
            '{"default_prompt_name": "q"}',
            "Expected the prompts of sentence-transformers in {file}, but it cannot be read ",
        ),
        (
            '{"default_prompt_name": "q", "prompts": {"q": 3}}',
            "Expected a prompt in {file} to be text, but found a int. Repair it, remove it, or ",
        ),
    ],
)
def test_prompts_that_cannot_be_read_are_refused(
    tmp_path: Path, content: str, sentence: str
) -> None:
    file = tmp_path / "config_sentence_transformers.json"
    file.write_text(content)
    with pytest.raises(CheckpointError, match=re.escape(sentence.format(file=file))):
        read_prefix(tmp_path)


def test_padding_is_masked(checkpoint: Path) -> None:
    tokenizer = TextTokenizer(checkpoint)
    reader = Reader(tokenizer, max_tokens=10, keep="head")
    batch = reader.pad([[5, 6, 7], [8]], torch.device("cpu"), align=False)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, tokenizer.pad, tokenizer.pad]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize(("max_tokens", "padded"), [(10, 10), (40, 16)])
def test_aligned_padding_stays_within_max_tokens(
    checkpoint: Path, max_tokens: int, padded: int
) -> None:
    reader = Reader(TextTokenizer(checkpoint), max_tokens=max_tokens, keep="head")
    batch = reader.pad([[5, 6, 7], [8]], torch.device("cpu"))
    assert batch["input_ids"].shape == (2, padded)
    assert batch["attention_mask"].sum(dim=1).tolist() == [3, 1]


@pytest.mark.parametrize(
    ("family", "lead", "trail"),
    [
        ("bert", "[CLS]", "[SEP]"),
        ("deberta-v2", "[CLS]", "[SEP]"),
        ("modernbert", "[CLS]", "[SEP]"),
        ("roberta", "<s>", "</s>"),
    ],
)
def test_texts_stand_between_the_control_tokens_of_their_family(
    tmp_path: Path, family: str, lead: str, trail: str
) -> None:
    tokenizer = TextTokenizer(tiny_encoder(tmp_path / family, family))
    (tokens,) = Reader(tokenizer, max_tokens=16, keep="head").read([""]).tokens
    assert tokenizer.tokenizer.convert_ids_to_tokens(tokens) == [lead, trail]


def test_a_limit_that_leaves_no_room_for_a_text_is_refused(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(tiny_encoder(tmp_path / "bert", "bert"))
    sentence = (
        "max_tokens is 2, but this checkpoint's control tokens alone take 2. Raise max_tokens."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        Reader(tokenizer, max_tokens=2, keep="head")


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_more_tokens_than_positions_are_refused(tmp_path: Path, family: str) -> None:
    folder = tiny_encoder(tmp_path / family, family, positions=32)
    long = "the film was great " * 50
    vectors, encoded = TextEncoder(folder, settings(max_tokens=32), "mean").encode([long])
    assert np.isfinite(vectors).all()
    assert encoded.lengths.tolist() == [32]
    sentence = "max_tokens is 33, but this checkpoint reads at most 32 tokens. Lower max_tokens."
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        TextEncoder(folder, settings(max_tokens=33), "mean")
    model = load_classifier(folder, ("a", "b"), new_head=True, dtype=torch.float32)
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        check_max_tokens(model.config, 33)


def test_a_classifier_gives_what_transformers_gives(tmp_path: Path) -> None:
    folder = tiny_classifier(tmp_path / "bert")
    model = load_classifier(folder, new_head=False, dtype=torch.float32)
    classifier = SequenceClassifier(model, TextTokenizer(folder), ("a", "b"), reading())
    found = classifier.predict_proba(TEXTS)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for row, text in zip(found, TEXTS, strict=True):
        with torch.inference_mode():
            logits = plain(**tokenizer(text, return_tensors="pt")).logits[0]
        np.testing.assert_allclose(row, logits.softmax(dim=-1).numpy(), rtol=0, atol=1e-5)


def test_a_saved_classifier_opens_in_transformers(tmp_path: Path) -> None:
    folder = tiny_classifier(tmp_path / "bert")
    model = load_classifier(folder, new_head=False, dtype=torch.float32)
    classifier = SequenceClassifier(model, TextTokenizer(folder), ("a", "b"), reading())
    (tmp_path / "saved").mkdir()
    classifier.save(tmp_path / "saved")
    opened: Any = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "saved" / "checkpoint"
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved" / "checkpoint")
    with torch.inference_mode():
        logits = opened.eval()(**tokenizer(TEXTS[0], return_tensors="pt")).logits[0]
    np.testing.assert_allclose(
        classifier.predict_proba(TEXTS[:1])[0], logits.softmax(dim=-1).numpy(), rtol=0, atol=1e-5
    )


def test_a_long_text_is_divided_into_pieces_of_like_length(checkpoint: Path) -> None:
    tokenizer = TextTokenizer(checkpoint)
    reader = Reader(tokenizer, max_tokens=10, keep="chunks")
    texts = [TEXTS[3], "", "bad"]
    encoded = reader.read(texts)
    whole = [AutoTokenizer.from_pretrained(checkpoint)(text)["input_ids"] for text in texts]
    pieces = -(-(len(whole[0]) - 2) // 8)
    assert encoded.owners.tolist() == [0] * pieces + [1, 2]
    assert all(piece[0] == whole[0][0] and piece[-1] == whole[0][-1] for piece in encoded.tokens)
    inside = [token for piece in encoded.tokens[:pieces] for token in piece[1:-1]]
    assert inside == whole[0][1:-1]
    assert encoded.tokens[pieces:] == whole[1:]
    lengths = encoded.lengths[:pieces]
    assert lengths.max() <= 10
    assert lengths.max() - lengths.min() <= 1
    assert not encoded.truncated.any()
    assert encoded.tokens_read().tolist() == [lengths.sum(), *map(len, whole[1:])]


def test_the_probabilities_of_pieces_are_averaged(tmp_path: Path) -> None:
    folder = tiny_classifier(tmp_path / "bert")
    model = load_classifier(folder, new_head=False, dtype=torch.float32)
    options = reading(max_tokens=12, long_text="chunks")
    classifier = SequenceClassifier(model, TextTokenizer(folder), ("a", "b"), options)
    text = "great the film was dreadful and the story is lovely with bad actors"
    words = text.split()
    assert len(words) == 13
    halves = classifier.predict_proba([" ".join(words[:6]), " ".join(words[6:])])
    scores = classifier.score(["bad", text, "great"])
    np.testing.assert_allclose(scores.probabilities[1], halves.mean(axis=0), rtol=0, atol=1e-6)
    assert scores.tokens.tolist() == [3, 17, 3]
    assert not scores.truncated.any()
    assert classifier.score([]).probabilities.shape == (0, 2)


def test_facts_are_saved(tmp_path: Path) -> None:
    folder = tiny_classifier(tmp_path / "bert")
    model = load_classifier(folder, new_head=False, dtype=torch.float32)
    options, facts = reading(long_text="chunks"), {"best_epoch": 2}
    classifier = SequenceClassifier(model, TextTokenizer(folder), ("a", "b"), options, facts)
    (tmp_path / "saved").mkdir()
    classifier.save(tmp_path / "saved")
    loaded = SequenceClassifier.load(tmp_path / "saved")
    assert loaded.facts == facts
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
