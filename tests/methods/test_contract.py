"""The contract that every method keeps: one table of tiny options, one set of tests for all."""

import inspect
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pollice.data.dataset import Dataset
from pollice.method import Method, options_of
from pollice.methods import create_method, method_names
from pollice.predictions.predictor import Predictor
from pollice.runs.predictors import load_predictor, save_predictor
from pollice.system.hashing import file_sha256
from tiny import opinions, taught_entailment, tiny_causal, tiny_encoder


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the tests need to know of a method."""

    labels_used: int
    """For the data of these tests: 128 training and 32 validation rows."""
    options: Mapping[str, Any] = field(default_factory=dict)
    build: Callable[[Path], Path] | None = None
    """What saves its tiny checkpoint, if it opens any."""


_BERT = partial(tiny_encoder, family="bert")
_TRAINING = {"epochs": 4, "learning_rate": 0.003, "max_tokens": 48}

ROWS: dict[str, Row] = {
    "baseline": Row(labels_used=160),
    "cascade": Row(labels_used=160, options={"teacher": "baseline"}),
    "distill": Row(labels_used=160, options={"teacher": "baseline"}),
    "ensemble": Row(
        labels_used=160,
        options={
            "members": {
                "words": {"method": "baseline"},
                "pairs": {"method": "distill", "teacher": "baseline"},
            }
        },
    ),
    "features": Row(labels_used=160, build=_BERT, options={"max_tokens": 48}),
    "finetune": Row(labels_used=160, build=_BERT, options=_TRAINING),
    "lexicon": Row(labels_used=0),
    "lora": Row(
        labels_used=160,
        build=partial(tiny_causal, family="gemma3"),
        options={
            "epochs": 4,
            "learning_rate": 0.01,
            "batch_size": 8,
            "max_tokens": 48,
            "questions": "each",
            "judge_before": False,  # a loaded predictor does not: see tests/models/test_tuned.py
        },
    ),
    "nli": Row(labels_used=32, build=taught_entailment, options={"labels": 32, "max_tokens": 48}),
    "prompt": Row(
        labels_used=98,
        build=partial(tiny_causal, family="gemma3"),
        options={"shots": 2, "labels": 96, "max_tokens": 48, "label_words": {}},
    ),
    "trainer": Row(labels_used=160, build=_BERT, options=_TRAINING),
}
ORDERS = [
    ("negative", "positive"),
    ("positive", "negative"),
    ("positive", "mixed", "negative"),
]
HOSTILE = [
    "",
    " \n\t ",
    "the film was great " * 2000,
    "😀🎬 中文 ﷽ é̈ \u202e",
    "a nul \0 in it",
    "a lone \ud800 surrogate",
    "</s> <eos> [SEP] [INST] <end_of_turn> <|im_end|> <bos> <pad> [MASK] great",
]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A method fitted once, for the tests that only look at the outcome."""

    name: str
    method: Method
    predictor: Predictor
    train: Dataset
    validation: Dataset
    unseen: Dataset

    def fit(self, workdir: Path, **changed: Any) -> Predictor:
        method = create_method(self.name, {**options_of(self.method), **changed})
        return method.fit(self.train, self.validation, workdir=workdir)


@pytest.fixture(scope="module", params=method_names())
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name = request.param
    if name not in ROWS:
        pytest.fail(f"The method '{name}' has no row of tiny options in {Path(__file__).name}.")
    folder = tmp_path_factory.mktemp(name)
    method = create_method(name, tiny_options(name, folder / "checkpoint"))
    train, validation, unseen = sides(ORDERS[0])
    predictor = method.fit(train, validation, workdir=folder)
    return Case(
        name=name,
        method=method,
        predictor=predictor,
        train=train,
        validation=validation,
        unseen=unseen,
    )


def tiny_options(name: str, checkpoint: Path) -> dict[str, Any]:
    row = ROWS[name]
    options = dict(row.options)
    if row.build:
        options |= {"checkpoint": str(row.build(checkpoint)), "dtype": "float32"}
    return options


