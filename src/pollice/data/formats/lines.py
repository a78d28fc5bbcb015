"""Files -> text in lines, plain or compressed, in UTF-8 or as a person or a mark says.

Knows nothing about what stands in a line.
"""

import bz2
import codecs
import gzip
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from pollice.data.formats.encodings import (
    LIKELY,
    UTF8,
    check_mark,
    encoding_notes,
    known_encoding,
    spoken,
)
from pollice.data.formats.zipped import find_member, open_member
from pollice.errors import DataError

_OPENERS: Mapping[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda path: pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"),
    ".zip": open_member,
}
COMPRESSED_SUFFIXES = tuple(_OPENERS)
_BEGINNINGS = {
    ".gz": ("gzip", b"\x1f\x8b"),
    ".bz2": ("bzip2", b"BZh"),
    ".xz": ("xz", b"\xfd7zXZ\x00"),
    ".zst": ("zstd", b"\x28\xb5\x2f\xfd"),
}
LONGEST_LINE = 2**24
"""Characters of a line, or of a row of several lines: what is longer is no table."""
_CHUNK = 2**20
_UNPACKED = 2**26  # bytes that any compressed file may unpack to
_RATIO = 100  # and how many times its size a larger one may: text is packed to a tenth or so
_MARK = "\ufeff"
_MARKS = {  # of UTF-32 first: it begins as UTF-16 does
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: UTF8,
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


@dataclass(frozen=True, kw_only=True)
class Text:
    """The text of a file, which is read once from its beginning to its end."""

    path: Path
    head: str
    """The first mebibyte or so."""
    rest: Iterator[str]
    """What follows, in pieces."""
    notes: tuple[str, ...]
    """What was decided and a person should know, one sentence each."""

    @property
    def line_end(self) -> str:
        r"""The character that ends a line: ``"\n"``, or ``"\r"`` as on old Macs."""
        return _line_end(self.head)

    def lines(self) -> Iterator[str]:
        """Yield every line with its end.

        Raises:
            DataError: a line is too long, or cannot be decoded, with its number.
        """
        lines = _split_lines(self.path, chain([self.head], self.rest), self.line_end)
        # Files that were joined have the mark of each in the middle.
        return (line.removeprefix(_MARK) for line in lines)


def read_lines(path: Path, encoding: str | None = None) -> Iterator[str]:
    """Yield the lines of a file with their ends, without a byte order mark.

    Raises:
        DataError: the file cannot be opened or decoded, holds NUL bytes or a line without end.
        OptionError: there is no such encoding.
    """
    with open_text(path, encoding) as text:
        yield from text.lines()


def read_text(path: Path, encoding: str | None = None) -> str:
    """Return the text of a whole file, without a byte order mark.

    Raises:
        DataError: as `read_lines`, or the text is too long.
        OptionError: there is no such encoding.
    """
    lines: list[str] = []
    size = 0
    for line in read_lines(path, encoding):
        size += len(line)
        if size > LONGEST_LINE:
            raise DataError(
                f"Expected a text of at most {LONGEST_LINE:,} characters, but {path} is longer. "
                "Split it."
            )
        lines.append(line)
    return "".join(lines)


@contextmanager
def open_text(path: Path, encoding: str | None = None) -> Iterator[Text]:
    """Open a file for reading its text; without an encoding, it is UTF-8 or as its mark says.

    Raises:
        DataError: the file cannot be opened or decoded, or holds NUL bytes, with the line.
        OptionError: there is no such encoding.
    """
    given = None if encoding is None else known_encoding(encoding)
    with open_file(path) as file:
        pieces = _pieces(path, file)
        head = next(pieces, b"")
        mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
        found = _MARKS.get(mark)
        if (
            given is not None
            and found is not None
            and not found.startswith(given.removesuffix("-sig"))
        ):
            raise DataError(
                f"Expected {encoding}, but {path} begins with the mark of "
                f"{found.removesuffix('-le').removesuffix('-be').upper()}. "
                "Leave the encoding out."
            )
        used = found or given or UTF8
        check_mark(path, head, used)
        chunks = _decode(path, chain([head[len(mark) :]], pieces), used)
        yield Text(
            path=path,
            head=next(chunks, ""),
            rest=chunks,
            notes=encoding_notes(path, head, given, found),
        )


def _decode(path: Path, pieces: Iterable[bytes], encoding: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder(encoding)()
    end, lines, column = "", 0, 0
    for piece in chain(pieces, [None]):
        waiting = decoder.getstate()[0]
        try:
            text = decoder.decode(piece or b"", final=piece is None)
        except UnicodeError as error:
            raise _undecodable(path, error, encoding, lines, column - len(waiting), end) from error
        end = end or _line_end(text)
        if "\0" in text:
            number = lines + text[: text.index("\0")].count(end) + 1
            raise DataError(
                f"Expected text, but line {number} of {path} holds a NUL byte. "
                "Save it again as UTF-8 text."
            )
        lines += text.count(end)
        if piece:
            last = piece.rfind(end.encode("ascii"))
            column = column + len(piece) if last < 0 else len(piece) - last - 1
        if text:
            yield text


def _undecodable(
    path: Path, error: UnicodeError, encoding: str, lines: int, column: int, end: str
) -> DataError:
    """Return the error for bytes that cannot be decoded.

    ``lines`` were decoded before; the bytes at hand begin ``column`` bytes after the last's end.
    """
    known = isinstance(error, UnicodeDecodeError)
    found = f"line {lines + 1} of {path} is not"
    if isinstance(error, UnicodeDecodeError):
        good = error.object[: error.start]
        wrong = error.object[error.start]
        mark = (end or _line_end(good.decode(encoding, "replace"))).encode("ascii")
        line = lines + good.decode(encoding, "replace").count(mark.decode("ascii")) + 1
        start = column + len(good) if mark not in good else len(good) - good.rindex(mark) - 1
        place = f" at column {start + 1}" if encoding == UTF8 else ""
        found = f"line {line} of {path} holds the byte 0x{wrong:02x}{place}"
    if known and encoding == UTF8:
        remedy = f"Save it again as UTF-8, or name its encoding with --encoding, such as {LIKELY}."
    else:
        remedy = "Give another encoding, or save the file again as UTF-8."
    return DataError(f"Expected {spoken(encoding)}, but {found}. {remedy}")


def _line_end(head: str) -> str:
    """Return the end of the first line; CR alone only if it also ends most lines."""
    returns = head.count("\r") - head.count("\r\n")
    first = next((mark for mark in head if mark in "\r\n"), "\n") if returns else "\n"
    alone = first == "\r" and not head[head.index("\r") :].startswith("\r\n")
    return "\r" if alone and returns > head.count("\n") else "\n"


def _split_lines(path: Path, chunks: Iterable[str], end: str) -> Iterator[str]:
    number, size = 1, 0
    begun: list[str] = []
    for chunk in chunks:
        first, *others = chunk.split(end)
        begun.append(first)
        size += len(first)
        if size > LONGEST_LINE:
            raise _too_long(path, number)
        if others:
            yield "".join(begun) + end
            for line in others[:-1]:
                yield line + end
            begun, size = [others[-1]], len(others[-1])
            number += len(others)
    if last := "".join(begun):
        yield last


def _too_long(path: Path, number: int) -> DataError:
    """Return the error for a line that is no row of a table."""
    return DataError(
        f"Expected lines of at most {LONGEST_LINE:,} characters, but line {number:,} of {path} is "
        "longer. Check that the file is a table."
    )


def check_memory(path: Path, kept: int, free: int, number: int) -> None:
    """Refuse a file whose rows take more bytes than were free when its reading began.

    Args:
        path: The file.
        kept: The bytes that its rows take so far.
        free: The bytes that were free.
        number: The line that was read last.

    Raises:
        DataError: it does not fit.
    """
    if kept > free:
        raise DataError(
            f"Expected a table that fits into the {free / 2**30:,.1f} GiB of free memory, but "
            f"{path} needs more for its first {number:,} lines. Free some, or split the file."
        )


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading its bytes, unpacked.

    Raises:
        DataError: the path cannot be opened, or is no file; while reading, that the file is
            damaged, or unpacks to far more than text does.
    """
    check_is_file(path)
    try:
        return _open(path, path.stat())
    except OSError as error:
        raise _unreadable(path, error) from error


def check_is_file(path: Path) -> None:
    """Refuse what is no file, without opening it: a pipe would wait for someone to write into it.

    Raises:
        DataError: the path is no file, or cannot be looked at.
    """
    try:
        kind = _KINDS.get(stat.S_IFMT(path.stat().st_mode))
    except OSError as error:
        raise _unreadable(path, error) from error
    if kind is not None:
        raise DataError(
            f"Expected a file, but {path} is {kind}. Save what it gives as a file, and name that."
        )


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"Expected a file that can be read, but {path} cannot be opened ({error.strerror}). "
        "Check its name and its permissions."
    )


def _open(path: Path, state: os.stat_result) -> BinaryIO:
    # Nothing is unpacked yet: damage shows while reading, where `_Unpacked` explains it.
    opener = _OPENERS.get(path.suffix.lower())
    if opener is None:
        return path.open("rb")
    return cast(BinaryIO, BufferedReader(_Unpacked(path, opener(path), _limit(state)), _CHUNK))


class _Unpacked(RawIOBase):
    """What a compressed file holds, up to a limit of bytes."""

    def __init__(self, path: Path, packed: Any, limit: int) -> None:
        self._path = path
        self._packed = packed
        self._limit = limit
        self._left = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            content = self._packed.read(len(buffer))
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise broken_compression(self._path) from error
        self._left -= len(content)
        if self._left < 0:
            raise _unpacks_too_far(self._path, self._limit)
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._packed.close()
        super().close()


def _unpacks_too_far(path: Path, limit: int) -> DataError:
    return DataError(
        f"Expected a file that unpacks to {limit / 2**20:,.0f} MiB at most, as text of its size "
        f"does, but {path} is larger. Unpack it, and check what it holds."
    )


def check_unpacked(path: Path) -> None:
    """Unpack a compressed file once for nothing: that costs little beside reading its rows.

    Else a file of a few kilobytes is read for minutes before it is refused.

    Raises:
        DataError: it is damaged, or unpacks to far more than text does.
    """
    if path.suffix.lower() not in _OPENERS:
        return
    if path.suffix.lower() == ".zip":
        limit = _limit(path.stat())
        if find_member(path).file_size > limit:
            raise _unpacks_too_far(path, limit)
        return
    with open_file(path) as file:
        while file.read(_CHUNK):
            pass


def _limit(state: os.stat_result) -> int:
    """Return the bytes that a compressed file may unpack to."""
    return max(_UNPACKED, _RATIO * state.st_size)


def _pieces(path: Path, file: BinaryIO) -> Iterator[bytes]:
    try:
        while piece := file.read(_CHUNK):
            yield piece
    except OSError as error:
        raise DataError(
            f"Expected a file that can be read, but reading {path} failed ({error.strerror}). "
            "Copy it to another disk, or check this one."
        ) from error


def broken_compression(path: Path) -> DataError:
    """Return the error for a compressed file that cannot be unpacked."""
    program, mark = _BEGINNINGS.get(path.suffix.lower(), ("", b""))
    with path.open("rb") as file:
        is_packed = file.read(len(mark)) == mark
    if not is_packed:
        return DataError(
            f"Expected a {path.suffix} file, but {path} is not packed with {program}. Rename it "
            "to what it is."
        )
    return DataError(
        f"Expected a whole {path.suffix} file, but {path} is damaged or cut short. "
        "Copy or download it again."
    )
