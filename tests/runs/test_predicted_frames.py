"""`pollice.predict` takes and returns the tables that people work with."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import pollice
from pollice.errors import DataError
from pollice.predictions.predictor import Predictor, Scores


class Lengths(Predictor):
    label_names = ("long", "short")

    def score(self, texts: Sequence[str]) -> Scores:
        share = np.array([min(0.9, len(text) / 20) for text in texts])
        return Scores(
            probabilities=np.stack([share, 1 - share], axis=1),
            tokens=np.array([len(text.split()) for text in texts]),
            truncated=np.zeros(len(texts), np.bool_),
        )

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> "Lengths":
        raise NotImplementedError


DATA = {"text": ["a", None, "b" * 18], "label": [1, 2, 3]}


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_table_gives_a_table_of_its_kind(kind: Callable[[Any], Any]) -> None:
    table = kind(DATA)
    found = pollice.predict(Lengths(), table)
    assert type(found) is type(table)
    written = pl.DataFrame(found)
    assert written.columns == [
        *("text", "input:label", "label", "probability", "probability:long"),
        *("probability:short", "tokens", "truncated", "status"),
    ]
    assert written["label"].to_list() == ["short", None, "long"]
    assert written["input:label"].to_list() == [1, 2, 3]
    assert written["status"].to_list() == ["judged", "no text", "judged"]


def test_the_index_of_pandas_stays() -> None:
    table = pd.DataFrame(DATA, index=[7, 5, 6])
    found = pollice.predict(Lengths(), table)
    assert list(found.index) == [7, 5, 6]
    assert list(found["status"]) == ["judged", "no text", "judged"]
    assert list(table.columns) == ["text", "label"]


def test_texts_give_the_predictions_table() -> None:
    found = pollice.predict(Lengths(), ["a", ""], ids=["x", "y"])
    assert isinstance(found, pollice.Predictions)
    assert (found.ids, found.predicted) == (("x", "y"), ("short", None))


def test_no_such_column_is_said() -> None:
    said = "Expected the text column 'txt' in the table, but its columns are text, label. "
    said += "Did you mean 'text'?"
    with pytest.raises(DataError, match=f"^{re.escape(said)}$"):
        pollice.predict(Lengths(), pd.DataFrame(DATA), text_column="txt")
