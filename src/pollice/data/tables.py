"""Tables -> columns of values, whatever the format: the one door to `formats`.

Knows nothing about texts, labels or data sets.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pollice.data.formats import suffixes
from pollice.data.formats.arrow import read_arrow
from pollice.data.formats.columns import USUAL_TEXT, Choose, Columns, TextOptions
from pollice.data.formats.contents_check import check_content
from pollice.data.formats.fasttext import read_fasttext
from pollice.data.formats.frames import read_frame
from pollice.data.formats.json_document import begins_as_array, read_json
from pollice.data.formats.json_lines import read_json_lines, stream_json_lines
from pollice.data.formats.lines import check_is_file, check_unpacked
from pollice.data.formats.parquet import read_parquet, stream_parquet
from pollice.data.formats.separated import read_separated, stream_separated
from pollice.data.formats.spreadsheets import read_spreadsheet
from pollice.data.formats.streamed import StreamedTable, TableBatch, ValueCounts
from pollice.data.formats.zipped import find_member, say_member
from pollice.errors import DataError
from pollice.predictions.cells import may_be_disarmed, rearm

TABLE_SUFFIXES = suffixes.TABLES


def table_suffix(path: Path) -> str:
    """Return the format in a file's name, such as ``".csv"``, without the compression.

    Raises:
        DataError: a zip file holds no table or several.
    """
    suffix = suffixes.plain_suffix(path.name)
    return Path(find_member(path).filename.lower()).suffix if suffix == suffixes.ZIP else suffix


def read_columns(
    path: Path, choose: Choose, text: TextOptions = USUAL_TEXT, *, sheet: str | None = None
) -> Columns:
    """Read the columns that ``choose`` picks; ``sheet`` is for files that have several.

    Raises:
        DataError: the file is empty, damaged, of an unknown format or not in UTF-8, with the line.
    """
    check_is_file(path)
    suffix = table_suffix(path)
    if suffix not in (*suffixes.TABLES, suffixes.LINES):
        raise DataError(
            f"Expected a file that ends in {', '.join(suffixes.TABLES)} or .txt, alone or with "
            f".gz, .bz2, .xz, .zst or .zip, but found {path}. Convert it, or rename it to what it "
            "is."
        )
    check_unpacked(path)
    check_content(path, suffix)
    columns = _read(path, suffix, choose, text, sheet)
    if path.suffix.lower() == suffixes.ZIP:
        columns = replace(columns, notes=(say_member(path), *columns.notes))
    return _with_rows(path, columns)


def stream_table(
    path: Path, choose: Choose, text: TextOptions = USUAL_TEXT, *, sheet: str | None = None
) -> StreamedTable:
    """Read a table so far that all its columns can be read batch by batch.

    CSV, TSV, JSON Lines and Parquet are never held whole; the other formats are. ``choose`` picks
    the columns whose values are counted.

    Raises:
        DataError: as `read_columns`.
    """
    check_is_file(path)
    suffix = table_suffix(path)
    if suffix in (*suffixes.TABLES, suffixes.LINES):
        check_unpacked(path)
        check_content(path, suffix)
    table = None if sheet is not None else _stream(path, suffix, choose, text)
    if table is None:
        return _hold(path, choose, text, sheet)
    member = (say_member(path),) if path.suffix.lower() == suffixes.ZIP else ()
    return replace(table, notes=(*member, *table.notes))


def _stream(path: Path, suffix: str, choose: Choose, text: TextOptions) -> StreamedTable | None:
    """Open a table of a format that is read row by row; None for the other formats."""
    if suffix in suffixes.SEPARATED:
        return _stream_cells(path, choose, text, "," if suffix == ".csv" else "\t")
    if suffix == ".parquet":
        return stream_parquet(path, choose)
    if suffix in (".jsonl", ".ndjson") and not begins_as_array(path):
        return stream_json_lines(path, choose, text)
    return None


def _hold(path: Path, choose: Choose, text: TextOptions, sheet: str | None) -> StreamedTable:
    """Read all columns of a table whole."""
    every: list[str] = []
    counted: list[str] = []

    def choose_all(names: Sequence[str]) -> Sequence[str]:
        counted[:] = choose(names)
        every[:] = dict.fromkeys(name for name in names if name)
        return every

    columns = read_columns(path, choose_all, text, sheet=sheet)
    counts = ValueCounts()
    for name in counted:
        counts.add(path, columns.values[name])
    return StreamedTable(
        path=path,
        names=tuple(every),
        rows=len(columns),
        counts=counts.found,
        read=partial(_slices, columns.values, len(columns)),
        notes=columns.notes,
        class_names=columns.class_names,
    )


def _slices(values: Mapping[str, Sequence[Any]], total: int, rows: int) -> Iterator[TableBatch]:
    for start in range(0, total, rows):
        yield TableBatch(
            columns={name: column[start : start + rows] for name, column in values.items()}
        )


def _stream_cells(path: Path, choose: Choose, text: TextOptions, usual: str) -> StreamedTable:
    """Stream CSV or TSV; in a table that pollice wrote, formulas lose the apostrophe."""
    table = stream_separated(path, choose, text, usual)
    if not may_be_disarmed(table.names):
        return table

    def read(rows: int) -> Iterator[TableBatch]:
        for batch in table.read(rows):
            cells = {name: list(map(rearm, column)) for name, column in batch.columns.items()}
            yield replace(batch, columns=cells)

    return replace(table, read=read)


def read_table_in_memory(table: Any, choose: Choose) -> Columns:
    """Read the columns that ``choose`` picks from a table of pandas, polars, Arrow or datasets.

    Raises:
        DataError: it is no such table, or has no rows.
    """
    columns = read_frame(table, choose)
    return _with_rows(columns.path, columns)


def _read(path: Path, suffix: str, choose: Choose, text: TextOptions, sheet: str | None) -> Columns:
    if suffix in suffixes.SPREADSHEETS:
        return read_spreadsheet(path, choose, sheet)
    if sheet is not None:
        raise DataError(
            f"Expected a spreadsheet that has the sheet {sheet!r}, but {path} has no sheets. "
            "Leave the sheet out, or name an .xlsx, .xls or .ods file."
        )
    if suffix == ".parquet":
        return read_parquet(path, choose)
    if suffix in suffixes.ARROW:
        return read_arrow(path, choose)
    if suffix in suffixes.SEPARATED:
        return _read_cells(path, choose, text, "," if suffix == ".csv" else "\t")
    if suffix in (*suffixes.FASTTEXT, suffixes.LINES):
        return read_fasttext(path, choose, text)
    # Many give an array the ending of lines, and lines the ending of an array.
    if suffix == ".json" or begins_as_array(path):
        return read_json(path, choose, text)
    return read_json_lines(path, choose, text)


def _with_rows(path: Path, columns: Columns) -> Columns:
    if not len(columns):
        raise DataError(
            f"Expected rows below the names of the columns, but {path} has none. "
            "Name a file with at least one row."
        )
    return columns


def _read_cells(path: Path, choose: Choose, text: TextOptions, usual: str) -> Columns:
    """Read CSV or TSV; in a table that pollice wrote, formulas lose the apostrophe before them."""
    names: list[str] = []

    def note_and_choose(found: Sequence[str]) -> Sequence[str]:
        names.extend(found)
        return choose(found)

    columns = read_separated(path, note_and_choose, text, usual)
    if not may_be_disarmed(names):
        return columns
    return replace(
        columns,
        values={
            name: [rearm(value) if isinstance(value, str) else value for value in values]
            for name, values in columns.values.items()
        },
    )
