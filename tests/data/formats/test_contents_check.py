"""A file that is not what its name says is refused by what it is."""

import gzip
import pickle
from pathlib import Path

import pytest

from pollice.data.tables import read_columns
from pollice.errors import DataError

CSV = b"text,label\nwarm,pos\n"
SAVE = "Save its table as CSV, or rename it to what it is."


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        read_columns(path, lambda names: names)
    return str(raised.value)


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (
            gzip.compress(CSV),
            "packed with gzip",
            "Unpack it, or give its name the ending that says so.",
        ),
        (
            b"7z\xbc\xaf\x27\x1c\0\4",
            "packed with 7z",
            "Unpack it, or give its name the ending that says so.",
        ),
        (
            b"PK\x03\x04\x14\0",
            "a zip file, or a spreadsheet or document that is packed as one",
            SAVE,
        ),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "an old Excel or Word file", SAVE),
        (b"PAR1\x15\x04", "a Parquet file", SAVE),
        (b"ARROW1\0\0", "an Arrow file", SAVE),
        (b"%PDF-1.7\n", "a PDF", SAVE),
        (b"SQLite format 3\0", "an SQLite database", SAVE),
        (b"\x89PNG\r\n\x1a\n", "a picture", SAVE),
        (
            pickle.dumps({"text": ["warm"]}),
            "a pickle, which is never read since it can hold code",
            "Save its table as CSV.",
        ),
        (
            b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
            "a web page or XML",
            "Check the download, or save the table as CSV.",
        ),
        (
            b'[{"text": "warm", "label": "pos"}]',
            "JSON",
            "Rename it so that it ends in .json or .jsonl.",
        ),
    ],
)
def test_another_kind_of_file_is_named(
    tmp_path: Path, content: bytes, what: str, remedy: str
) -> None:
    path = tmp_path / "a.csv"
    assert refused(path, content) == f"Expected a .csv file, but {path} is {what}. {remedy}"


def test_a_file_that_is_packed_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    assert refused(path, gzip.compress(gzip.compress(CSV))) == (
        f"Expected a .csv file, but {path} is packed twice, the second time with gzip. Unpack it "
        "once."
    )


def test_a_pointer_of_git_lfs(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 123\n"
    assert refused(path, pointer) == (
        f"Expected a table, but {path} is only a pointer of Git LFS to the real file. Fetch that "
        "with `git lfs pull`, or download it from its page."
    )


@pytest.mark.parametrize(
    "content",
    [
        b"text,label\n<b>warm</b>,pos\n",
        b"\xef\xbb\xbftext,label\nwarm,pos\n",
        b"%,text\n1,warm\n",
    ],
)
def test_a_table_is_not_taken_for_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    assert len(read_columns(path, lambda names: names)) == 1
