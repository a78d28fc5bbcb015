"""File formats -> columns of values: CSV, TSV, JSON Lines and Parquet, plain or compressed.

Knows nothing about texts, labels or data sets.
"""

import bz2
import csv
import gzip
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pollice.errors import DataError, counted

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_COMPRESSED_SUFFIXES = (".gz", ".bz2")
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LONGEST_FIELD = 2**31 - 1
_BYTES_A_VALUE = 64  # what the shortest string costs in Python, with its place in a list
Choose = Callable[[Sequence[str]], Sequence[str]]
"""Given the names of all columns, returns those to read."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The chosen columns of a file, with the rows in file order."""

    path: Path
    values: dict[str, list[Any]]
    numbers: Sequence[int]
    """Where each row begins, counted from 1: its line, or its row where a file has no lines."""
    unit: str
    """What ``numbers`` counts: ``"line"`` or ``"row"``."""

    def __len__(self) -> int:
        return len(self.numbers)

    def place(self, row: int) -> str:
        """Return the place of a row, such as ``"line 7"``."""
        return f"{self.unit} {self.numbers[row]}"

    def strings(self, name: str) -> list[str | None]:
        """Return a column as stripped strings; None for empty values and NaN.

        Raises:
            DataError: a value is neither a string, a number nor a truth value.
        """
        strings = []
        for row, value in enumerate(self.values[name]):
            if not isinstance(value, str | bool | int | float | None):
                raise DataError(
                    f"Expected text or a number in the column {name!r} of {self.path}, but "
                    f"{self.place(row)} holds a {type(value).__name__}. Name another column."
                )
            strings.append(_string(value))
        return strings


def _string(value: str | float | None) -> str | None:
    if isinstance(value, float):
        if math.isnan(value):
            return None
        # Whole numbers may be stored as floats, as in a column with gaps: 1.0 must be the label 1.
        value = int(value) if value.is_integer() else value
    elif isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, str) and not value.isascii():
        # JSON can hold half a surrogate pair, which no tokenizer and no file takes
        value = value.encode("utf-8", "replace").decode("utf-8")
    return None if value is None else str(value).strip() or None


def table_suffix(path: Path) -> str:
    """Return the format in a file's name, such as ``".csv"``, without the compression."""
    name = path.name.lower()
    for suffix in _COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    return Path(name).suffix


def read_columns(path: Path, choose: Choose) -> Columns:
    """Read the columns that ``choose`` picks.

    Raises:
        DataError: the file is empty, damaged, of an unknown format or not in UTF-8, with the line.
    """
    suffix = table_suffix(path)
    if suffix not in TABLE_SUFFIXES:
        raise DataError(
            f"Expected a file that ends in {', '.join(TABLE_SUFFIXES)}, alone or with .gz or .bz2, "
            f"but found {path}. Convert it or rename it to what it is."
        )
    if suffix == ".parquet":
        columns = _read_parquet(path, choose)
    elif suffix in (".csv", ".tsv"):
        columns = _read_separated(path, choose, _separator(path, "," if suffix == ".csv" else "\t"))
    else:
        columns = _read_json_lines(path, choose)
    if not len(columns):
        raise DataError(
            f"Expected rows below the names of the columns, but {path} has none. "
            "Name a file with at least one row."
        )
    return columns


def find_column(names: Sequence[str], candidates: Sequence[str]) -> str | None:
    """Return the column with the first candidate name that exists; case is ignored."""
    for candidate in candidates:
        same = [name for name in names if name.casefold() == candidate.casefold()]
        if same:
            return candidate if candidate in same else same[0]
    return None


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file with line ends, without a byte order mark.

    Raises:
        DataError: the file cannot be opened, is not UTF-8 or holds NUL bytes, with the line.
    """
    with _open(path) as file:
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


def _open(path: Path) -> BinaryIO:
    try:
        # Nothing is unpacked yet: damage shows while reading, where `_raw_lines` explains it.
        if path.suffix.lower() == ".gz":
            return cast(BinaryIO, gzip.open(path))
        if path.suffix.lower() == ".bz2":
            return cast(BinaryIO, bz2.open(path))
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
        raise _broken_compression(path) from error


def _broken_compression(path: Path) -> DataError:
    return DataError(
        f"Expected a whole {path.suffix} file, but {path} is damaged or cut short. "
        "Copy or download it again."
    )


def _read_separated(path: Path, choose: Choose, delimiter: str) -> Columns:
    # Python's limit is 131,072 characters, which a long text exceeds. This holds process-wide.
    csv.field_size_limit(_LONGEST_FIELD)
    rows = _separated_rows(path, delimiter)
    _, header = next(rows, (0, None))
    if header is None:
        raise _empty(path)
    names = [name.strip() for name in header]
    chosen = choose(names)
    wanted = [(names.index(name), name) for name in chosen]
    values: dict[str, list[Any]] = {name: [] for name in chosen}
    numbers = []
    for number, row in rows:
        if len(row) != len(names):
            raise DataError(
                f"Expected {counted(len(names), 'column')} as in the first line, but line "
                f"{number} of {path} has {len(row)}. Put quotes around a text that holds the "
                "separator."
            )
        numbers.append(number)
        for position, name in wanted:
            values[name].append(row[position])
    return Columns(path=path, values=values, numbers=numbers, unit="line")


def _separator(path: Path, usual: str) -> str:
    """Return the column separator: in many countries spreadsheets write semicolons."""
    header = next(iter(read_lines(path)), "")
    return next((mark for mark in (usual, *";\t|,") if mark in header), usual)


def _separated_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row's first line, and its fields; skip blank lines."""
    # strict: without it, a quote left open would take in the rest of the file as one text.
    reader = csv.reader(read_lines(path), delimiter=delimiter, strict=True)
    number = 1
    try:
        for row in reader:
            if row:
                yield number, row
            # A quoted text may hold line breaks, so rows cannot be counted to find their lines.
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"Expected a well quoted row, but the one that begins on line {number} of {path} "
            f"is not ({error}). Write a quote inside a quoted text twice."
        ) from error