def sides(label_names: tuple[str, ...]) -> tuple[Dataset, Dataset, Dataset]:
    rows = opinions(220, label_names)
    return rows.take(range(128)), rows.take(range(128, 160)), rows.take(range(160, 220))


def check_sound(probabilities: NDArray[np.float64], rows: int, labels: int) -> None:
    assert probabilities.shape == (rows, labels)
    assert probabilities.dtype == np.float64
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-9)


def accuracy(predictor: Predictor, rows: Dataset) -> float:
    columns = predictor.predict_proba(rows.texts).argmax(axis=1)
    predicted = [predictor.label_names[column] for column in columns]
    return float(np.mean([a == b for a, b in zip(predicted, rows.labels, strict=True)]))


def test_no_row_is_of_a_method_that_is_gone() -> None:
    assert set(ROWS) <= set(method_names())


def test_probabilities_are_a_table_of_rows_that_sum_to_one(case: Case) -> None:
    check_sound(case.predictor.predict_proba(case.unseen.texts), rows=60, labels=2)
    assert case.predictor.label_names == case.train.label_names
    assert case.predictor.parameters > 0


@pytest.mark.parametrize("label_names", ORDERS, ids="-".join)
def test_columns_stand_in_the_given_order_and_beat_the_majority(
    case: Case, label_names: tuple[str, ...], tmp_path: Path
) -> None:
    train, validation, unseen = sides(label_names)
    predictor = case.method.fit(train, validation, workdir=tmp_path)
    assert predictor.label_names == label_names
    check_sound(predictor.predict_proba(unseen.texts), rows=60, labels=len(label_names))
    majority = 1 / len(label_names)
    assert accuracy(predictor, unseen) >= majority + 0.25


def test_one_by_one_equals_batched(case: Case) -> None:
    texts = case.unseen.texts
    batched = case.predictor.score(texts)
    singles = [case.predictor.score([text]) for text in texts]
    alone = np.concatenate([single.probabilities for single in singles])
    np.testing.assert_allclose(alone, batched.probabilities, rtol=0, atol=1e-5)
    assert [int(single.tokens[0]) for single in singles] == batched.tokens.tolist()
    assert [bool(single.truncated[0]) for single in singles] == batched.truncated.tolist()


def test_one_by_one_is_close_to_batched_in_bfloat16(case: Case, tmp_path: Path) -> None:
    if "dtype" not in options_of(case.method):
        pytest.skip("this method has no dtype")
    predictor = case.fit(tmp_path, dtype="bfloat16")
    texts = case.unseen.texts
    batched = predictor.predict_proba(texts)
    alone = np.concatenate([predictor.predict_proba([text]) for text in texts])
    # random weights and a probe on few numbers magnify rounding more than real checkpoints do
    np.testing.assert_allclose(alone, batched, rtol=0, atol=3e-2)
    assert (alone.argmax(axis=1) == batched.argmax(axis=1)).mean() >= 0.95


def test_scores_do_not_depend_on_the_neighbours(case: Case) -> None:
    text = case.unseen.texts[0]
    among = case.predictor.predict_proba([*HOSTILE, text, "the film was " * 40])[len(HOSTILE)]
    np.testing.assert_allclose(among, case.predictor.predict_proba([text])[0], rtol=0, atol=1e-5)


def test_the_same_seed_gives_the_same_numbers(case: Case, tmp_path: Path) -> None:
    again = case.method.fit(case.train, case.validation, workdir=tmp_path)
    np.testing.assert_array_equal(
        again.predict_proba(case.unseen.texts), case.predictor.predict_proba(case.unseen.texts)
    )


def test_another_seed_runs(case: Case, tmp_path: Path) -> None:
    assert accuracy(case.fit(tmp_path, seed=7), case.unseen) >= 0.75


