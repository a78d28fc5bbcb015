"""A table that is read again and again in batches of rows, all columns kept: what formats give.

Knows nothing about formats, and nothing about what a column means.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pollice.data.formats.columns import PLAIN, Columns

_MOST_VALUES = 10_000


@dataclass(frozen=True, kw_only=True)
class TableBatch:
    """Rows that follow each other; every column is a list, or an array of Arrow."""

    columns: Mapping[str, Any]
    problems: Mapping[int, str] = field(default_factory=dict)
    """Of each row that could not be read as the others are, by its number here, what is wrong."""


@dataclass(frozen=True, kw_only=True)
class StreamedTable:
    """What is known of a table before its rows are read."""

    path: Path
    names: tuple[str, ...]
    """The names of all columns, each of them once."""
    rows: int
    counts: Mapping[str, int] | None
    """How often each value stands in the columns that were counted; None: too many values."""
    read: Callable[[int], Iterator[TableBatch]]
    """Given the rows of a batch, reads the table from its beginning."""
    notes: tuple[str, ...] = ()
    class_names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    schema: Any = None
    """The types of the columns, as an Arrow schema, where the format has types."""


class ValueCounts:
    """Counts values, as long as they are few: a column of labels, and not one of texts."""

    def __init__(self) -> None:
        self._counts: Counter[str] | None = Counter()

    def add(self, path: Path, values: Sequence[Any]) -> None:
        """Count the values of some rows."""
        if self._counts is None:
            return
        self._counts.update(value for value in strings_of(path, values) if value is not None)
        if len(self._counts) > _MOST_VALUES:
            self._counts = None

    @property
    def found(self) -> Mapping[str, int] | None:
        """How often each value stands there; None if there are too many to be labels."""
        return self._counts


def strings_of(path: Path, values: Sequence[Any]) -> list[str | None]:
    """Return values as strings, as `Columns.strings` does; None for objects and bytes.

    A list of plain values is written as in JSON, as a list of labels is.
    """
    plain = [_plain(value) for value in values]
    return Columns(
        path=path, values={"": plain}, numbers=range(1, len(plain) + 1), unit="row"
    ).strings("")


def _plain(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return json.dumps([str(item) for item in value], ensure_ascii=False)
    return value if isinstance(value, PLAIN) else None


def different_names(names: Sequence[str]) -> list[str]:
    """Return a name for every column: one without gets its place, one of a name twice a number."""
    found: dict[str, None] = {}  # ordered, and fast where columns are many
    for place, name in enumerate(names, start=1):
        unique = name or f"column {place}"
        number = 2
        while unique in found:
            unique = f"{name or f'column {place}'} {number}"
            number += 1
        found[unique] = None
    return list(found)
