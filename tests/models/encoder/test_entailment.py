"""Entailment is scored as transformers does, and no checkpoint without a trained head is scored."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, pipeline

from pollice.data.dataset import Dataset
from pollice.errors import CheckpointError, OptionError, PromptError
from pollice.methods import create_method
from pollice.methods.nli import Nli
from pollice.models.batching import cut
from pollice.models.causal.questions import hypotheses
from pollice.models.encoder.entailment import EntailmentModel, EntailmentScorer
from pollice.models.pretrained.devices import quiet
from pollice.models.pretrained.options import ReadingOptions
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.runs.predictors import load_predictor, save_predictor
from tiny import (
    ENCODER_FAMILIES,
    NLI_LABELS,
    opinions,
    taught_entailment,
    tiny_causal,
    tiny_classifier,
    tiny_encoder,
    tiny_entailment,
)

NAMES = ("negative", "positive", "mixed")
STATEMENTS = hypotheses("This text is {}.", {}, NAMES)
TRAIN = opinions(120)
NOBODY = TRAIN.take([])
TEXTS = ("the film was great", "", "a superb story " * 12, "bad", *opinions(20).texts)
REMEDIES = (
    "Use a checkpoint that has them, train them with the method finetune, or use a causal "
    "checkpoint with the method prompt."
)


@pytest.fixture(scope="module", params=["bert", "roberta"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_entailment(tmp_path_factory.mktemp("nli") / request.param, request.param)


def settings(**changed: Any) -> ReadingOptions:
    usual: dict[str, Any] = {
        "max_tokens": 128,
        "keep": "head_tail",
        "batch_tokens": 1024,
        "dtype": "float32",
        "device": "cpu",
    }
    return ReadingOptions(**{**usual, **changed})


def scorer(checkpoint: Path, **changed: Any) -> EntailmentScorer:
    return EntailmentScorer(EntailmentModel(checkpoint, STATEMENTS, settings(**changed)), NAMES)


def fitted(checkpoint: Path, folder: Path, train: Dataset = TRAIN, **options: Any) -> Any:
    method = Nli(checkpoint=str(checkpoint), dtype="float32", **options)
    return method.fit(train, NOBODY, workdir=folder)


def refused(method: str, checkpoint: Path, sentence: str, workdir: Path) -> None:
    fit = create_method(method, {"checkpoint": str(checkpoint), "max_tokens": 48}).fit
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        fit(TRAIN, NOBODY, workdir=workdir)


def without_weights(folder: Path, *starts: str) -> Path:
    path = folder / "model.safetensors"
    weights = {k: v for k, v in load_file(path).items() if not k.startswith(starts)}
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def judged_by_transformers(checkpoint: Path, texts: Sequence[str]) -> np.ndarray[Any, Any]:
    with quiet():
        judge: Any = pipeline("zero-shot-classification", model=str(checkpoint), device="cpu")
    tables = []
    for text in texts:
        found = judge(text, list(NAMES), hypothesis_template="This text is {}.")
        score = dict(zip(found["labels"], found["scores"], strict=True))
        tables.append([score[name] for name in NAMES])
    return np.array(tables)


def test_scores_are_those_of_the_transformers_pipeline(checkpoint: Path) -> None:
    texts = [text for text in TEXTS if text]  # the pipeline takes no empty text
    expected = judged_by_transformers(checkpoint, texts)
    assert np.ptp(expected, axis=0).max() > 0.1  # the texts are told apart
    predictor = scorer(checkpoint)
    batched = predictor.predict_proba(texts)
    alone = np.concatenate([predictor.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(batched, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)


def test_token_types_count(tmp_path: Path) -> None:
    """Where the tokenizer tells text and hypothesis apart, so does the model."""
    folder = tiny_entailment(tmp_path / "bert")
    expected = scorer(folder).predict_proba(TEXTS)
    path = folder / "model.safetensors"
    weights = load_file(path)
    types = weights["bert.embeddings.token_type_embeddings.weight"]
    types[1] = types[0]
    save_file(weights, path, metadata={"format": "pt"})
    assert np.abs(scorer(folder).predict_proba(TEXTS) - expected).max() > 1e-2


@pytest.mark.parametrize("column", [0, 1, 2])
def test_entailment_is_found_by_its_name_in_any_case(tmp_path: Path, column: int) -> None:
    labels = ["not_entailment", "NEUTRAL"]
    labels.insert(column, "ENTAILMENT")
    folder = tiny_entailment(tmp_path / "bert", labels=labels)
    expected = scorer(tiny_entailment(tmp_path / "other", labels=NLI_LABELS)).predict_proba(TEXTS)
    path = folder / "model.safetensors"
    weights = load_file(path)
    for name in ("classifier.weight", "classifier.bias"):
        weights[name][[2, column]] = weights[name][[column, 2]]
    save_file(weights, path, metadata={"format": "pt"})
    np.testing.assert_allclose(scorer(folder).predict_proba(TEXTS), expected, atol=1e-6)


def test_a_batch_of_any_size_gives_the_same(checkpoint: Path) -> None:
    expected = scorer(checkpoint).predict_proba(TEXTS)
    for batch_tokens in (1, 100, 100_000):
        found = scorer(checkpoint, batch_tokens=batch_tokens).predict_proba(TEXTS)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("keep", ["head", "tail", "head_tail"])
def test_only_the_text_is_cut(checkpoint: Path, keep: Any) -> None:
    """What is read of a long text is its cut tokens, with the whole hypothesis beside them."""
    text = " ".join(opinions(30).texts)
    scores = scorer(checkpoint, max_tokens=16, keep=keep).score([text, "bad"])
    assert scores.truncated.tolist() == [True, False]
    tokenizer = TextTokenizer(checkpoint)
    tokens, short = tokenizer.encode_texts([text, "bad"])
    assert scores.tokens.tolist() == [16, len(short)]
    kept = tokenizer.tokenizer.decode(cut(tokens, 16, keep))
    assert tokenizer.encode_texts([kept])[0] == cut(tokens, 16, keep)
    expected = scorer(checkpoint).predict_proba([kept])
    np.testing.assert_allclose(scores.probabilities[:1], expected, rtol=0, atol=1e-5)


def test_control_tokens_in_a_text_are_text(checkpoint: Path) -> None:
    tokenizer = TextTokenizer(checkpoint)
    separator = tokenizer.tokenizer.sep_token
    text = f"bad {separator} This text is positive. {separator}"
    model = EntailmentModel(checkpoint, STATEMENTS, settings())
    _, (length,) = model.read([text])
    assert length == len(tokenizer.encode_texts([text])[0])
    assert tokenizer.tokenizer.sep_token_id not in tokenizer.encode_texts([text])[0]


def test_the_longest_pair_must_fit(tmp_path: Path) -> None:
    for family in ("bert", "roberta"):
        folder = tiny_entailment(tmp_path / family, family, positions=64)
        tokenizer = TextTokenizer(folder)
        around = max(len(tokens) for tokens in tokenizer.encode_texts(STATEMENTS))
        around += len(tokenizer.tokenizer("a", "b")["input_ids"]) - 2
        sentence = (
            f"max_tokens is {65 - around} and the longest hypothesis takes {around} tokens more, "
            f"but this checkpoint reads at most 64. Lower max_tokens to {64 - around} or less."
        )
        with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
            scorer(folder, max_tokens=65 - around)
        whole = scorer(folder, max_tokens=64 - around).score(["the film " * 100])
        assert whole.tokens.tolist() == [64 - around]


def test_a_head_that_knows_no_entailment_is_refused(tmp_path: Path) -> None:
    """So is a checkpoint without a head: its configuration names no such label."""
    for folder in (
        tiny_classifier(tmp_path / "classifier"),
        tiny_encoder(tmp_path / "encoder", "bert"),
        tiny_causal(tmp_path / "gemma", "gemma"),
    ):
        sentence = (
            "Expected a head with the label 'entailment', but the labels of the checkpoint "
            f"{folder} are: LABEL_0, LABEL_1. Use a checkpoint trained on natural language "
            "inference, train this one with the method finetune, or use a causal checkpoint with "
            "the method prompt."
        )
        refused("nli", folder, sentence, tmp_path)


@pytest.mark.parametrize(
    ("family", "start", "missing"),
    [
        ("bert", "classifier.weight", "classifier.weight"),
        ("bert", "bert.pooler", "bert.pooler.dense.bias, bert.pooler.dense.weight"),
        ("roberta", "classifier.out_proj.bias", "classifier.out_proj.bias"),
    ],
)
def test_a_head_whose_weights_are_missing_is_refused_by_name(
    tmp_path: Path, family: str, start: str, missing: str
) -> None:
    folder = without_weights(tiny_entailment(tmp_path / family, family), start)
    sentence = (
        f"The checkpoint {folder} has no weights for {missing}: they would be newly initialised, "
        f"and the scores would be random. {REMEDIES}"
    )
    refused("nli", folder, sentence, tmp_path)


def test_a_causal_model_that_claims_a_head_is_refused(tmp_path: Path) -> None:
    """The fault that this method is there to prevent: a language model scored by a random head."""
    folder = tiny_causal(tmp_path / "gemma", "gemma")
    config = (folder / "config.json").read_text()
    names = '"id2label": {"0": "contradiction", "1": "entailment"},'
    codes = '"label2id": {"contradiction": 0, "entailment": 1},'
    (folder / "config.json").write_text(config.replace("{", f"{{{names}{codes}", 1))
    sentence = (
        f"The checkpoint {folder} has no weights for score.weight: they would be newly "
        f"initialised, and the scores would be random. {REMEDIES}"
    )
    refused("nli", folder, sentence, tmp_path)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_an_encoder_is_not_prompted(tmp_path: Path, family: str) -> None:
    folder = tiny_encoder(tmp_path / family, family)
    sentence = (
        f"The checkpoint {folder} ({family}) fills gaps in a text and does not predict its next "
        "word, so it cannot be prompted. Use a causal language model, or use this one with the "
        "method features or finetune."
    )
    refused("prompt", folder, sentence, tmp_path)


def test_a_head_that_fills_gaps_is_not_prompted_either(tmp_path: Path) -> None:
    """Its weights are all there, and transformers would run it as a causal model."""
    folder = tiny_encoder(tmp_path / "bert", "bert")
    with quiet():
        BertForMaskedLM(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r" fills gaps in a text and does not predict its "):
        create_method("prompt", {"checkpoint": str(folder)}).fit(TRAIN, NOBODY, workdir=tmp_path)


@pytest.mark.parametrize("method", ["features", "finetune"])
def test_an_encoder_that_lacks_weights_is_refused_by_every_method(
    tmp_path: Path, method: str
) -> None:
    folder = without_weights(
        tiny_encoder(tmp_path / "bert", "bert"), "encoder.layer.1.output.dense"
    )
    prefix = "bert." if method == "finetune" else ""
    name = f"{prefix}encoder.layer.1.output.dense"
    sentence = (
        f"The checkpoint {folder} has no weights for {name}.bias, {name}.weight: they would be "
        f"newly initialised, and the scores would be random. {REMEDIES}"
    )
    refused(method, folder, sentence, tmp_path)


def test_words_of_another_number_than_the_tokenizers_are_not_trained_anew(tmp_path: Path) -> None:
    """A new head excuses nothing but itself: weights of another size are as good as missing."""
    folder = tiny_encoder(tmp_path / "bert", "bert")
    path = folder / "model.safetensors"
    weights = load_file(path)
    words = "embeddings.word_embeddings.weight"
    save_file({**weights, words: torch.zeros(7, 32)}, path, metadata={"format": "pt"})
    sentence = (
        f"The checkpoint {folder} has no weights for bert.{words}: they would be newly "
        f"initialised, and the scores would be random. {REMEDIES}"
    )
    refused("finetune", folder, sentence, tmp_path)


@pytest.mark.parametrize(
    ("labels", "texts", "steps"),
    [
        (0, 0, ["raw"]),
        (0, 9, ["raw", "batch"]),
        (16, 9, ["raw", "batch", "platt"]),
        (96, 9, ["raw", "batch", "platt"]),
    ],
)
def test_the_ladder_ends_at_platt(
    checkpoint: Path, tmp_path: Path, labels: int, texts: int, steps: list[str]
) -> None:
    predictor = fitted(checkpoint, tmp_path, labels=labels, calibration_texts=texts)
    scores = predictor.score(TEXTS)
    assert list(scores.variants) == steps
    decides = predictor.calibration.step
    np.testing.assert_array_equal(scores.probabilities, scores.variants[decides])
    assert decides in steps


def test_a_taught_checkpoint_needs_no_labels(tmp_path: Path) -> None:
    unseen = opinions(50)
    predictor = fitted(taught_entailment(tmp_path / "bert"), tmp_path, calibration="raw")
    columns = predictor.predict_proba(unseen.texts).argmax(axis=1)
    found = [predictor.label_names[column] for column in columns]
    assert np.mean([a == b for a, b in zip(found, unseen.labels, strict=True)]) >= 0.9


def test_more_labelled_rows_than_there_are_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    sentence = (
        "Expected at most as many labelled rows as the 120 training rows, but labels is 121. "
        "Lower it."
    )
    with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
        fitted(checkpoint, tmp_path, labels=121)


def test_a_hypothesis_holds_one_place_for_the_label() -> None:
    for hypothesis in ("It is good.", "{} or {}."):
        sentence = (
            f"Option nli.hypothesis is {hypothesis!r}, but it should hold {{}} exactly once, for "
            "the label's words. See: pollice methods nli."
        )
        with pytest.raises(OptionError, match=f"^{re.escape(sentence)}$"):
            create_method("nli", {"checkpoint": "x", "hypothesis": hypothesis})


def test_a_checkpoint_must_be_named() -> None:
    sentence = (
        "Method 'nli' needs the option checkpoint, which has no default: A folder or "
        "hub:owner/name@revision of a checkpoint trained on natural language inference. Give it, "
        "for example with --set nli.checkpoint=VALUE. See: pollice methods nli."
    )
    with pytest.raises(OptionError, match=f"^{re.escape(sentence)}$") as raised:
        create_method("nli", {})
    assert raised.value.exit_code == 2


def test_labels_are_worded_as_people_would() -> None:
    assert hypotheses("It is {}.", {}, ("neg", "pos")) == ("It is negative.", "It is positive.")
    assert hypotheses("{}", {}, ("pos", "so_so", "neg")) == ("positive", "so so", "negative")
    assert hypotheses("{} {x}", {"fresh": "good"}, ("fresh", "rotten")) == (
        "good {x}",
        "negative {x}",
    )


def test_labels_that_cannot_be_told_apart_are_refused() -> None:
    sentence = (
        "The labels 'a' and 'b' both become 'It is good.', so they cannot be told apart. "
        "Give them different label_words."
    )
    with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
        hypotheses("It is {}.", {"a": "good", "b": "good"}, ("a", "b"))
    with pytest.raises(PromptError, match=r"^Label words are given for 'c', but the labels are: "):
        hypotheses("It is {}.", {"c": "good"}, ("a", "b"))


def test_a_reloaded_predictor_asks_the_same(checkpoint: Path, tmp_path: Path) -> None:
    words = {"negative": "dreadful", "positive": "lovely"}
    predictor = fitted(
        checkpoint,
        tmp_path,
        labels=16,
        calibration="platt",
        hypothesis="It is {}!",
        label_words=words,
    )
    save_predictor(predictor, tmp_path / "saved", method="nli", options={})
    loaded = load_predictor(tmp_path / "saved")
    assert isinstance(loaded, EntailmentScorer)
    assert loaded.calibration.step == "platt"
    expected = predictor.score(TEXTS)
    for name, table in loaded.score(TEXTS).variants.items():
        np.testing.assert_array_equal(table, expected.variants[name])
    other = fitted(checkpoint, tmp_path, labels=16).score(TEXTS)
    assert np.abs(other.variants["raw"] - expected.variants["raw"]).max() > 1e-3
