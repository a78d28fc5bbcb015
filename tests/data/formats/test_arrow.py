"""Arrow and Feather files -> columns, and names of classes in Arrow's and Parquet's schema."""

import gzip
import json
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from pollice.data.reading import ReadOptions, read_dataset, read_texts
from pollice.data.tables import read_columns
from pollice.errors import DataError

TABLE = pa.table({"text": ["warm", "cold", "old"], "label": [1, 0, -1], "more": [[1], [2], []]})
FEATURES = {"text": {"_type": "Value"}, "label": {"names": ["neg", "pos"], "_type": "ClassLabel"}}


def everything(names: Sequence[str]) -> Sequence[str]:
    return names


def write_file(table: Any, path: Path) -> None:
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


def write_stream(table: Any, path: Path) -> None:
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)


def write_feather(table: Any, path: Path) -> None:
    pyarrow.feather.write_feather(table, str(path))


def with_features(table: Any, features: Any) -> Any:
    stored = {"huggingface": json.dumps({"info": {"features": features}})}
    return table.replace_schema_metadata(stored)


@pytest.mark.parametrize("suffix", [".arrow", ".feather", ".ipc"])
@pytest.mark.parametrize("write", [write_file, write_stream, write_feather])
def test_files_and_streams_are_read_whatever_the_ending(
    tmp_path: Path, suffix: str, write: Any
) -> None:
    path = tmp_path / f"a{suffix}"
    write(TABLE, path)
    columns = read_columns(path, lambda names: ["label", "text"])
    assert columns.values == {"label": [1, 0, -1], "text": ["warm", "cold", "old"]}
    assert columns.place(2) == "row 3"
    packed = tmp_path / f"b{suffix}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_columns(packed, lambda names: ["label", "text"]).values == columns.values


def test_a_dictionary_is_read_as_its_values(tmp_path: Path) -> None:
    table = pa.table({"text": pa.array(["a", "b", None, "a"]).dictionary_encode()})
    write_stream(table, tmp_path / "a.arrow")
    assert read_columns(tmp_path / "a.arrow", everything).values == {"text": ["a", "b", None, "a"]}


@pytest.mark.parametrize("name", ["a.arrow", "a.parquet"])
def test_codes_get_the_names_of_their_classes(tmp_path: Path, name: str) -> None:
    """The code -1 means that a row has no label. Names that the user gives come first."""
    table = with_features(TABLE.select(["text", "label"]), FEATURES)
    path = tmp_path / name
    write_stream(table, path) if name == "a.arrow" else pq.write_table(table, path)
    dataset = read_dataset(str(path))
    assert (dataset.labels, dataset.label_names) == (("pos", "neg"), ("neg", "pos"))
    assert dataset.dropped == {"no label": 1}
    assert read_texts(str(path)).gold == ("pos", "neg", None)
    given = ReadOptions(label_names={"0": "bad", "1": "good"})
    assert read_dataset(str(path), given).labels == ("good", "bad")


@pytest.mark.parametrize("features", [[], {"label": None}, {"label": {"names": [1, 2]}}, "x"])
def test_features_of_another_shape_name_nothing(tmp_path: Path, features: Any) -> None:
    pq.write_table(with_features(TABLE.select(["text", "label"]), features), tmp_path / "a.parquet")
    assert read_dataset(str(tmp_path / "a.parquet")).label_names == ("-1", "0", "1")


