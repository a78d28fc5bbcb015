"""Damaged files of every format: read, or refused in one sentence, and never an untyped error."""

import bz2
import gzip
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pollice.data.tables import read_columns
from pollice.errors import DataError
from spreadsheet_files import Rows, ods, xls, xlsx

RECORDS = [{"text": f"soup {row}, warm", "label": row % 2} for row in range(40)]
TASKS = [
    {"data": {"text": "a"}, "annotations": [{"result": [{"value": {"choices": ["x"]}}]}]},
    {"fields": {"text": "a"}, "responses": {"q": [{"value": "x"}]}},
]
TABLE = pa.table({"text": [row["text"] for row in RECORDS], "label": [0, 1] * 20})
ROWS: Rows = [["text", "label"], *([row["text"], row["label"]] for row in RECORDS)]


def written(write: str) -> bytes:
    file = io.BytesIO()
    if write == "parquet":
        pq.write_table(TABLE, file)
    elif write == "feather":
        pyarrow.feather.write_feather(TABLE, file)
    else:
        with pa.ipc.new_stream(file, TABLE.schema) as writer:
            writer.write_table(TABLE)
    return file.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


LINES = "\n".join(map(json.dumps, RECORDS)).encode()
CSV = "\n".join(f"{text},{label}" for text, label in [["text", "label"], *ROWS[1:]]).encode()
FILES = {
    "a.csv": CSV.replace(b", warm", b""),
    "a.jsonl": LINES,
    "a.json": json.dumps(RECORDS).encode(),
    "tasks.json": json.dumps(TASKS).encode(),
    "columns.json": json.dumps({"text": {"0": "a", "1": "b"}, "label": {"0": 1, "1": 0}}).encode(),
    "a.txt": b"__label__pos warm soup\n__label__neg cold soup\n",
    "a.parquet": written("parquet"),
    "a.feather": written("feather"),
    "a.arrow": written("stream"),
    "a.csv.gz": gzip.compress(CSV, mtime=0),
    "a.csv.bz2": bz2.compress(CSV),
    "a.parquet.gz": gzip.compress(written("parquet"), mtime=0),
    "jsonl.zip": zipped("a.jsonl", LINES),
    "parquet.zip": zipped("a.parquet", written("parquet")),
}
KEYS = (
    "text label id data fields annotations responses annotator result value choices columns "
    "from_name status q.responses"
)
SPREADSHEETS = {"a.xlsx": xlsx(ROWS), "a.xls": xls(ROWS), "a.ods": ods(ROWS)}


def everything(names: Sequence[str]) -> Sequence[str]:
    return list(dict.fromkeys(names))


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes that are cut short, and of which some are others."""
    harmed = bytearray(content)
    for place in draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        harmed[place] ^= draw(st.integers(1, 255))
    return bytes(harmed[: draw(st.one_of(st.none(), st.integers(0, len(content))))])


def read_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        columns = read_columns(path, everything)
        for name in columns.values:
            columns.strings(name)
    except DataError as error:
        assert str(error).startswith("Expected ")  # noqa: PT017  # it may be raised or not
        return
    assert all(len(values) == len(columns) for values in columns.values.values())


SETTINGS = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("name", FILES)
def test_damaged_bytes(tmp_path: Path, name: str) -> None:
    @settings(SETTINGS, max_examples=120)
    @given(damaged(FILES[name]))
    def check(content: bytes) -> None:
        read_or_refuse(tmp_path / name, content)

    check()


@pytest.mark.parametrize("name", SPREADSHEETS)
def test_damaged_spreadsheets(tmp_path: Path, name: str) -> None:
    """Each is read by a process of its own, which takes a moment."""

    @settings(SETTINGS, max_examples=25)
    @given(damaged(SPREADSHEETS[name]))
    def check(content: bytes) -> None:
        read_or_refuse(tmp_path / name, content)

    check()


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_values_of_any_shape(tmp_path: Path, name: str) -> None:
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
    objects = st.sampled_from(KEYS.split())
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(objects, inner, max_size=5),
    )

    @settings(SETTINGS, max_examples=300)
    @given(values)
    def check(value: object) -> None:
        read_or_refuse(tmp_path / name, json.dumps(value).encode())

    check()
