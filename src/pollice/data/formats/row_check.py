"""Whether rows fit their header, and the meaning of quotes with which they were read.

Knows nothing about texts or labels.
"""

from collections.abc import Sequence
from pathlib import Path

from pollice.data.formats.dialects import Dialect, Quotes, SwallowedRows
from pollice.data.formats.separated_rows import Row, WrongDialectError
from pollice.errors import DataError, counted


class MaybeWrongDialectError(WrongDialectError):
    """A row that another dialect may explain better; if none does, it is well."""


class RowCheck:
    """Refuses rows that contradict the header or the dialect; returns the cells of the others.

    Args:
        path: The file, for messages.
        header: Its first row.
        dialect: How its cells are written.
        swallowed: Finds quotes that take in rows.
        trusting: Whether quoted texts may have separators and several lines.
    """

    def __init__(
        self, path: Path, header: Row, dialect: Dialect, swallowed: SwallowedRows, *, trusting: bool
    ) -> None:
        self._path = path
        self._columns = len(header[1])
        self._header_line = header[0]
        self._bare = dialect.quotes is Quotes.BARE
        # A line with one cell alone may be a piece of a text of several lines.
        self._least = min(2, self._columns) if self._bare else 0
        self._swallowed = swallowed
        self._header_enclosed = any(len(n) > 1 and n[0] == n[-1] == '"' for n in header[1])
        self._trusting = trusting
        self._after_blanks = f'{dialect.separator} "'
        self._rows = self._enclosed = self._doubled = 0
        self._all_have_more = False

    def expect(self, rows: Sequence[Row]) -> None:
        """Look at the first rows, to explain what is wrong with one."""
        sizes = {len(cells) for _, cells, _ in rows if cells}
        self._all_have_more = len(rows) > 1 and len(sizes) == 1 and max(sizes) > self._columns

    def __call__(self, row: Row) -> list[str]:
        """Return the cells of a row.

        Raises:
            WrongDialectError: the row contradicts the header or the dialect.
        """
        number, cells, lines = row
        if len(cells) > self._columns and not any(map(str.strip, cells[self._columns :])):
            cells = cells[: self._columns]
        if len(cells) > self._columns or (len(cells) < self._least and any(map(str.strip, cells))):
            raise self._uneven(number, len(cells))
        if self._bare:
            self._count_quotes(cells)
        elif len(lines) > 1:
            self._check_lines(number, lines, len(cells))
        if self._after_blanks in lines[0]:
            self._check_blanks(number, cells)
        return cells

    def _check_blanks(self, number: int, cells: Sequence[str]) -> None:
        """Refuse a cell in quotes after a blank, as long as its quotes may enclose it."""
        texts = [cell.strip() for cell in cells if cell.startswith(" ")]
        if self._trusting or self._bare:
            return
        if any(len(text) > 1 and text[0] == text[-1] == '"' for text in texts):
            raise MaybeWrongDialectError(
                f"Expected no blank before the quotes on line {number} of {self._path}."
            )

    def _check_lines(self, number: int, lines: Sequence[str], cells: int) -> None:
        """Refuse a quoted text of several lines, if these look like rows."""
        if self._swallowed.among(lines):
            raise WrongDialectError(
                f"Expected a well quoted row, but the quote on line {number} of {self._path} "
                f"takes in {counted(len(lines) - 1, 'line')} more, which look like rows. Write a "
                "quote inside a quoted text twice, and quotes around the text."
            )
        if not self._trusting and self._swallowed.may_be_among(lines, cells):
            raise MaybeWrongDialectError(
                f"Expected no separator in the quoted text on line {number} of {self._path}."
            )

    def end(self) -> None:
        """Refuse quotes as characters of texts, where most of them enclose cells."""
        mostly = 2 * self._enclosed > self._rows
        if self._bare and (self._header_enclosed or mostly or self._doubled > 0):
            raise WrongDialectError(f"Expected no quotes around cells in {self._path}.")

    def _count_quotes(self, cells: Sequence[str]) -> None:
        """Count the rows with a cell in quotes, and how much more quotes are doubled than not."""
        quoted = [cell.strip() for cell in cells if '"' in cell]
        within = [cell[1:-1] for cell in quoted if len(cell) > 1 and cell[0] == cell[-1] == '"']
        self._rows += 1
        self._enclosed += bool(within)
        doubled = sum('""' in text and '"' not in text.replace('""', "") for text in within)
        plain = sum('"' not in text for text in within)
        self._doubled += doubled - (len(quoted) - doubled - plain)

    def _uneven(self, number: int, found: int) -> DataError:
        first = "the first line" if self._header_line == 1 else f"line {self._header_line}"
        remedy = "Put quotes around a text that holds the separator."
        if self._all_have_more:
            remedy = "Name every column there, since each row has as many."
        return WrongDialectError(
            f"Expected {self._columns} columns as in {first}, but line {number} of {self._path} "
            f"has {found}. {remedy}"
        )
