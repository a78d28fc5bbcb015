"""CSV and TSV -> columns.

Knows nothing about texts or labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from pollice.data.formats.columns import Choose, Columns, TextOptions, empty_table
from pollice.data.formats.dialects import (
    NAMES,
    NOTHING,
    UNQUOTED,
    Dialect,
    Quotes,
    SwallowedRows,
    find_separator,
    looks_like_row,
    said_separator,
    survey_rows,
)
from pollice.data.formats.kept_columns import KeptColumns
from pollice.data.formats.lines import Text, open_text
from pollice.data.formats.row_check import MaybeWrongDialectError, RowCheck
from pollice.data.formats.separated_rows import SeparatedRows, WrongDialectError
from pollice.errors import DataError, counted

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

    def read(quotes: Quotes, *, trusting: bool = False) -> Columns:
        attempt = _Attempt(
            choose=choose, options=text, usual=usual, quotes=quotes, trusting=trusting
        )
        with open_text(path, text.encoding) as opened:
            return attempt.read(opened)

    first: DataError | None = None
    for quotes in Quotes:
        try:
            return read(quotes)
        except WrongDialectError as error:
            first = first or error
        except DataError:
            if first is None:
                raise
    if isinstance(first, MaybeWrongDialectError):
        return read(Quotes.DOUBLED, trusting=True)
    raise DataError(str(first)) from first


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """How to read a file, with one meaning of quotes."""

    choose: Choose
    options: TextOptions
    usual: str
    quotes: Quotes
    trusting: bool
    """Whether quoted texts may have separators and several lines."""

    def read(self, text: Text) -> Columns:
        """Read a file.

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
        rows = SeparatedRows(text.path, lines, end=text.line_end, first=first, dialect=dialect)
        notes = [*text.notes, *_dialect_notes(text.path, dialect, self.usual)]
        return self._columns(text, rows, sample.split(text.line_end), notes)

    def _columns(
        self, text: Text, separated: SeparatedRows, sample: Sequence[str], notes: list[str]
    ) -> Columns:
        rows = iter(separated)
        header = next((row for row in rows if any(map(str.strip, row[1]))), None)
        if header is None:
            raise empty_table(text.path)
        names = [name.strip() for name in header[1]]
        if self.options.column_names is not None:
            names = _given_names(text.path, self.options.column_names, header[1])
            rows = chain([header], rows)
        ahead = list(islice(rows, _AHEAD))
        chosen = self._chosen(text.path, names, [cells for _, cells, _ in ahead])
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
        kept = KeptColumns(text.path, names, chosen)
        for row in chain(ahead, rows):
            kept.add(row[0], check(row))
        check.end()
        return kept.columns(notes)

    def _chosen(
        self, path: Path, names: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> Sequence[str]:
        """Return the chosen columns; say so if the names are a row already, or stand twice."""
        try:
            chosen = self.choose(names)
        except DataError as error:
            if self.options.column_names is not None or not looks_like_row(names, rows):
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
