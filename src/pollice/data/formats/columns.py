"""Columns of a file: what every format gives.

Knows nothing about formats, texts or labels.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import NoneType
from typing import Any
from uuid import UUID

from pollice.errors import DataError

Choose = Callable[[Sequence[str]], Sequence[str]]
"""Given the names of all columns, returns those to read."""


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """What a person knows of a text file; formats that are no text need none of it."""

    encoding: str | None = None
    """Of Python's names, such as ``"cp1252"``; None: UTF-8, or as the file's first bytes say."""
    column_names: tuple[str, ...] | None = None
    """The names of the columns of a CSV or TSV file whose first line is a row already."""


USUAL_TEXT = TextOptions()


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The chosen columns of a file, with the rows in file order."""

    path: Path
    values: dict[str, list[Any]]
    numbers: Sequence[int]
    """Where each row begins, counted from 1: its line, or its row where a file has no lines."""
    unit: str
    """What ``numbers`` counts: ``"line"`` or ``"row"``."""
    notes: tuple[str, ...] = ()
    """What was decided in reading and a person should know, one sentence each."""
    class_names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Of a column of codes, the name of each code, where the file says so."""

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
            if value is not None and not isinstance(value, PLAIN):
                raise DataError(
                    f"Expected text or a number in the column {name!r} of {self.path}, but "
                    f"{self.place(row)} holds {kind_of(value)}. Name another column."
                )
            strings.append(_string(value))
        return strings


_LONGEST_SHOWN = 100  # characters: questions of a survey are names too
PLAIN = (str, bool, int, float, Decimal, date, time, timedelta, UUID)
"""Values that can be written in a cell, dates and times as pandas writes them into CSV."""
_KINDS = {dict: "an object", list: "a list", bytes: "bytes", NoneType: "null", str: "a string"}
_KINDS |= {bool: "true or false", int: "a number", float: "a number", tuple: "a list"}


def kind_of(value: Any) -> str:
    """Return what a value is, in words for a person, such as ``"a list"``."""
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def _string(value: Any) -> str | None:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value.is_finite() else None
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


def find_column(names: Sequence[str], candidates: Sequence[str]) -> str | None:
    """Return the column with the first candidate name that exists; case is ignored."""
    for candidate in candidates:
        same = [name for name in names if name.casefold() == candidate.casefold()]
        if same:
            return candidate if candidate in same else same[0]
    return None


def shorten(name: str) -> str:
    """Return a column's name for a sentence: without the end of one that is very long."""
    return name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..."


def title_above(path: Path, place: str) -> DataError:
    """Return the error for a table with a title or notes above the names of its columns."""
    return DataError(
        f"Expected the names of the columns at the top of {path}, but they are on {place}. "
        "Delete what is above them."
    )


def empty_table(path: Path) -> DataError:
    """Return the error for a file without any row."""
    return DataError(f"Expected a table, but {path} is empty. Name a file with at least one row.")
