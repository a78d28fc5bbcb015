"""CSV and TSV -> columns.

Knows nothing about texts or labels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from pollice.data.formats.columns import Choose, Columns, TextOptions, empty_table, title_above
from pollice.data.formats.dialects import (
    NAMES,
    NOTHING,
    UNQUOTED,
    Dialect,
    Quotes,
    SwallowedRows,
    find_separator,
    looks_like_row,
    name_of,
    names_below,
    said_separator,
    survey_rows,
)
from pollice.data.formats.kept_columns import KeptColumns
from pollice.data.formats.lines import Text, open_text
from pollice.data.formats.row_check import MaybeWrongDialectError, RowCheck
from pollice.data.formats.separated_rows import Row, SeparatedRows, WrongDialectError
from pollice.data.formats.streamed import (
    StreamedTable,
    TableBatch,
    ValueCounts,
    different_names,
)
from pollice.errors import DataError, counted

T = TypeVar("T")

_SURVEYED_AT_ONCE = 1024
_AHEAD = 20  # rows that are looked at before columns are chosen
_SHOWN_CELLS = 4
_SHOWN_CHARACTERS = 40


def read_separated(path: Path, choose: Choose, text: TextOptions, usual: str) -> Columns:
    """Read columns between separators; ``usual`` is the separator of the file's ending.

    What quotes mean is tried: first what RFC 4180 says. If a row contradicts that, each other
    meaning is tried, which must then fit every row.

    Raises:
        DataError: the file is empty, has no header, or a row is not as the first line says.
    """

    def attempt(quotes: Quotes, trusting: bool) -> _Attempt:
        return _Attempt(choose=choose, options=text, usual=usual, quotes=quotes, trusting=trusting)

    def read(tried: _Attempt) -> Columns:
        with open_text(path, text.encoding) as opened:
            return tried.read(opened)

    return _first_that_fits(attempt, read)[1]


def _first_that_fits(
    attempt: Callable[[Quotes, bool], "_Attempt"], read: Callable[["_Attempt"], T]
) -> tuple["_Attempt", T]:
    """Return the first attempt that reads every row, and what it read."""
    first: DataError | None = None
    for quotes in Quotes:
        tried = attempt(quotes, False)
        try:
            return tried, read(tried)
        except WrongDialectError as error:
            first = first or error
        except DataError:
            if first is None:
                raise
    if isinstance(first, MaybeWrongDialectError):
        tried = attempt(Quotes.DOUBLED, True)
        return tried, read(tried)
    raise DataError(str(first)) from first


def stream_separated(path: Path, choose: Choose, text: TextOptions, usual: str) -> StreamedTable:
    """Read a file once to know how it is written, so that it can be read again row by row.

    A row that no meaning of quotes explains is a bad one. ``choose`` picks the columns whose
    values are counted.

    Raises:
        DataError: the file is empty, has no header, or cannot be decoded.
    """
    counted_columns: list[str] = []
    given = choose

    def note_and_choose(names: Sequence[str]) -> Sequence[str]:
        counted_columns[:] = given(names)
        return counted_columns

    def attempt(quotes: Quotes, trusting: bool, lenient: bool = False) -> _Attempt:
        return _Attempt(
            choose=note_and_choose,
            options=text,
            usual=usual,
            quotes=quotes,
            trusting=trusting,
            lenient=lenient,
            every=True,
        )

    def survey(tried: _Attempt) -> StreamedTable:
        counts = ValueCounts()
        with open_text(path, text.encoding) as opened:
            kept, notes, added = tried.begin(opened)
            rows = 0
            for values, _ in _drained(kept, added, _SURVEYED_AT_ONCE):
                rows += len(next(iter(values.values())))
                for name in counted_columns:
                    counts.add(path, values[name])
        return StreamedTable(
            path=path,
            names=tuple(kept.names),
            rows=rows,
            counts=counts.found,
            notes=(*notes, *kept.notes()),
            read=partial(_batches, path, tried),
        )

    try:
        return _first_that_fits(attempt, survey)[1]
    except DataError as error:
        if not isinstance(error.__cause__, WrongDialectError):
            raise
        return survey(attempt(Quotes.DOUBLED, True, lenient=True))


def _batches(path: Path, attempt: "_Attempt", rows: int) -> Iterator[TableBatch]:
    with open_text(path, attempt.options.encoding) as opened:
        kept, _, added = attempt.begin(opened)
        for values, problems in _drained(kept, added, rows):
            yield TableBatch(columns=values, problems=problems)


def _drained(
    kept: KeptColumns, added: Iterator[int], rows: int
) -> Iterator[tuple[dict[str, list[str]], dict[int, str]]]:
    for _ in added:
        while len(kept) >= rows:
            # Empty rows are kept late and many at once, so a batch may be larger.
            yield kept.drain()
    if len(kept):
        yield kept.drain()


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """How to read a file, with one meaning of quotes."""

    choose: Choose
    options: TextOptions
    usual: str
    quotes: Quotes
    trusting: bool
    """Whether quoted texts may have separators and several lines."""

    lenient: bool = False
    """Whether a row that contradicts the header or the quotes is kept as a bad one."""
    every: bool = False
    """Whether all columns are kept, of which several may have one name, not the chosen alone."""

    def read(self, text: Text) -> Columns:
        """Read a file.

        Raises:
            WrongDialectError: a row contradicts the meaning of quotes.
            DataError: the file cannot be read in any way.
        """
        kept, notes, added = self.begin(text)
        for _ in added:
            pass
        return kept.columns(notes)

    def begin(self, text: Text) -> tuple[KeptColumns, list[str], Iterator[int]]:
        """Read a file's first rows; the iterator adds a row to those kept with each step.

        Raises:
            WrongDialectError: a row contradicts the meaning of quotes.
            DataError: the file cannot be read in any way.
        """
        lines, sample, first = text.lines(), text.head, 1
        said = said_separator(sample.partition(text.line_end)[0])
        if said is not None:
            sample = sample[len(next(lines)) :]
            first = 2
        separator = said or find_separator(sample, self.usual)
        dialect = Dialect(separator=separator, quotes=self.quotes)
        if self.quotes is Quotes.BARE and separator not in UNQUOTED:
            raise WrongDialectError(f"Expected quotes that enclose texts in {text.path}.")
        rows = SeparatedRows(
            text.path,
            lines,
            end=text.line_end,
            first=first,
            dialect=dialect,
            lenient=self.lenient,
        )
        notes = [*text.notes, *_dialect_notes(text.path, dialect, self.usual)]
        return self._begin(text, rows, sample.split(text.line_end), notes)

    def _begin(
        self, text: Text, separated: SeparatedRows, sample: Sequence[str], notes: list[str]
    ) -> tuple[KeptColumns, list[str], Iterator[int]]:
        rows = iter(separated)
        header = next((row for row in rows if any(map(str.strip, row[1]))), None)
        if header is None:
            raise empty_table(text.path)
        names = [name_of(name) for name in header[1]]
        if self.options.column_names is not None:
            names = _given_names(text.path, self.options.column_names, header[1])
            rows = chain([header], rows)
        ahead = list(islice(rows, _AHEAD))
        chosen = self._chosen(text.path, names, ahead)
        skipped = survey_rows([cells for _, cells, _ in ahead])
        if skipped and self.options.column_names is None:
            ahead = ahead[skipped:]
            notes.append(
                f"{text.path.name}: {counted(skipped, 'line')} below the first left out, which a "
                "survey tool wrote as further headers."
            )
        swallowed = SwallowedRows(sample, separated.dialect.separator, len(names))
        check = RowCheck(text.path, header, separated.dialect, swallowed, trusting=self.trusting)
        check.expect(ahead)
        if self.every:
            names = chosen = different_names(names)
        kept = KeptColumns(text.path, names, chosen)
        return kept, notes, self._add(kept, chain(ahead, rows), check, separated)

    def _add(
        self, kept: KeptColumns, rows: Iterator[Row], check: RowCheck, separated: SeparatedRows
    ) -> Iterator[int]:
        for row in rows:
            try:
                if row[0] in separated.bad_lines:
                    kept.add_bad(row[0], row[1], f"bad quotes on line {row[0]}")
                else:
                    kept.add(row[0], check(row))
            except WrongDialectError:
                if not self.lenient:
                    raise
                columns = kept.width
                mark = separated.dialect.separator
                cells = [*row[1][: columns - 1], mark.join(row[1][columns - 1 :])]
                kept.add_bad(row[0], cells, f"{len(row[1])} cells on line {row[0]}")
            yield row[0]
        if not self.lenient:
            check.end()

    def _chosen(self, path: Path, names: Sequence[str], ahead: Sequence[Row]) -> Sequence[str]:
        """Return the chosen columns; say so if the names are a row already, or come twice."""
        rows = [cells for _, cells, _ in ahead]
        try:
            chosen = self.choose(names)
        except DataError as error:
            if self.options.column_names is not None:
                raise
            below = names_below(self.choose, self._cells(ahead))
            if below is not None:
                raise title_above(path, f"line {below}") from error
            if not looks_like_row(names, rows):
                raise
            found = ", ".join(map(_shortened, names[:_SHOWN_CELLS]))
            raise DataError(
                f"Expected the names of the columns in the first line of {path}, but it looks "
                f"like a row: {found}{', ...' if len(names) > _SHOWN_CELLS else ''}. Write the "
                f"names above it, or give them, as --column-names {_possible_names(names, rows)}."
            ) from error
        twice = next((name for name in chosen if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(
                f"Expected every column's name once, but {path} has {names.count(twice)} columns "
                f"named {twice!r}. Rename them."
            )
        return chosen

    def _cells(self, rows: Sequence[Row]) -> Iterator[tuple[int, Sequence[str]]]:
        """Yield rows with their cells; below a title without separators, lines are not split."""
        for number, cells, _ in rows:
            yield number, cells
            if len(cells) == 1:
                yield from ((number, cells[0].split(mark)) for mark in NAMES)


def _dialect_notes(path: Path, dialect: Dialect, usual: str) -> Iterator[str]:
    separator = dialect.separator
    if separator == NOTHING:
        yield (
            f"{path.name}: its first line names one column, so each line is one text with its "
            f"{NAMES[usual]}."
        )
    elif separator != usual:
        yield f"{path.name}: cells are parted by {NAMES.get(separator, repr(separator))}."
    if dialect.quotes is Quotes.ESCAPED:
        yield f'{path.name}: a quote within a text is written \\".'
    elif dialect.quotes is Quotes.BARE:
        yield f"{path.name}: quotes enclose no texts here, but belong to them."


def _given_names(path: Path, names: Sequence[str], cells: Sequence[str]) -> list[str]:
    if len(names) != len(cells):
        raise DataError(
            f"Expected a name for each of the {counted(len(cells), 'column')} of {path}, but there "
            f"are {len(names)}: {', '.join(names)}. Give a name for each cell of the first line."
        )
    return list(names)


def _shortened(cell: str) -> str:
    return repr(cell if len(cell) <= _SHOWN_CHARACTERS else f"{cell[:_SHOWN_CHARACTERS]}...")


def _possible_names(first: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an example of names: the column with the longest cells is the text."""
    whole = [first, *(row for row in rows if len(row) == len(first))]
    lengths = [sum(map(len, column)) for column in zip(*whole, strict=True)]
    others = iter(["label"] if len(first) == 2 else [f"other{n + 1}" for n in range(len(first))])
    text = lengths.index(max(lengths))
    names = ["text" if column == text else next(others) for column in range(len(first))]
    return ",".join(names[: 2 * _SHOWN_CELLS])
