"""CSV and TSV -> columns.

Knows nothing about texts or labels.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pollice.data.formats.columns import Choose, Columns, TextOptions, empty_table
from pollice.data.formats.lines import read_lines
from pollice.errors import DataError, counted

_LONGEST_FIELD = 2**31 - 1


def read_separated(path: Path, choose: Choose, text: TextOptions, usual: str) -> Columns:
    """Read columns between separators; ``usual`` is the separator of the file's ending.

    Raises:
        DataError: the file is empty, or a row is not as the first line says.
    """
    delimiter = _separator(path, usual)
    # Python's limit is 131,072 characters, which a long text exceeds. This holds process-wide.
    csv.field_size_limit(_LONGEST_FIELD)
    rows = _separated_rows(path, delimiter)
    _, header = next(rows, (0, None))
    if header is None:
        raise empty_table(path)
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
