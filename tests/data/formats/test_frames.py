"""Tables in Python's memory are read by the rules of files."""

import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from pollice.data.reading import ReadOptions, read_dataset, read_texts
from pollice.errors import DataError

COLUMNS: dict[str, list[Any]] = {
    "id": ["a", "b", "c", "d", "e"],
    "Review": ["Good.<br />", " Bad &amp; sad ", None, "Fine", "Old"],
    "label": [1.0, 0.0, 1.0, float("nan"), None],
}


def of_datasets(columns: dict[str, list[Any]]) -> Any:
    datasets = pytest.importorskip("datasets", reason="datasets comes with the extra lora")
    return datasets.Dataset.from_dict(columns)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, of_datasets])
def test_every_kind_gives_the_same_data_set(make: Any) -> None:
    dataset = read_dataset(make(COLUMNS))
    assert dataset.ids == ("a", "b")
    assert dataset.texts == ("Good.", "Bad & sad")
    assert dataset.labels == ("1", "0")
    assert dataset.dropped == {"empty text": 1, "no label": 2}
    assert dataset.notes == (
        "the table: texts from the column 'Review', labels from the column 'label'.",
    )
    assert read_texts(make(COLUMNS)).texts == ("Good.", "Bad & sad", "", "Fine", "Old")


def test_what_pandas_can_hold() -> None:
    frame = pd.DataFrame(
        {
            "text": pd.array(["a", pd.NA, "c"], dtype="string"),
            "label": pd.Categorical(["x", "y", None]),
            "mixed": np.array([np.int64(1), "b", None], dtype=object),
            7: [True, False, True],
        },
        index=[5, 5, 9],
    )
    assert read_texts(frame).gold == ("x", "y", None)
    assert read_texts(frame, ReadOptions(label_column="mixed")).gold == ("1", "b", None)
    assert read_texts(frame, ReadOptions(label_column="7")).gold == ("true", "false", "true")


def test_rows_of_datasets_are_those_selected_and_their_classes_have_names() -> None:
    datasets = pytest.importorskip("datasets", reason="datasets comes with the extra lora")
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["neg", "pos"])
    )
    columns = {"text": ["a", "b", "c", "d"], "label": [1, 0, -1, 1]}
    table = datasets.Dataset.from_dict(columns, features=features).select([3, 2, 1])
    dataset = read_dataset(table)
    assert (dataset.texts, dataset.labels) == (("d", "b"), ("pos", "neg"))
    assert dataset.label_names == ("neg", "pos")
    several = datasets.DatasetDict(train=table, validation=table, unsupervised=table)
    dataset = read_dataset(several)
    assert dataset.parts == ("train", "train", "validation", "validation")
    assert dataset.label_names == ("neg", "pos")


def test_parts_of_unknown_names() -> None:
    datasets = pytest.importorskip("datasets", reason="datasets comes with the extra lora")
    sentence = (
        "Expected the parts train, validation or test in the DatasetDict, but found all. "
        "Give one of them, or rename them."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        read_dataset(datasets.DatasetDict(all=of_datasets(COLUMNS)))


def test_columns_that_are_missing_or_stand_twice() -> None:
    sentence = (
        "Expected a text column named text, review, content, sentence, comment or alike in the "
        "table, but its columns are a, label. Name it with --text-column (in Python: text_column)."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        read_dataset(pd.DataFrame({"a": ["x"], "label": [1]}))
    twice = pa.table([["x"], ["y"], [1]], names=["text", "text", "label"])
    sentence = (
        "Expected every column's name once, but the table has several of one name. Rename them."
    )
    for table in (twice, twice.to_pandas()):
        with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
            read_dataset(table)


@pytest.mark.parametrize("table", [["a", "b"], {"text": ["a"]}, 3, None, pl.LazyFrame({"a": [1]})])
def test_what_is_no_table(table: Any) -> None:
    with pytest.raises(DataError) as raised:
        read_dataset(table)
    kind = f"{type(table).__module__.partition('.')[0]} {type(table).__name__}"
    assert str(raised.value).startswith(
        "Expected a path, or a table of pandas, polars, Arrow or datasets in memory, but found a "
        f"{kind}. Convert it, for example to a pandas.DataFrame."
    )


def test_a_table_without_rows() -> None:
    sentence = (
        "Expected rows below the names of the columns, but the table has none. "
        "Name a file with at least one row."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        read_dataset(pd.DataFrame({"text": [], "label": []}))
