"""Text files: encodings, marks and line ends, and every way in which bytes are no text."""

import codecs
import re
from pathlib import Path

import pytest

from pollice.data.formats.columns import TextOptions
from pollice.data.formats.lines import open_text, read_lines, read_text
from pollice.data.tables import read_columns
from pollice.errors import DataError, OptionError

OTHER_ENCODING = (
    "Save it again as UTF-8, or name its encoding with --encoding, such as cp1252 or latin-1 "
    "(Western), cp1251 (Cyrillic), gb18030 (Chinese), shift_jis (Japanese)."
)

TABLE = "text,label\ncaf\u00e9 \u20ac,pos\n"


def fails(path: Path, content: bytes, sentence: str, encoding: str | None = None) -> None:
    path.write_bytes(content)
    with pytest.raises((DataError, OptionError)) as raised:
        list(read_lines(path, encoding))
    assert str(raised.value) == sentence.format(path=path)


@pytest.mark.parametrize(
    ("content", "encoding", "notes"),
    [
        (TABLE.encode(), None, ()),
        (codecs.BOM_UTF8 + TABLE.encode(), None, ()),
        (codecs.BOM_UTF8 + TABLE.encode(), "utf8", ()),
        (TABLE.encode("utf-16"), None, ("a.csv: read as UTF-16, as its first bytes say.",)),
        (TABLE.encode("utf-32"), None, ("a.csv: read as UTF-32, as its first bytes say.",)),
        (codecs.BOM_UTF16_BE + TABLE.encode("utf-16-be"), "utf-16", ()),
        (TABLE.encode("utf-16-le"), "utf-16-le", ()),
        (TABLE.encode("cp1252"), "cp1252", ()),
        (
            TABLE.encode(),
            "cp1252",
            (
                "a.csv: read as cp1252, but it is valid UTF-8 too. If letters look wrong, leave "
                "the encoding out.",
            ),
        ),
    ],
)
def test_encodings(
    tmp_path: Path, content: bytes, encoding: str | None, notes: tuple[str, ...]
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    columns = read_columns(path, lambda names: names, TextOptions(encoding=encoding))
    wrong = content.decode("cp1252", "replace") if notes and encoding else TABLE
    assert columns.values["text"] == [wrong.splitlines()[1].partition(",")[0]]
    assert columns.notes == notes


@pytest.mark.parametrize("name", ["base64", "rot13", "idna", "punycode", "nope", "a\0b", "cp1253x"])
def test_what_is_no_encoding(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\n")
    sentence = f"Expected the name of an encoding, such as cp1252 or utf-16, but found {name!r}."
    with pytest.raises(OptionError, match=f"^{re.escape(sentence)}( Did you mean '.*'\\?)?$"):
        list(read_lines(path, name))


@pytest.mark.parametrize(
    ("content", "encoding", "sentence"),
    [
        (
            TABLE.encode("utf-16-le"),
            None,
            "Expected UTF-8, but {path} seems to be UTF-16 without a mark. Save it again as UTF-8, "
            "or give its encoding, as --encoding utf-16-le.",
        ),
        (
            TABLE.encode("utf-16-be"),
            "cp1252",
            "Expected cp1252, but {path} seems to be UTF-16 without a mark. Save it again as "
            "UTF-8, or give its encoding, as --encoding utf-16-be.",
        ),
        (
            codecs.BOM_UTF8 + b"text\n",
            "cp1252",
            "Expected cp1252, but {path} begins with the mark of UTF-8. Leave the encoding out.",
        ),
        (
            b"text\nab\x81\n",
            "cp1252",
            "Expected cp1252, but line 2 of {path} holds the byte 0x81. Give another encoding, or "
            "save the file again as UTF-8.",
        ),
        (
            codecs.BOM_UTF8 + b"caf\xe9\n",
            None,
            "Expected UTF-8, but line 1 of {path} holds the byte 0xe9 at column 4. "
            f"{OTHER_ENCODING}",
        ),
        (
            b"a\rb\rc\xe9\r",
            None,
            "Expected UTF-8, but line 3 of {path} holds the byte 0xe9 at column 2. "
            f"{OTHER_ENCODING}",
        ),
        (
            b"text\nab\xc3",
            None,
            "Expected UTF-8, but line 2 of {path} holds the byte 0xc3 at column 3. "
            f"{OTHER_ENCODING}",
        ),
        (
            TABLE.encode("utf-16")[:-1],
            None,
            "Expected UTF-16, but line 2 of {path} holds the byte 0x0a. Give another encoding, or "
            "save the file again as UTF-8.",
        ),
        (
            b"a\nb\nc\0\n",
            None,
            "Expected text, but line 3 of {path} holds a NUL byte. Save it again as UTF-8 text.",
        ),
    ],
)
def test_bytes_that_are_no_text(
    tmp_path: Path, content: bytes, encoding: str | None, sentence: str
) -> None:
    fails(tmp_path / "a.csv", content, sentence, encoding)


@pytest.mark.parametrize("letter", ["\u00e9", "\u20ac", "\U0001f600"])
def test_a_place_beyond_the_first_piece(tmp_path: Path, letter: str) -> None:
    """Files are read in pieces of a mebibyte, which may end within a letter or a line."""
    line = f"{letter * 99}x\n"
    good = line.encode() * (2**20 // len(line.encode()) + 20)
    path = tmp_path / "a.csv"
    fails(
        path,
        good + letter.encode() + b"\xff\n",
        f"Expected UTF-8, but line {good.count(10) + 1} of {{path}} holds the byte 0xff at column "
        f"{len(letter.encode()) + 1}. {OTHER_ENCODING}",
    )
    path.write_bytes(good)
    assert list(read_lines(path)) == [line] * good.count(10)


def test_lines_keep_their_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content in ["a\r\nb\rc\n\nd", "a\rb\r\rc", "", "\n", "a\u2028b\x85c\n"]:
        path.write_bytes(content.encode())
        assert "".join(read_lines(path)) == content == read_text(path)
    path.write_bytes(b"a\rb\nc\rd\r")
    assert list(read_lines(path)) == ["a\r", "b\nc\r", "d\r"]


def test_a_file_is_closed(tmp_path: Path) -> None:
    """ResourceWarning would be an error here."""
    path = tmp_path / "a.txt"
    path.write_text("a\nb\n")
    with open_text(path) as text:
        assert next(text.lines()) == "a\n"
