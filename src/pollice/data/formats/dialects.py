"""How a file with separators was written: its separator, its quotes, its header, by evidence.

Knows nothing about files, texts or labels.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from io import StringIO

from pollice.errors import DataError

NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""The separators that are looked for, as people call them."""
UNQUOTED = "\t|"
"""The separators that texts have seldom, so that many tools write them without quotes."""
NOTHING = "\x1f"
"""The separator of a file that has none: every line is one cell."""

_SAMPLE_ROWS = 200
_SHORT = 50  # characters of a cell that may be a label
_LONGEST_NAME = 100  # characters of a column's name; questions of a survey are names too
_SAID_BY_EXCEL = re.compile(r'"?sep=(.)"?[\t,;|]*\s*', re.IGNORECASE)
_AROUND_NAMES = " \t\r\n\xa0\ufeff" + "".join(
    map(chr, [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
)
"""Blanks, the byte order mark, and marks of the direction of writing."""
_SURVEYMONKEY = {"Response", "Open-Ended Response"}


class Quotes(Enum):
    """What a quote means; in the order in which they are tried."""

    DOUBLED = "doubled"
    """It begins and ends a cell, and stands twice within: RFC 4180."""
    AFTER_BLANKS = "after blanks"
    r"""The same, also after blanks: ``pos, "good, really"``."""
    ESCAPED = "escaped"
    r"""It begins and ends a cell, and is ``\"`` within."""
    BARE = "bare"
    """It is a character like others: only with separators that are `UNQUOTED`."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """The separator of cells, and what quotes mean."""

    separator: str
    quotes: Quotes = Quotes.DOUBLED

    def read(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Yield the cells of each row; an empty list for a blank line.

        Raises:
            csv.Error: a quote stands where it has no meaning, or is never closed.
        """
        if self.quotes is Quotes.BARE:
            return csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE)
        # strict: without it, a quote left open would take in the rest of the file as one text.
        return csv.reader(
            lines,
            delimiter=self.separator,
            skipinitialspace=self.quotes is Quotes.AFTER_BLANKS,
            strict=True,
        )


def said_separator(line: str) -> str | None:
    """Return the separator that Excel's first line ``sep=;`` names; None for any other line."""
    found = _SAID_BY_EXCEL.fullmatch(line[:_SHORT])
    return found[1] if found else None


def find_separator(sample: str, usual: str) -> str:
    """Return the separator that gives the first rows the most even number of cells.

    Spreadsheets write semicolons in many countries. One that only the header has, or only texts,
    is none. `NOTHING`: the header has no separator, and texts have theirs as prose has.
    """
    candidates = [usual, *(mark for mark in NAMES if mark != usual)]
    fits = {
        mark: max(_fit(sample, mark, quotes) for quotes in _read_with(mark)) for mark in candidates
    }
    best = max(candidates, key=fits.__getitem__)  # the first of several
    if fits[best] > (-1.0, 0):
        return best
    return NOTHING if _is_prose(sample, usual) else usual


def _read_with(separator: str) -> list[Quotes]:
    return [quotes for quotes in Quotes if quotes is not Quotes.BARE or separator in UNQUOTED]


def _fit(sample: str, separator: str, quotes: Quotes) -> tuple[float, int]:
    """Return the share of rows with as many cells as the header, and how many these are.

    -1 for a header of one cell; 0 cells where no row fits.
    """
    sizes = [len(cells) for cells in _first_rows(sample, separator, quotes) if cells]
    if not sizes or sizes[0] < 2:
        return -1.0, 0
    columns, rows = sizes[0], sizes[1:]
    # A row that lacks its last cells is half a proof.
    proofs = sum((size == columns) + 0.5 * (1 < size < columns) for size in rows)
    return (proofs / len(rows), columns) if proofs else (0.0, 0)


def _first_rows(sample: str, separator: str, quotes: Quotes) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for cells in Dialect(separator=separator, quotes=quotes).read(StringIO(sample, newline="")):
            rows.append(cells)
            if len(rows) > _SAMPLE_ROWS:
                break
    except csv.Error:  # explained where the rows are read
        pass
    return rows


def _is_prose(sample: str, separator: str) -> bool:
    """Tell whether separators stand where prose has them: before blanks, now more, now fewer."""
    sizes = {len(cells) for cells in _first_rows(sample, separator, Quotes.DOUBLED)[1:] if cells}
    marks = sample.count(separator)
    return len(sizes) > 1 or (sizes != {1} and 2 * sample.count(f"{separator} ") > marks)


class SwallowedRows:
    """Finds quotes that take in whole rows: those were no quotes, but characters of a text."""

    def __init__(self, sample: Sequence[str], separator: str, columns: int) -> None:
        self._separator = separator
        self._columns = columns
        plain = (self._cells(line) for line in sample if '"' not in line)
        known = [cells for cells in plain if len(cells) == columns][:_SAMPLE_ROWS]
        # The labels, as a rule: what stands in its column in other rows too.
        self._known = [
            {cell for cell in column if 0 < len(cell) <= _SHORT}
            for column in zip(*known, strict=True)
        ] or [set() for _ in range(columns)]

    def among(self, lines: Sequence[str]) -> bool:
        """Tell whether each of the lines of one row looks like a row of its own.

        Each has as many cells as the header, and one of the columns holds on every line what it
        holds in other rows; tabs need no such proof, since prose has none.
        """
        rows = []
        for line in lines:
            rows.append(self._cells(line))
            if len(rows[-1]) != self._columns or self._columns < 2:
                return False
        if self._separator == "\t":
            return True
        columns = zip(*rows, strict=True)
        return any(
            known.issuperset(cells) for known, cells in zip(self._known, columns, strict=True)
        )

    def may_be_among(self, lines: Sequence[str], cells: int) -> bool:
        """Tell whether the lines of one row have tabs, or bars, within one of its cells.

        Rows that lack their last cells look so, but a quoted text with tabs may, too.
        """
        if self._separator not in UNQUOTED:
            return False
        return sum(line.count(self._separator) for line in lines) >= cells

    def _cells(self, line: str) -> list[str]:
        return [cell.strip() for cell in line.rstrip("\r\n").split(self._separator)]


def survey_rows(rows: Sequence[Sequence[str]]) -> int:
    """Return how many of the rows below the header are headers too, as survey tools write them.

    Qualtrics: the questions, then ``{"ImportId": ...}`` in each cell. SurveyMonkey: the word
    Response or Open-Ended Response.
    """
    for number, cells in enumerate(rows[:2], start=1):
        filled = [cell.strip() for cell in cells if cell.strip()]
        if filled and all(map(_is_import_id, filled)):
            return number
    first = {cell.strip() for cell in rows[0]} - {""} if rows else set()
    # Beside them stand the choices of other questions, such as "Other (please specify)".
    asked = first & _SURVEYMONKEY
    return int(bool(asked) and (first <= _SURVEYMONKEY or not rows[0][0].strip()))


def name_of(cell: str) -> str:
    """Return a column's name without the blanks and the invisible marks around it."""
    return cell.strip(_AROUND_NAMES)


def names_below(
    choose: Callable[[Sequence[str]], object], rows: Iterable[tuple[int, Sequence[str]]]
) -> int | None:
    """Return the number of the first row that has the names which the first line lacks.

    Reports have a title above the names. None: no row has them.

    Args:
        choose: Given names, refuses those that lack a needed one.
        rows: The rows below the first line, each with its number.
    """
    for number, cells in rows:
        with suppress(DataError):
            choose([name_of(cell) for cell in cells])
            return number
    return None


def _is_import_id(cell: str) -> bool:
    try:
        return cell.startswith("{") and "ImportId" in json.loads(cell)
    except (ValueError, RecursionError):
        return False


def looks_like_row(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether a first line is a row already, and no line of names.

    It is, if it holds a long text or a number, a cell that stands below it too, or several words
    of which a long one does.
    """
    if any(len(name) > _LONGEST_NAME or _is_number(name) for name in header):
        return True
    for name, *cells in zip(header, *(row for row in rows if len(row) == len(header)), strict=True):
        counts = Counter(cell.strip() for cell in cells)
        if name and counts[name]:
            return True
        long_words = {word.lower() for word in re.findall(r"\w{4,}", name)}
        below = {word.lower() for cell in cells for word in re.findall(r"\w{4,}", cell)}
        if len(name.split()) > 1 and long_words & below:
            return True
    return False


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
