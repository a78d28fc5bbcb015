import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pollice.errors import PredictionsError
from pollice.predictions.predict import predict
from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.table import Predictions, ids_sha256
from pollice.system.progress import Advance, listening

NAN = float("nan")


class LengthPredictor(Predictor):
    """Longer texts are more positive; it notes how many texts it was given at once."""

    def __init__(self) -> None:
        self.label_names = ("negative", "positive")
        self.calls: list[int] = []

    def score(self, texts: Sequence[str]) -> Scores:
        self.calls.append(len(texts))
        lengths = np.array([len(text) for text in texts])
        positive = lengths / (lengths + 10)
        probabilities = np.stack([1 - positive, positive], axis=1)
        return Scores(
            probabilities=probabilities,
            tokens=lengths.astype(np.int64),
            truncated=lengths > 1000,
            variants={"reversed": probabilities[:, ::-1]},
        )

    def save(self, folder: Path) -> None:
        (folder / "labels.txt").write_text("\n".join(self.label_names))

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls()


def example(**changes: object) -> Predictions:
    columns: dict[str, object] = {
        "ids": ("a", "b", "c"),
        "label_names": ("negative", "positive"),
        "probabilities": np.array([[0.25, 0.75], [NAN, NAN], [0.5, 0.5]]),
        "gold": ("positive", "negative", "negative"),
        "tokens": np.array([3, 5, 512]),
        "truncated": np.array([False, False, True]),
        "variants": {"raw": np.array([[0.1, 0.9], [0.2, 0.8], [NAN, NAN]])},
    }
    return Predictions(**(columns | changes))  # type: ignore[arg-type]


def assert_same_table(found: Predictions, expected: Predictions) -> None:
    assert found.ids == expected.ids
    assert found.label_names == expected.label_names
    assert found.gold == expected.gold
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_array_equal(found.truncated, expected.truncated)
    assert str(found.tokens.dtype) == "int64"
    assert found.truncated is not None
    assert str(found.truncated.dtype) == "bool"
    assert list(found.variants) == list(expected.variants)
    for name, table in expected.variants.items():
        np.testing.assert_array_equal(found.variants[name], table)


# --- the table ---


def test_what_is_written_is_read(tmp_path: Path) -> None:
    example().write(tmp_path / "predictions.parquet")
    assert_same_table(Predictions.read(tmp_path / "predictions.parquet"), example())


def test_a_table_without_gold_stays_without(tmp_path: Path) -> None:
    example(gold=None).write(tmp_path / "predictions.parquet")
    assert Predictions.read(tmp_path / "predictions.parquet").gold is None


def test_a_table_without_rows_is_written_and_read(tmp_path: Path) -> None:
    empty = predict(LengthPredictor(), [], gold=[])
    empty.write(tmp_path / "predictions.parquet")
    assert_same_table(Predictions.read(tmp_path / "predictions.parquet"), empty)


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(
    ids=st.lists(words, max_size=12),
    labels=st.lists(words, min_size=2, max_size=4, unique=True),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_odd_ids_and_labels_survive(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], labels: list[str], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(len(labels)), size=len(ids))
    probabilities[generator.random(len(ids)) < 0.3] = NAN
    written = Predictions(
        ids=tuple(ids),
        label_names=tuple(labels),
        probabilities=probabilities,
        gold=tuple(labels[column] for column in generator.integers(0, len(labels), len(ids))),
        tokens=generator.integers(0, 2**40, len(ids)),
        truncated=generator.random(len(ids)) < 0.5,
    )
    path = tmp_path_factory.mktemp("odd") / "predictions.parquet"
    written.write(path)
    assert_same_table(Predictions.read(path), written)


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.parquet" for name in "abc")
    example().write(first)
    example().write(second)
    Predictions.read(first).write(third)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    example(ids=("a", "b", "d")).write(second)
    assert first.read_bytes() != second.read_bytes()


def test_the_columns_on_disk_are_a_contract(tmp_path: Path) -> None:
    example().write(tmp_path / "predictions.parquet")
    schema = pq.read_schema(tmp_path / "predictions.parquet")
    assert {field.name: str(field.type) for field in schema} == {
        "id": "string",
        "gold": "string",
        "probability:negative": "double",
        "probability:positive": "double",
        "tokens": "int64",
        "truncated": "bool",
        "raw/probability:negative": "double",
        "raw/probability:positive": "double",
    }


