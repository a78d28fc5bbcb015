"""One table in a zip file."""

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from pollice.data.formats.bounds import machine_memory
from pollice.data.tables import read_columns, stream_table
from pollice.errors import DataError
from spreadsheet_files import xlsx

CSV = b"text,label\nwarm,1\n"
KNOWN = (
    ".csv, .tsv, .json, .jsonl, .ndjson, .parquet, .arrow, .feather, .ipc, .xlsx, .xlsm, .xlsb, "
    ".xls, .ods, .ft, .fasttext, .txt"
)


def everything(names: Sequence[str]) -> Sequence[str]:
    return names


def write(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def fails(path: Path, sentence: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(sentence.format(path=path))}$"):
        read_columns(path, everything)


@pytest.mark.parametrize(
    ("name", "content", "label"),
    [
        ("reviews/a.csv", CSV, "1"),
        ("a.jsonl", b'{"text": "warm", "label": 1}', 1),
        ("A.JSON", b'[{"text": "warm", "label": 1}]', 1),
        ("a.txt", b"__label__1 warm\n", "1"),
        ("a.xlsx", xlsx([["text", "label"], ["warm", 1]]), 1.0),
    ],
)
def test_the_only_table_is_read_and_hidden_files_are_not(
    tmp_path: Path, name: str, content: bytes, label: object
) -> None:
    members = {"__MACOSX/._a.csv": b"\0", ".DS_Store": b"\0", "read.me": b"x", name: content}
    columns = read_columns(write(tmp_path / "a.zip", **members), everything)
    assert columns.values == {"text": ["warm"], "label": [label]}


def test_several_tables_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", **{"train.csv": CSV, "b/test.csv": CSV})
    fails(
        path,
        "Expected one table in {path}, but found train.csv, b/test.csv. "
        "Unpack it, and name one of them or their folder.",
    )


def test_no_table(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", **{"a.pdf": b"x"})
    fails(
        path,
        f"Expected a table in {{path}}, but found a.pdf. Put one file in it that ends in {KNOWN}.",
    )


def test_a_damaged_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", **{"a.csv": CSV * 100})
    content = bytearray(path.read_bytes())
    content[45:60] = b"\xff" * 15
    path.write_bytes(content)
    sentence = (
        "Expected a whole .zip file, but {path} is damaged or cut short. Copy or download it again."
    )
    fails(path, sentence)
    path.write_bytes(b"PK\3\4")
    fails(path, sentence)


def test_a_password(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", **{"a.csv": CSV})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    fails(
        path,
        "Expected a zip file without a password, but {path} has one. Unpack it, and name the file.",
    )


def test_more_than_text_unpacks_to_is_refused(tmp_path: Path) -> None:
    """The promise is refused before anything is unpacked."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", CSV)
        archive.getinfo("a.csv").file_size = machine_memory()
    with pytest.raises(DataError) as raised:
        read_columns(path, everything)
    assert re.fullmatch(
        rf"Expected a file that unpacks to 64 MiB at most, as text of its size does, but {path} is "
        r"larger\. Unpack it, and check what it holds\.",
        str(raised.value),
    )


def test_what_is_read_and_what_lies_beside_it_is_said(tmp_path: Path) -> None:
    """A member outside of the folder is only read: nothing is written to its place."""
    path = write(tmp_path / "a.zip", **{"../b.csv": CSV, "README.md": b"", "notes.txt": b"hello"})
    assert read_columns(path, everything).values["text"] == ["warm"]
    note = "a.zip: ../b.csv in it is read, and not README.md, notes.txt."
    assert read_columns(path, everything).notes == (note,)
    assert stream_table(path, everything).notes == (note,)
    write(path, **{"b.csv": CSV, "__MACOSX/._b.csv": b"\0"})
    assert read_columns(path, everything).notes == ("a.zip: b.csv in it is read.",)


def test_hidden_files_alone_are_no_table(tmp_path: Path) -> None:
    fails(
        write(tmp_path / "a.zip", **{"__MACOSX/._b.csv": b"\0", ".c.csv": CSV}),
        f"Expected a table in {{path}}, but found only hidden files. Put one file in it that ends "
        f"in {KNOWN}.",
    )
