"""Lines -> rows of cells, in one dialect, with the place of each.

Knows nothing about headers and columns.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from pollice.data.formats.dialects import Dialect, Quotes
from pollice.data.formats.lines import LONGEST_LINE
from pollice.errors import DataError

Row = tuple[int, list[str], list[str]]
"""The line on which a row begins, its cells, and the lines that it takes up."""

_ESCAPED = re.compile(r'\\(["\\])')
# Characters that Unicode leaves to programs' own use stand for those that csv.reader takes for
# the end of a row or of a cell, until the cells are apart.
_RETURN, _QUOTE, _NEW_LINE = "\ufdd0", "\ufdd1", "\ufdd2"
_RESTORED = {ord(_RETURN): "\r", ord(_QUOTE): '"', ord(_NEW_LINE): "\n"}


_MOST_LINES = 100_000


class WrongDialectError(DataError):
    """A row that contradicts the dialect: another one may be right."""


class SeparatedRows:
    """The rows of a file; a blank line is a row without cells.

    Args:
        path: The file, for messages.
        lines: Its lines with their ends.
        end: What ends a line; other line breaks belong to texts.
        first: The number of the first line.
        dialect: How cells are written.
    """

    def __init__(
        self, path: Path, lines: Iterator[str], *, end: str, first: int, dialect: Dialect
    ) -> None:
        self._path = path
        self._lines = lines
        self._end = end
        self._number = first
        self.dialect = dialect
        self._taken: list[str] = []
        self._altered = False

    def __iter__(self) -> Iterator[Row]:
        """Yield every row.

        Raises:
            WrongDialectError: a quote has no meaning where it stands, or is never closed.
            DataError: a row is too long, or its line cannot be read.
        """
        # Python's limit is 131,072 characters, which a long text exceeds. This holds process-wide.
        csv.field_size_limit(2 * LONGEST_LINE)
        try:
            for cells in self.dialect.read(self._prepared()):
                if self._altered:
                    cells = [cell.translate(_RESTORED) for cell in cells]
                    self._altered = False
                yield self._number, cells, self._taken
                # A quoted text may hold line breaks, so rows cannot be counted to find lines.
                self._number += len(self._taken)
                self._taken = []
        except csv.Error as error:
            raise WrongDialectError(
                f"Expected a well quoted row, but the one that begins on line {self._number} of "
                f"{self._path} is not ({error}). Write a quote inside a quoted text twice."
            ) from error

    def _prepared(self) -> Iterator[str]:
        """Yield the lines as csv.reader understands them, and keep those of the row at hand."""
        size = 0
        escaped = self.dialect.quotes is Quotes.ESCAPED
        for line in self._lines:
            size = size + len(line) if self._taken else len(line)
            self._taken.append(line)
            if size > LONGEST_LINE or len(self._taken) > _MOST_LINES:
                raise WrongDialectError(
                    f"Expected rows of at most {LONGEST_LINE:,} characters and {_MOST_LINES:,} "
                    f"lines, but the quoted text that begins on line {self._number} of "
                    f"{self._path} is longer. Write a quote inside a quoted text twice."
                )
            if self._end == "\n" and line.count("\r") > line.endswith("\r\n"):
                text = line.rstrip("\r\n")
                line = text.replace("\r", _RETURN) + line[len(text) :]
                self._altered = True
            elif self._end == "\r" and "\n" in line:
                line = line.replace("\n", _NEW_LINE)
                self._altered = True
            if escaped and "\\" in line:
                line = _ESCAPED.sub(lambda found: _QUOTE if found[1] == '"' else "\\", line)
                self._altered = True
            yield line