def test_a_table_of_another_system_needs_only_ids_and_probabilities(tmp_path: Path) -> None:
    """Number ids, single precision, missing values, columns in any order and more than ours."""
    table = pa.table(
        {
            "probability:up": pa.array([0.75, None, 0.5], pa.float32()),
            "model": ["x", "x", "x"],
            "id": [10, 11, 12],
            "probability:down": pa.array([0.25, None, 0.5], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "theirs.parquet")
    predictions = Predictions.read(tmp_path / "theirs.parquet")
    assert predictions.ids == ("10", "11", "12")
    assert predictions.label_names == ("up", "down")
    assert predictions.predicted == ("up", None, "down")
    assert predictions.gold is None
    assert predictions.tokens.tolist() == [0, 0, 0]
    assert predictions.truncated is None, "it is not known"
    assert predictions.cut_rows is None
    assert dict(predictions.variants) == {}
    predictions.write(tmp_path / "again.parquet")
    assert "truncated" not in pq.read_schema(tmp_path / "again.parquet").names


def test_a_row_of_nan_has_no_answer_and_a_tie_goes_to_the_first_label_by_name() -> None:
    turned = example(label_names=("positive", "negative"))
    assert example().predicted == ("positive", None, "negative")
    assert turned.predicted == ("negative", None, "negative")
    assert example().tied.tolist() == turned.tied.tolist() == [False, False, True]
    assert example().answers.tolist() == [1, -1, 0]
    assert example().cut_rows == 1


TOKENS = "Write how many tokens each text has, or leave the column out."
CUT = "Write whether each text was cut, or leave the column out."


UNSOUND_COLUMNS: list[tuple[str, list[object], str]] = [
    (
        "tokens",
        ["a", "b"],
        f"whole numbers in the column tokens of PATH, but found string. {TOKENS}",
    ),
    (
        "tokens",
        [1.0, NAN],
        f"whole numbers in the column tokens of PATH, but row 2 has nan. {TOKENS}",
    ),
    (
        "tokens",
        [[1], [2]],
        f"whole numbers in the column tokens of PATH, but found list<element: int64>. {TOKENS}",
    ),
    (
        "truncated",
        ["no", "no"],
        f"true or false in the column truncated of PATH, but found string. {CUT}",
    ),
    ("truncated", [0, 1], f"true or false in the column truncated of PATH, but found int64. {CUT}"),
    (
        "truncated",
        [True, None],
        "true or false in every row of the column truncated of PATH, but row 2 has neither. "
        "Leave the column out where it is not known.",
    ),
    ("id", ["a", None], "an id in every row of PATH, but row 2 has none. Give every row an id."),
    (
        "id",
        [["a"], ["b"]],
        "text or whole numbers in the column id of PATH, but found list<element: string>. "
        "Write an id as text in each row.",
    ),
    (
        "gold",
        [["up"], ["up"]],
        "text or whole numbers in the column gold of PATH, but found list<element: string>. "
        "Write a gold label as text in each row.",
    ),
]


@pytest.mark.parametrize(("name", "values", "sentence"), UNSOUND_COLUMNS)
def test_a_column_of_another_kind_is_refused(
    tmp_path: Path, name: str, values: list[object], sentence: str
) -> None:
    path = tmp_path / "theirs.parquet"
    columns = {"id": ["a", "b"], "probability:up": [0.1, 0.9], "probability:down": [0.9, 0.1]}
    pq.write_table(pa.table({**columns, name: values}), path)
    expected = f"Expected {sentence}".replace("PATH", str(path))
    with pytest.raises(PredictionsError, match=f"^{re.escape(expected)}$"):
        Predictions.read(path)


def test_tokens_that_another_system_wrote_as_whole_floats_are_read(tmp_path: Path) -> None:
    columns = {"id": ["a", "b"], "probability:up": [0.1, 0.9], "probability:down": [0.9, 0.1]}
    pq.write_table(pa.table({**columns, "tokens": [12.0, None]}), tmp_path / "theirs.parquet")
    assert Predictions.read(tmp_path / "theirs.parquet").tokens.tolist() == [12, 0]


def test_a_variant_is_a_table_of_its_own() -> None:
    raw = example().variant("raw")
    assert raw.predicted == ("positive", "positive", None)
    assert (raw.ids, raw.gold) == (example().ids, example().gold)
    assert dict(raw.variants) == {}


def test_the_name_of_a_set_of_rows_does_not_depend_on_their_order() -> None:
    assert ids_sha256(["b", "a", "ü"]) == hashlib.sha256("a\nb\nü".encode()).hexdigest()
    assert ids_sha256(iter(["ü", "b", "a"])) == ids_sha256(["a", "b", "ü"])
    assert ids_sha256(["a", "b"]) != ids_sha256(["a", "b", "c"])


# --- errors ---


def shape_sentence(**changes: object) -> str:
    with pytest.raises(PredictionsError) as caught:
        example(**changes)
    return str(caught.value)


def read_sentence(path: Path) -> str:
    with pytest.raises(PredictionsError) as caught:
        Predictions.read(path)
    return str(caught.value)


def test_probabilities_of_another_shape_are_refused() -> None:
    assert shape_sentence(probabilities=np.zeros((3, 3))) == (
        "probabilities must have the shape (rows, labels) = (3, 2), not (3, 3)."
    )


def test_a_variant_of_another_shape_is_refused_by_name() -> None:
    assert shape_sentence(variants={"raw": np.zeros((2, 2))}) == (
        "raw must have the shape (rows, labels) = (3, 2), not (2, 2)."
    )


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("gold", ("positive",)),
        ("tokens", np.zeros(1, np.int64)),
        ("truncated", np.zeros(1, np.bool_)),
    ],
)
def test_a_column_of_another_length_is_refused_by_name(
    column: str, values: tuple[str, ...] | NDArray[np.int64]
) -> None:
    assert shape_sentence(**{column: values}) == f"{column} must have 3 rows like ids, not 1."


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "absent.parquet"
    assert read_sentence(path) == (
        f"Expected a Parquet predictions table, but {path} cannot be read as one "
        "(FileNotFoundError). Name the predictions.parquet of a run."
    )


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_text("id,probability:a,probability:b\n1,0.5,0.5\n")
    assert read_sentence(path) == (
        f"Expected a Parquet predictions table, but {path} cannot be read as one "
        "(ArrowInvalid). Name the predictions.parquet of a run."
    )


