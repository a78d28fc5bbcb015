"""Refuse a file whose content is not what its name says, by what it is: before it is read.

Knows nothing about texts or labels.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from pollice.data.formats import suffixes
from pollice.data.formats.lines import open_file
from pollice.errors import DataError

_LOOKED_AT = 4096
_PACKED: Mapping[bytes, str] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
}
_BINARY: Mapping[bytes, str] = {
    b"PK\x03\x04": "a zip file, or a spreadsheet or document that is packed as one",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Excel or Word file",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"%PDF": "a PDF",
    b"SQLite format 3": "an SQLite database",
    b"\x93NUMPY": "a NumPy array",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"{\\rtf": "a rich text document",
}
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x95K\]}(N\x8c]")
_PAGE = re.compile(rb"\s*(?:<!doctype html|<html|<\?xml)", re.IGNORECASE)
_JSON = re.compile(rb'\s*(?:\[\s*)?\{\s*"[^"\n]*"\s*:')
_POINTER = b"version https://git-lfs.github.com/spec/"
_TEXTS = (*suffixes.SEPARATED, *suffixes.JSON)


def check_content(path: Path, suffix: str) -> None:
    """Refuse a file that is not of the format in its name.

    Args:
        path: The file.
        suffix: The format, such as ``".csv"``, without the compression.

    Raises:
        DataError: it is of another kind, which the sentence names.
    """
    with open_file(path) as file:
        head = file.read(_LOOKED_AT).removeprefix(b"\xef\xbb\xbf")
    if head.startswith(_POINTER):
        raise DataError(
            f"Expected a table, but {path} is only a pointer of Git LFS to the real file. Fetch "
            "that with `git lfs pull`, or download it from its page."
        )
    if suffix not in _TEXTS:
        return
    found = _kind(path, head)
    if found is None and suffix in suffixes.SEPARATED and _JSON.match(head):
        found = ("JSON", "Rename it so that it ends in .json or .jsonl.")
    if found is not None:
        what, remedy = found
        raise DataError(f"Expected a {suffix} file, but {path} is {what}. {remedy}")


def _kind(path: Path, head: bytes) -> tuple[str, str] | None:
    """Return what a content is that is no text of a table, and what to do with it."""
    for mark, name in _PACKED.items():
        if head.startswith(mark):
            if path.suffix.lower() in suffixes.COMPRESSED:
                return f"packed twice, the second time with {name}", "Unpack it once."
            return f"packed with {name}", "Unpack it, or give its name the ending that says so."
    for mark, name in _BINARY.items():
        if head.startswith(mark):
            return name, "Save its table as CSV, or rename it to what it is."
    if _PICKLE.match(head):
        return "a pickle, which is never read since it can hold code", "Save its table as CSV."
    if _PAGE.match(head):
        return "a web page or XML", "Check the download, or save the table as CSV."
    return None
