"""Files -> lines of text, plain or compressed.

Knows nothing about what stands in a line.
"""

import bz2
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from pollice.data.formats.zipped import open_member
from pollice.errors import DataError

COMPRESSED_SUFFIXES = (".gz", ".bz2")
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file with line ends, without a byte order mark.

    Raises:
        DataError: the file cannot be opened, is not UTF-8 or holds NUL bytes, with the line.
    """
    with open_file(path) as file:
        for number, line in enumerate(_raw_lines(path, file), start=1):
            if number == 1:
                # Before the search for NUL, which UTF-16 is full of: the mark is the better reason.
                if line.startswith(_UTF16_MARKS):
                    raise DataError(
                        f"Expected UTF-8, but {path} begins with the mark of UTF-16. "
                        "Save it again as UTF-8."
                    )
                line = line.removeprefix(_UTF8_MARK)
            if b"\0" in line:
                raise DataError(
                    f"Expected text, but line {number} of {path} holds a NUL byte. "
                    "Save it again as UTF-8 text."
                )
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"Expected UTF-8, but line {number} of {path} holds the byte "
                    f"0x{line[error.start]:02x} at column {error.start + 1}. "
                    "Save the file again as UTF-8."
                ) from error


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading its bytes, unpacked.

    Raises:
        DataError: the file cannot be opened.
    """
    try:
        # Nothing is unpacked yet: damage shows while reading, where `_raw_lines` explains it.
        if path.suffix.lower() == ".gz":
            return cast(BinaryIO, gzip.open(path))
        if path.suffix.lower() == ".bz2":
            return cast(BinaryIO, bz2.open(path))
        if path.suffix.lower() == ".zip":
            return open_member(path)
        return path.open("rb")
    except OSError as error:
        raise DataError(
            f"Expected a file that can be read, but {path} cannot be opened ({error.strerror}). "
            "Check its name and its permissions."
        ) from error


def _raw_lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    try:
        yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise broken_compression(path) from error


def broken_compression(path: Path) -> DataError:
    """Return the error for a compressed file that cannot be unpacked."""
    return DataError(
        f"Expected a whole {path.suffix} file, but {path} is damaged or cut short. "
        "Copy or download it again."
    )