@pytest.mark.parametrize(
    "columns",
    [
        {"row": [1], "probability:a": [0.5], "probability:b": [0.5]},
        {"id": [1], "probability:a": [0.5]},
        {"id": [1], "score": [0.5]},
    ],
)
def test_a_parquet_file_that_is_no_predictions_table_is_refused(
    tmp_path: Path, columns: dict[str, list[float]]
) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table(columns), path)
    assert read_sentence(path) == (
        "A predictions table needs the column id and a column probability:LABEL for each of two "
        f"labels or more, but {path} has: {', '.join(columns)}."
    )


# --- predict ---


def test_predictions_are_in_the_order_of_the_texts_whatever_the_chunks() -> None:
    predictor = LengthPredictor()
    texts = ["x" * (7 * row % 1301 + 1) for row in range(1301)]
    predictions = predict(predictor, texts)
    assert len(predictor.calls) > 1
    assert sum(predictor.calls) == 1301
    alone = predictor.score(texts)
    np.testing.assert_array_equal(predictions.probabilities, alone.probabilities)
    np.testing.assert_array_equal(predictions.tokens, alone.tokens)
    np.testing.assert_array_equal(predictions.truncated, alone.truncated)
    np.testing.assert_array_equal(predictions.variants["reversed"], alone.variants["reversed"])
    assert predictions.ids == tuple(str(row) for row in range(1301))
    assert predictions.gold is None


def test_predictions_keep_the_ids_and_gold_they_are_given() -> None:
    predictions = predict(
        LengthPredictor(), ["short", "long" * 9], ids=["p", "q"], gold=["positive", "negative"]
    )
    assert predictions.ids == ("p", "q")
    assert predictions.gold == ("positive", "negative")
    assert predictions.predicted == ("negative", "positive")


def test_no_texts_give_a_table_without_rows() -> None:
    predictor = LengthPredictor()
    predictions = predict(predictor, [])
    assert len(predictions) == 0
    assert predictions.probabilities.shape == (0, 2)
    assert predictions.label_names == ("negative", "positive")
    assert predictions.predicted == ()
    assert predictor.calls == []


def test_empty_texts_have_no_answer() -> None:
    """They are not asked for, but keep their row; the others get what they get alone."""
    predictor = LengthPredictor()
    texts = ["", " \n", "long enough", "short"]
    predictions = predict(predictor, texts)
    assert predictions.predicted == (None, None, "positive", "negative")
    assert predictions.tokens.tolist() == [0, 0, 11, 5]
    assert np.isnan(predictions.probabilities[:2]).all()
    assert predictor.calls == [2]
    assert predict(LengthPredictor(), [""]).predicted == (None,)


def test_ids_of_another_number_are_refused() -> None:
    with pytest.raises(PredictionsError) as caught:
        predict(LengthPredictor(), ["one", "two"], ids=["p"])
    assert str(caught.value) == (
        "probabilities must have the shape (rows, labels) = (1, 2), not (2, 2)."
    )


def test_the_progress_of_predicting_counts_every_text() -> None:
    stages: list[tuple[str, int | None, str]] = []
    steps: list[int] = []

    @contextmanager
    def listener(description: str, total: int | None, unit: str) -> Iterator[Advance]:
        stages.append((description, total, unit))
        yield steps.append

    with listening(listener):
        predict(LengthPredictor(), ["x"] * 600, description="Judging")
    assert stages == [("Judging", 600, "rows")]
    assert sum(steps) == 600


def test_predict_proba_is_the_probabilities_of_the_score() -> None:
    probabilities = LengthPredictor().predict_proba(["", "x" * 10])
    assert probabilities.tolist() == [[1.0, 0.0], [0.5, 0.5]]
