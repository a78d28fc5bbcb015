"""Tables -> columns of values, whatever the format: the one door to `formats`.

Knows nothing about texts, labels or data sets.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pollice.data.formats.columns import USUAL_TEXT, Choose, Columns, TextOptions
from pollice.data.formats.json_lines import read_json_lines
from pollice.data.formats.lines import COMPRESSED_SUFFIXES
from pollice.data.formats.parquet import read_parquet
from pollice.data.formats.separated import read_separated
from pollice.errors import DataError
from pollice.predictions.cells import may_be_disarmed, rearm

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def table_suffix(path: Path) -> str:
    """Return the format in a file's name, such as ``".csv"``, without the compression."""
    name = path.name.lower()
    for suffix in COMPRESSED_SUFFIXES:
        name = name.removesuffix(suffix)
    return Path(name).suffix


def read_columns(path: Path, choose: Choose, text: TextOptions = USUAL_TEXT) -> Columns:
    """Read the columns that ``choose`` picks.

    Raises:
        DataError: the file is empty, damaged, of an unknown format or not in UTF-8, with the line.
    """
    suffix = table_suffix(path)
    if suffix not in TABLE_SUFFIXES:
        raise DataError(
            f"Expected a file that ends in {', '.join(TABLE_SUFFIXES)}, alone or with .gz or .bz2, "
            f"but found {path}. Convert it or rename it to what it is."
        )
    if suffix == ".parquet":
        columns = read_parquet(path, choose)
    elif suffix in (".csv", ".tsv"):
        columns = _read_cells(path, choose, text, "," if suffix == ".csv" else "\t")
    else:
        columns = read_json_lines(path, choose, text)
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
