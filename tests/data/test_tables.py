"""File formats -> columns, and every way in which a file can be broken."""

import bz2
import gzip
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pollice.data.formats.columns import Columns, find_column
from pollice.data.tables import read_columns
from pollice.errors import DataError

OTHER_ENCODING = (
    "Save it again as UTF-8, or name its encoding with --encoding, such as cp1252 or latin-1 "
    "(Western), cp1251 (Cyrillic), gb18030 (Chinese), shift_jis (Japanese)."
)

ROWS = [{"text": 'Good, "very" good.\nReally.', "label": "1"}, {"text": "Bad.", "label": "0"}]
CSV = b'text,label\n"Good, ""very"" good.\nReally.",1\n\nBad.,0\n'


def everything(names: Sequence[str]) -> Sequence[str]:
    return names


def read(path: Path, content: bytes) -> Columns:
    path.write_bytes(content)
    return read_columns(path, everything)


def fails(path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(sentence.format(path=path))}$"):
        read(path, content)


def parquet(path: Path, **columns: object) -> bytes:
    pq.write_table(pa.table(columns), path)
    return path.read_bytes()


@pytest.mark.parametrize("compression", ["", ".gz", ".bz2"])
@pytest.mark.parametrize("suffix", [".csv", ".TSV", ".jsonl", ".ndjson", ".parquet"])
def test_every_format_gives_the_same_columns(tmp_path: Path, suffix: str, compression: str) -> None:
    texts, labels = [row["text"] for row in ROWS], [row["label"] for row in ROWS]
    lines = "\n\n".join(json.dumps(row) for row in ROWS).encode()
    contents = {
        ".csv": CSV,
        ".TSV": CSV.replace(b"text,", b"text\t").replace(b",1", b"\t1").replace(b",0", b"\t0"),
        ".parquet": parquet(tmp_path / "plain", text=texts, label=labels),
    }
    content = contents.get(suffix, lines)
    if compression:
        content = gzip.compress(content, mtime=0) if compression == ".gz" else bz2.compress(content)
    columns = read(tmp_path / f"data{suffix}{compression}", content)
    assert columns.values == {"text": texts, "label": labels}


def test_rows_know_their_lines(tmp_path: Path) -> None:
    """A quoted text of two lines and a blank line are counted."""
    assert [read(tmp_path / "a.csv", CSV).place(row) for row in (0, 1)] == ["line 2", "line 5"]
    lines = b'{"a": 1}\n\n{"a": 2}\n'
    assert read(tmp_path / "a.jsonl", lines).place(1) == "line 3"
    assert read(tmp_path / "a.parquet", parquet(tmp_path / "b", a=[1, 2])).place(1) == "row 2"


def test_a_byte_order_mark_and_long_texts_are_read(tmp_path: Path) -> None:
    text = "word " * 100_000
    columns = read(tmp_path / "a.csv", b"\xef\xbb\xbftext,label\r\n" + text.encode() + b",1\r\n")
    assert columns.values == {"text": [text], "label": ["1"]}


def test_values_become_strings(tmp_path: Path) -> None:
    lines = b'{"a": 1}\n{"a": 2.0}\n{"a": true}\n{"a": " x "}\n{"b": 1}\n{"a": ""}\n{"a": NaN}\n'
    columns = read(tmp_path / "a.jsonl", lines + b'{"a": "\\ud800x"}\n{"a": 0.5}')
    assert columns.strings("a") == ["1", "2", "true", "x", None, None, None, "?x", "0.5"]