def test_a_column_of_lists_of_lists_is_refused(tmp_path: Path) -> None:
    write_file(pa.table({"more": [[[1]], []]}), tmp_path / "a.arrow")
    sentence = (
        f"Expected text or a number in the column 'more' of {tmp_path / 'a.arrow'}, but it holds "
        "list<item: list<item: int64>>. Name another column."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        read_columns(tmp_path / "a.arrow", everything)


@pytest.mark.parametrize("name", ["a.arrow", "a.parquet"])
def test_a_list_of_one_label_is_that_label(tmp_path: Path, name: str) -> None:
    """As in JSON; a text that is a list is refused by its row."""
    table = pa.table({"text": ["warm", "cold", "none"], "label": [["pos"], ["neg"], []]})
    path = tmp_path / name
    write_stream(table, path) if name == "a.arrow" else pq.write_table(table, path)
    dataset = read_dataset(str(path))
    assert (dataset.labels, dataset.dropped) == (("pos", "neg"), {"no label": 1})
    sentence = (
        f"Expected text or a number in the column 'label' of {path}, but row 1 holds a list. "
        "Name another column."
    )
    options = ReadOptions(text_column="label", label_column="text")
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        read_dataset(str(path), options)


@pytest.mark.parametrize("name", ["a.arrow", "a.parquet"])
def test_decimals_dates_and_times_are_labels_as_csv_has_them(tmp_path: Path, name: str) -> None:
    """Times of nanoseconds, as pandas has them, lose what Python's cannot hold."""
    table = pa.table(
        {
            "text": ["warm", "cold"],
            "price": pa.array([Decimal("1.50"), Decimal("2.00")], pa.decimal128(5, 2)),
            "day": pa.array([date(2024, 1, 2), None]),
            "time": pa.array([1_700_000_000_123_456_789, 0], pa.timestamp("ns")),
        }
    )
    path = tmp_path / name
    write_stream(table, path) if name == "a.arrow" else pq.write_table(table, path)
    columns = read_columns(path, everything)
    assert columns.strings("price") == ["1.5", "2"]
    assert columns.strings("day") == ["2024-01-02", None]
    assert columns.strings("time") == ["2023-11-14 22:13:20.123456", "1970-01-01 00:00:00"]


@pytest.mark.parametrize("content", [b"", b"no", b"ARROW1\0\0"])
def test_what_is_no_arrow_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.arrow").write_bytes(content)
    sentence = (
        f"Expected a whole Arrow file, but {tmp_path / 'a.arrow'} cannot be read as one "
        "(ArrowInvalid). Copy or download it again."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        read_columns(tmp_path / "a.arrow", everything)


@pytest.mark.parametrize("name", ["a.arrow", "a.parquet"])
def test_a_long_text_stored_once_for_many_rows_is_counted_each_time(
    tmp_path: Path, name: str
) -> None:
    """A file of a megabyte that would become 4 TiB of strings."""
    indices = pa.array([0] * 4_000_000, pa.int32())
    table = pa.table({"text": pa.DictionaryArray.from_arrays(indices, pa.array(["x" * 2**20]))})
    path = tmp_path / name
    if name == "a.arrow":
        write_stream(table, path)
    else:
        pq.write_table(table, path, store_schema=False)
    with pytest.raises(DataError) as raised:
        read_columns(path, everything)
    assert re.fullmatch(
        rf"Expected a table that fits into the [\d.]+ GiB of this machine, but {path} promises "
        r"4,000,000 rows and needs [\d,.]+ GiB\. Check the file, or split it\.",
        str(raised.value),
    )


def test_parquet_of_many_row_groups_keeps_the_order(tmp_path: Path) -> None:
    texts = [f"text {row % 700}" for row in range(25_000)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", row_group_size=3_000)
    assert read_columns(tmp_path / "a.parquet", everything).values == {"text": texts}


@pytest.mark.parametrize("name", ["a.arrow", "a.parquet"])
def test_bytes_that_are_text_are_read_as_text(tmp_path: Path, name: str) -> None:
    """Some programs write no strings into Parquet. Other bytes are refused where they are used."""
    table = pa.table({"text": [b"caf\xc3\xa9", None], "picture": [b"\x89PNG", b"\xff"]})
    path = tmp_path / name
    write_stream(table, path) if name == "a.arrow" else pq.write_table(table, path)
    columns = read_columns(path, everything)
    assert columns.values["text"] == ["caf\u00e9", None]
    sentence = (
        f"Expected text or a number in the column 'picture' of {path}, but row 1 holds bytes. "
        "Name another column."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        columns.strings("picture")