def _read_json_lines(path: Path, choose: Choose) -> Columns:
    records: list[dict[str, Any]] = []
    numbers = []
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            records.append(_json_object(path, number, line))
            numbers.append(number)
    if not records:
        raise _empty(path)
    chosen = choose(list(dict.fromkeys(name for record in records for name in record)))
    values = {name: [record.get(name) for record in records] for name in chosen}
    return Columns(path=path, values=values, numbers=numbers, unit="line")


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"Expected one JSON object a line, but line {number} of {path} is not JSON. "
            'Write each row as one line, such as {"text": ..., "label": ...}.'
        ) from error
    if not isinstance(record, dict):
        raise DataError(
            f"Expected one JSON object a line, but line {number} of {path} holds a "
            f"{type(record).__name__}. "
            'Write each row as one line, such as {"text": ..., "label": ...}.'
        )
    return record


def _empty(path: Path) -> DataError:
    return DataError(f"Expected a table, but {path} is empty. Name a file with at least one row.")


def _read_parquet(path: Path, choose: Choose) -> Columns:
    with _open(path) as file:
        try:
            # Parquet is read from its end, so a compressed one must be unpacked whole.
            source = file if path.suffix.lower() == ".parquet" else pa.BufferReader(file.read())
        except (OSError, EOFError, zlib.error) as error:
            raise _broken_compression(path) from error
        try:
            parquet = pq.ParquetFile(source)
            chosen = choose(parquet.schema_arrow.names)
            _check_fits(path, parquet.metadata, chosen)
            table = parquet.read(columns=list(chosen))
        except (OSError, pa.ArrowException) as error:
            raise _broken_parquet(path, type(error).__name__) from error
    if table.num_rows != parquet.metadata.num_rows:
        raise _broken_parquet(
            path, f"{counted(table.num_rows, 'row')} of {parquet.metadata.num_rows:,}"
        )
    values = {name: _parquet_values(path, name, table.column(name)) for name in chosen}
    return Columns(path=path, values=values, numbers=range(1, table.num_rows + 1), unit="row")


def _broken_parquet(path: Path, found: str) -> DataError:
    return DataError(
        f"Expected a whole Parquet file, but {path} cannot be read as one ({found}). "
        "Copy or download it again."
    )


def _check_fits(path: Path, metadata: Any, chosen: Sequence[str]) -> None:
    """Refuse a footer that claims too much, before memory is allocated."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    parts = [group.column(column) for group in groups for column in range(group.num_columns)]
    stored = sum(
        part.total_uncompressed_size
        for part in parts
        # A nested column is stored as a.b.c. A name that itself has a dot is not counted, so
        # the check may be too mild, but it refuses no good file for that.
        if part.path_in_schema.partition(".")[0] in chosen
    )
    needed = stored + metadata.num_rows * len(chosen) * _BYTES_A_VALUE
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        raise DataError(
            f"Expected a table that fits into the {memory / 2**30:,.1f} GiB of this machine, but "
            f"{path} promises {metadata.num_rows:,} rows and needs {needed / 2**30:,.1f} GiB. "
            "Check the file, or split it."
        )


def _parquet_values(path: Path, name: str, column: Any) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError as error:
        raise DataError(
            f"Expected UTF-8 in the column {name!r} of {path}, but found the byte "
            f"0x{error.object[error.start]:02x}. Write the file again with UTF-8 strings."
        ) from error
    return values