def test_a_saved_predictor_gives_the_same_scores_without_its_checkpoint(
    case: Case, tmp_path: Path
) -> None:
    original = tmp_path / "original"
    moved = tiny_options(case.name, original)
    predictor = create_method(case.name, moved).fit(case.train, case.validation, workdir=tmp_path)
    expected = predictor.score(case.unseen.texts)
    save_predictor(predictor, tmp_path / "saved", method=case.name, options=moved)
    for file in sorted(original.glob("*")):
        file.unlink()
    loaded = load_predictor(tmp_path / "saved")
    found = loaded.score(case.unseen.texts)
    assert type(loaded) is type(case.method).predictor_type
    assert loaded.label_names == predictor.label_names
    assert loaded.parameters == predictor.parameters
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    assert found.variants.keys() == expected.variants.keys()
    for name, table in expected.variants.items():
        np.testing.assert_array_equal(found.variants[name], table)


def test_facts_are_plain_and_survive_saving(case: Case, tmp_path: Path) -> None:
    facts = json.loads(json.dumps(dict(case.predictor.facts)))
    assert facts == case.predictor.facts
    save_predictor(case.predictor, tmp_path / "saved", method=case.name, options={})
    assert load_predictor(tmp_path / "saved").facts == facts


def test_a_loaded_predictor_can_be_saved_again(case: Case, tmp_path: Path) -> None:
    save_predictor(case.predictor, tmp_path / "first", method=case.name, options={})
    loaded = load_predictor(tmp_path / "first")
    save_predictor(loaded, tmp_path / "second", method=case.name, options={})
    np.testing.assert_array_equal(
        load_predictor(tmp_path / "second").predict_proba(case.unseen.texts),
        case.predictor.predict_proba(case.unseen.texts),
    )


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_gets_sound_probabilities(case: Case, text: str) -> None:
    check_sound(case.predictor.predict_proba([text]), rows=1, labels=2)


def test_a_long_text_is_cut_and_said_to_be(case: Case) -> None:
    scores = case.predictor.score([HOSTILE[2], "the film was great"])
    limit = options_of(case.method).get("max_tokens")
    if limit is None:
        assert not scores.truncated.any()
    else:
        assert scores.truncated.tolist() == [True, False]
        assert scores.tokens[0] == limit


def test_hostile_texts_can_be_learned_from(case: Case, tmp_path: Path) -> None:
    texts = (*HOSTILE, *case.train.texts[len(HOSTILE) :])
    train = replace(case.train, texts=texts)
    predictor = case.method.fit(train, case.validation, workdir=tmp_path)
    check_sound(predictor.predict_proba(case.unseen.texts), rows=60, labels=2)


def test_no_texts_give_no_rows(case: Case) -> None:
    scores = case.predictor.score([])
    check_sound(scores.probabilities, rows=0, labels=2)
    assert len(scores.tokens) == len(scores.truncated) == 0
    assert all(table.shape == (0, 2) for table in scores.variants.values())


def test_a_method_can_be_fitted_without_validation_rows(case: Case, tmp_path: Path) -> None:
    nobody = case.validation.take([])
    predictor = case.method.fit(case.train, nobody, workdir=tmp_path)
    assert accuracy(predictor, case.unseen) >= 0.75


def test_fit_changes_nothing_outside_its_workdir(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("workdir", "current", "temporary"):
        (tmp_path / name).mkdir()
    options = tiny_options(case.name, tmp_path / "checkpoint")
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    train, validation, _ = sides(ORDERS[0])

    def everything() -> dict[Path, str]:
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        return {
            file: file_sha256(file) for file in files if tmp_path / "workdir" not in file.parents
        }

    before = everything()
    create_method(case.name, options).fit(train, validation, workdir=tmp_path / "workdir")
    assert everything() == before
    assert (train, validation) == sides(ORDERS[0])[:2]


def test_the_price_in_labels_is_what_the_table_says(case: Case) -> None:
    assert case.method.labels_used(case.train, case.validation) == ROWS[case.name].labels_used


def test_fit_is_never_given_test_rows(case: Case) -> None:
    parameters = inspect.signature(case.method.fit).parameters
    assert list(parameters) == ["train", "validation", "workdir"]
