"""Rows of cells -> the chosen columns, and a count of everything that is not as it should be.

Knows nothing about how cells are written in a file.
"""

from array import array
from collections.abc import Sequence
from pathlib import Path
from sys import getsizeof

from pollice.data.formats.columns import Columns
from pollice.data.formats.lines import check_memory
from pollice.errors import counted
from pollice.system.measuring import free_bytes

_ROWS_A_CHECK = 4096
_BYTES_A_PLACE = 16  # in a column, and among the numbers of the rows


class KeptColumns:
    """The columns that were chosen, filled row by row.

    Args:
        path: The file, for messages.
        names: The names of all columns, each row's cells in their order.
        chosen: The names of those that are kept.
    """

    def __init__(self, path: Path, names: Sequence[str], chosen: Sequence[str]) -> None:
        self._path = path
        self._names = list(names)
        self._values: dict[str, list[str]] = {name: [] for name in chosen}
        self._wanted = [(names.index(name), self._values[name]) for name in chosen]
        self._numbers = array("q")
        self._free = free_bytes()
        self._kept = 0
        self._empty = array("q")
        self._blank_lines = 0
        self._trailing_blank_lines = 0
        self._short: list[int] = []
        self._headers = 0

    def add(self, number: int, cells: list[str]) -> None:
        """Keep a row of at most as many cells as there are columns; ``number`` is its line."""
        columns = len(self._names)
        if not cells or (columns > 1 and len(cells) == 1 and not cells[0].strip()):
            self._trailing_blank_lines += 1
            return
        if columns > 1 and not any(map(str.strip, cells)):
            self._empty.append(number)
            return
        if cells[0].strip() == self._names[0] and [c.strip() for c in cells] == self._names:
            self._headers += 1
            return
        if len(cells) < columns:
            self._short.append(number)
            cells = [*cells, *[""] * (columns - len(cells))]
        self._keep_empty_rows()
        self._keep(number, cells)

    def _keep_empty_rows(self) -> None:
        """Keep empty rows, and count blank lines, as soon as others follow."""
        self._blank_lines += self._trailing_blank_lines
        self._trailing_blank_lines = 0
        if self._empty:
            for number in self._empty:
                self._keep(number, [""] * len(self._names))
            self._empty = array("q")

    def _keep(self, number: int, cells: Sequence[str]) -> None:
        self._numbers.append(number)
        for position, column in self._wanted:
            column.append(cells[position])
        if not len(self._numbers) % _ROWS_A_CHECK:
            for column in self._values.values():
                self._kept += sum(map(getsizeof, column[-_ROWS_A_CHECK:]))
                self._kept += _ROWS_A_CHECK * _BYTES_A_PLACE
            check_memory(self._path, self._kept, self._free, number)

    def columns(self, notes: Sequence[str]) -> Columns:
        """Return the columns, with further notes before those on the rows."""
        return Columns(
            path=self._path,
            values={name: list(column) for name, column in self._values.items()},
            numbers=self._numbers,
            unit="line",
            notes=(*notes, *self._notes()),
        )

    def _notes(self) -> list[str]:
        notes = []
        name = self._path.name
        if self._short:
            notes.append(
                f"{name}: {counted(len(self._short), 'row')} had fewer cells than the header, "
                f"first on line {self._short[0]:,}; what was missing is taken as empty."
            )
        if self._empty:
            notes.append(f"{name}: {counted(len(self._empty), 'empty row')} at the end left out.")
        if self._blank_lines:
            notes.append(f"{name}: {counted(self._blank_lines, 'blank line')} left out.")
        if self._headers:
            notes.append(
                f"{name}: {counted(self._headers, 'further line')} with the names of the columns "
                "left out."
            )
        return notes
