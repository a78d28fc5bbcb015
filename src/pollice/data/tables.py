"""Tables -> columns of values, whatever the format: the one door to `formats`.

Knows nothing about texts, labels or data sets.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pollice.data.formats import suffixes
from pollice.data.formats.arrow import read_arrow
from pollice.data.formats.columns import Choose, Columns
from pollice.data.formats.fasttext import read_fasttext
from pollice.data.formats.frames import read_frame
from pollice.data.formats.json_document import begins_as_array, read_json
from pollice.data.formats.json_lines import read_json_lines
from pollice.data.formats.parquet import read_parquet
from pollice.data.formats.separated import read_separated
from pollice.data.formats.spreadsheets import read_spreadsheet
from pollice.data.formats.zipped import find_member
from pollice.errors import DataError

TABLE_SUFFIXES = suffixes.TABLES


def table_suffix(path: Path) -> str:
    """Return the format in a file's name, such as ``".csv"``, without the compression.

    Raises:
        DataError: a zip file holds no table or several.
    """
    suffix = suffixes.plain_suffix(path.name)
    return Path(find_member(path).filename.lower()).suffix if suffix == suffixes.ZIP else suffix


def read_columns(path: Path, choose: Choose, *, sheet: str | None = None) -> Columns:
    """Read the columns that ``choose`` picks; ``sheet`` is for files that have several.

    Raises:
        DataError: the file is empty, damaged, of an unknown format or not in UTF-8, with the line.
    """
    if path.exists() and not path.is_file():
        raise DataError(
            f"Expected a file, but {path} is a folder, a pipe or a device. "
            "Save what it gives as a file, and name that."
        )
    suffix = table_suffix(path)
    if suffix not in (*suffixes.TABLES, suffixes.LINES):
        raise DataError(
            f"Expected a file that ends in {', '.join(suffixes.TABLES)} or .txt, alone or with "
            f".gz, .bz2 or .zip, but found {path}. Convert it or rename it to what it is."
        )
    return _with_rows(path, _read(path, suffix, _once(path, choose), sheet))


def read_table_in_memory(table: Any, choose: Choose) -> Columns:
    """Read the columns that ``choose`` picks from a table of pandas, polars, Arrow or datasets.

    Raises:
        DataError: it is no such table, or has no rows.
    """
    columns = read_frame(table, _once(Path("the table"), choose))
    return _with_rows(columns.path, columns)


def _read(path: Path, suffix: str, choose: Choose, sheet: str | None) -> Columns:
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
        return read_separated(path, choose, "," if suffix == ".csv" else "\t")
    if suffix in (*suffixes.FASTTEXT, suffixes.LINES):
        return read_fasttext(path, choose)
    # Many give an array the ending of lines, and lines the ending of an array.
    if suffix == ".json" or begins_as_array(path):
        return read_json(path, choose)
    return read_json_lines(path, choose)


def _once(path: Path, choose: Choose) -> Choose:
    """Return ``choose`` so that it refuses a column whose name stands twice."""

    def choose_once(names: Sequence[str]) -> Sequence[str]:
        chosen = choose(names)
        counts = Counter(names)
        twice = next((name for name in chosen if counts[name] > 1), None)
        if twice is not None:
            raise DataError(
                f"Expected every column's name once, but {path} has {counts[twice]} columns "
                f"named {twice!r}. Rename them."
            )
        return chosen

    return choose_once


def _with_rows(path: Path, columns: Columns) -> Columns:
    if not len(columns):
        raise DataError(
            f"Expected rows below the names of the columns, but {path} has none. "
            "Name a file with at least one row."
        )
    return columns