def test_a_value_with_parts_is_refused(tmp_path: Path) -> None:
    columns = read(tmp_path / "a.jsonl", b'{"a": "x"}\n{"a": ["x"]}')
    sentence = (
        f"Expected text or a number in the column 'a' of {tmp_path / 'a.jsonl'}, but line 2 "
        "holds a list. Name another column."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        columns.strings("a")


def test_columns_are_found_in_any_case() -> None:
    assert find_column(["Text", "LABEL"], ["review", "text"]) == "Text"
    assert find_column(["Text", "text"], ["text"]) == "text"
    assert find_column(["words"], ["text"]) is None


EMPTY = "Expected a table, but {path} is empty. Name a file with at least one row."
HEADER_ONLY = (
    "Expected rows below the names of the columns, but {path} has none. "
    "Name a file with at least one row."
)
DAMAGED = (
    "Expected a whole {suffix} file, but {{path}} is damaged or cut short. "
    "Copy or download it again."
)
NOT_PACKED = "Expected a .gz file, but {path} is not packed with gzip. Rename it to what it is."
NOT_JSON = (
    "Expected one JSON object a line, but line {number} of {{path}} {found}. "
    'Write each row as one line, such as {{{{"text": ..., "label": ...}}}}.'
)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"", EMPTY),
        ("a.csv", b"\n\n", EMPTY),
        ("a.jsonl", b"\n", EMPTY),
        ("a.csv", b"text,label\n", HEADER_ONLY),
        (
            "a.docx",
            b"",
            "Expected a file that ends in .csv, .tsv, .json, .jsonl, .ndjson, .parquet, .arrow, "
            ".feather, .ipc, .xlsx, .xlsm, .xlsb, .xls, .ods, .ft, .fasttext or .txt, alone or "
            "with .gz, .bz2, .xz, .zst or .zip, but found {path}. Convert it, or rename it to "
            "what it is.",
        ),
        (
            "a.csv",
            b'text,label\n"a\nb",1\nc,d,1\n',
            "Expected 2 columns as in the first line, but line 4 of {path} has 3. "
            "Put quotes around a text that holds the separator.",
        ),
        (
            "a.csv",
            b'text,label\na,1\n"b,1\nc,1\n',
            "Expected a well quoted row, but the one that begins on line 3 of {path} is not "
            "(unexpected end of data). Write a quote inside a quoted text twice.",
        ),
        (
            "a.csv",
            b"text,label\na,1\nb \xe9,1\n",
            "Expected UTF-8, but line 3 of {path} holds the byte 0xe9 at column 3. "
            f"{OTHER_ENCODING}",
        ),
        (
            "a.csv",
            b"text,label\na\0,1\n",
            "Expected text, but line 2 of {path} holds a NUL byte. Save it again as UTF-8 text.",
        ),
        ("a.csv.gz", gzip.compress(CSV, mtime=0)[:-9], DAMAGED.format(suffix=".gz")),
        ("a.csv.gz", CSV, NOT_PACKED),
        ("a.csv.bz2", bz2.compress(CSV)[:-9], DAMAGED.format(suffix=".bz2")),
        ("a.parquet.gz", b"no", NOT_PACKED),
        (
            "a.jsonl",
            b'{"a": 1}\n[1]\n',
            NOT_JSON.format(number=2, found="holds a list"),
        ),
        ("a.jsonl", b'\n{"a": 1\n', NOT_JSON.format(number=2, found="is not JSON")),
        (
            "a.jsonl",
            b"[" * 100_000,
            "Expected JSON, but {path} is nested too deeply. "
            'Write an array of rows, such as [{{"text": ..., "label": ...}}], or JSON Lines.',
        ),
        (
            "a.parquet",
            b"",
            "Expected a whole Parquet file, but {path} cannot be read as one (ArrowInvalid). "
            "Copy or download it again.",
        ),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    fails(tmp_path / name, content, sentence)


def test_a_parquet_file_cut_short(tmp_path: Path) -> None:
    content = parquet(tmp_path / "whole", text=["a", "b"])
    fails(
        tmp_path / "a.parquet",
        content[:-20],
        "Expected a whole Parquet file, but {path} cannot be read as one (ArrowInvalid). "
        "Copy or download it again.",
    )


def test_a_parquet_file_damaged_within(tmp_path: Path) -> None:
    content = bytearray(parquet(tmp_path / "whole", text=[f"text {row}" for row in range(2000)]))
    content[4:3000] = b"\xff" * 2996
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"^Expected a whole Parquet file, but .* cannot be read"):
        read_columns(tmp_path / "a.parquet", everything)


def varint(number: int) -> bytes:
    """A Thrift compact i64: zigzag, seven bits a byte."""
    number *= 2
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


@pytest.mark.parametrize("promised", [10**12, 10**15])
def test_a_footer_that_promises_more_than_memory_holds(tmp_path: Path, promised: int) -> None:
    """The promise is refused before memory is asked for."""
    rows = 12_345
    content = parquet(tmp_path / "whole", text=["same"] * rows)
    length = int.from_bytes(content[-8:-4], "little")
    footer = content[-8 - length : -8]
    assert varint(rows) in footer
    footer = footer.replace(varint(rows), varint(promised))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    needed = promised * 64 / 2**30
    with pytest.raises(DataError) as raised:
        read(
            tmp_path / "a.parquet",
            content[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1",
        )
    assert str(raised.value) == (
        f"Expected a table that fits into the {memory / 2**30:,.1f} GiB of this machine, but "
        f"{tmp_path / 'a.parquet'} promises {promised:,} rows and needs {needed:,.1f} GiB. "
        "Check the file, or split it."
    )


def test_a_footer_that_promises_rows_the_file_lacks(tmp_path: Path) -> None:
    rows = 12_345
    content = parquet(tmp_path / "whole", text=[f"text {row}" for row in range(rows)])
    length = int.from_bytes(content[-8:-4], "little")
    footer = content[-8 - length : -8].replace(varint(rows), varint(rows + 1))
    with pytest.raises(DataError, match=r"^Expected a whole Parquet file, but .* cannot be read"):
        read(tmp_path / "a.parquet", content[: -8 - length] + footer + content[-8:])


def test_parquet_strings_that_are_not_utf8(tmp_path: Path) -> None:
    array = pa.StringArray.from_buffers(
        2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xe9")
    )
    fails(
        tmp_path / "a.parquet",
        parquet(tmp_path / "whole", text=array),
        "Expected UTF-8 in the column 'text' of {path}, but found the byte 0xe9. "
        "Write the file again with UTF-8 strings.",
    )


def test_a_file_that_may_not_be_opened(tmp_path: Path) -> None:
    sentence = (
        f"Expected a file that can be read, but {tmp_path / 'no.csv'} cannot be opened "
        "(No such file or directory). Check its name and its permissions."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        read_columns(tmp_path / "no.csv", everything)


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", ",")])
def test_another_separator_in_the_first_line_is_taken(tmp_path: Path, name: str, mark: str) -> None:
    path = tmp_path / name
    path.write_text(f'text{mark}label\n"good, really{mark}"{mark}pos\n', encoding="utf-8")
    columns = read_columns(path, lambda names: names)
    assert columns.values == {"text": [f"good, really{mark}"], "label": ["pos"]}
