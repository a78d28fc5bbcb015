"""2,000 generated dialects and damaged files: what was written is read, or one sentence says why.

Never an error without a type of ours, and never a row lost without a count.
"""

import csv
import io
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pollice.data.formats.columns import Columns
from pollice.data.tables import read_columns
from pollice.errors import DataError

GENERATED = settings(
    max_examples=1000,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LETTERS = "ab\u00e9\u4e2d\U0001f600 \t\n\r,;|\"'\\=~\x0b\x1c\u2028x1"
TEXTS = st.text(LETTERS, max_size=12)
LABELS = st.sampled_from(["pos", "neg", "a b", "1"])
ROWS = st.lists(st.tuples(TEXTS, LABELS, TEXTS), min_size=1, max_size=6)
HEADERS = st.sampled_from([("text", "label", "note"), ("Text", "a label", "Good; or not, or|so")])
NUMBER = re.compile(r"([\d,]+) (row|empty row|blank line|further line|line)s?\b.*(left out|fewer)")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def everything(names: Sequence[str]) -> Sequence[str]:
    return list(names)


def read(path: Path, content: bytes) -> Columns:
    path.write_bytes(content)
    return read_columns(path, everything)


def read_or_refuse(path: Path, content: bytes) -> Columns | str:
    """Return the columns, or the sentence that refuses them; any other error goes on."""
    try:
        return read(path, content)
    except DataError as error:
        return str(error)


def rows_of(columns: Columns) -> list[tuple[str, ...]]:
    return list(zip(*columns.values.values(), strict=True))


def counted(columns: Columns) -> int:
    """Return how many rows were left out, as the notes say."""
    found = [NUMBER.search(note) for note in columns.notes if "left out" in note]
    return sum(int(each[1].replace(",", "")) for each in found if each)


@GENERATED
@given(
    header=HEADERS,
    rows=ROWS,
    separator=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    said=st.booleans(),
    suffix=st.sampled_from([".csv", ".tsv"]),
)
def test_cells_are_what_was_written(
    folder: Path,
    header: tuple[str, ...],
    rows: list[tuple[str, ...]],
    separator: str,
    end: str,
    quoting: int,
    encoding: str,
    said: bool,
    suffix: str,
) -> None:
    """Every cell of a well formed file, whatever its separator, line ends and encoding."""
    if quoting == csv.QUOTE_MINIMAL:  # the writer leaves CR without quotes, as if a line ended
        rows = [tuple(cell.replace("\r", "") for cell in row) for row in rows]
    if separator in "\t|":  # such a cell of several lines may as well be rows with bare quotes
        rows = [tuple(cell.replace(separator, "") for cell in row) for row in rows]
    written = io.StringIO(newline="")
    if said:
        written.write(f"sep={separator}{end}")
    writer = csv.writer(written, delimiter=separator, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([header, *rows])
    columns = read(folder / f"a{suffix}", written.getvalue().encode(encoding))
    assert list(columns.values) == list(header)
    assert rows_of(columns) == rows
    assert counted(columns) == 0


@settings(GENERATED, max_examples=500)
@given(
    rows=st.lists(st.tuples(st.text("ab \"'\\,;x", max_size=9), LABELS), min_size=1, max_size=8),
    missing=st.booleans(),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_tsv_file_without_quoting(
    folder: Path, rows: list[tuple[str, str]], missing: bool, end: str
) -> None:
    """Every row is there, with its label; the quotes around a whole cell alone may be lost."""
    lines = ["text\tlabel\tnote", *("\t".join([*row, *([] if missing else ["x"])]) for row in rows)]
    columns = read_or_refuse(folder / "a.tsv", (end.join(lines) + end).encode())
    if isinstance(columns, str):
        # Where quotes mostly enclose cells, they are taken for quotes, and must be well.
        assert "well quoted row" in columns
        return
    assert columns.values["label"] == [label for _, label in rows]
    texts = [text for text, _ in rows]
    plain = [cell.replace('"', "") for cell in columns.values["text"]]
    assert plain == [text.replace('"', "") for text in texts]


@settings(GENERATED, max_examples=500)
@given(
    rows=ROWS,
    cut=st.integers(0, 200),
    at=st.integers(0, 200),
    junk=st.one_of(
        st.binary(max_size=3), st.sampled_from([b'"', b",", b"\n", b"\r", b"\0", b"\t"])
    ),
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".csv.gz", ".csv.bz2", ".csv.xz"]),
)
def test_a_damaged_file(
    folder: Path, rows: list[tuple[str, ...]], cut: int, at: int, junk: bytes, suffix: str
) -> None:
    """One sentence, or a table: each line of the file is in a row, or was counted."""
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\n").writerows([("text", "label", "note"), *rows])
    content = written.getvalue().encode()
    content = content[: max(0, len(content) - cut // 4)]
    content = content[:at] + junk + content[at:]
    path = folder / f"b{suffix}"
    columns = read_or_refuse(path, content)
    if isinstance(columns, str):
        assert str(path) in columns
        return
    first, *places = [*columns.numbers, len(content.splitlines()) + 1]
    assert first >= 1
    assert places == sorted(set(places))
    assert all(isinstance(cell, str) for row in rows_of(columns) for cell in row)
