"""Files of predictions as Arrow tables: Parquet, CSV, TSV and JSON Lines.

Knows nothing about what the columns mean, but that ids and labels are text.
"""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pollice.errors import PredictionsError
from pollice.predictions.cells import rearm

_TEXTS = ("id", "gold")  # never numbers: the id 007 is not 7
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_FORMS = {**dict.fromkeys(_SEPARATORS, "CSV"), **dict.fromkeys(_JSON_LINES, "JSON Lines")}


def read_table(path: Path) -> Any:
    """Return the table of a file; its ending names the format, and other endings are Parquet.

    Raises:
        PredictionsError: it cannot be read as that.
    """
    suffix = path.suffix.lower()
    if path.exists() and not path.is_file():  # a pipe or a device may never end
        raise PredictionsError(
            f"Expected a predictions table, but {path} is no file. Name the predictions.parquet of "
            "a run."
        )
    try:
        if suffix in _SEPARATORS:
            return _read_separated(path, _SEPARATORS[suffix])
        if suffix in _JSON_LINES:
            return _read_json_lines(path)
        # Not pyarrow's `read_table`, which takes NAME=VALUE in the path for a column.
        with pq.ParquetFile(path) as file:
            return file.read()
    except (OSError, ValueError, TypeError, AttributeError, pa.ArrowException) as error:
        form = _FORMS.get(suffix, "Parquet")
        remedy = "Name the predictions.parquet of a run."
        if form != "Parquet":
            remedy = (
                f"Write it again as {form} in UTF-8, with the columns id and probability:LABEL."
            )
        raise PredictionsError(
            f"Expected a {form} predictions table, but {path} cannot be read as one "
            f"({type(error).__name__}). {remedy}"
        ) from error


def _read_separated(path: Path, usual: str) -> Any:
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    # In many countries spreadsheets write semicolons.
    separator = next((mark for mark in (usual, *";\t") if mark in header), usual)
    table = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(_TEXTS, pa.string()),
            null_values=[""],  # and not NA, which may be a label
            strings_can_be_null=True,
        ),
    )
    return _rearmed(table)


def _rearmed(table: Any) -> Any:
    """Take away the apostrophes that pollice writes before what would be a formula."""
    for place, name in enumerate(table.column_names):
        if name in _TEXTS and pa.types.is_string(table.column(place).type):
            cells = [cell and rearm(cell) for cell in table.column(place).to_pylist()]
            table = table.set_column(place, name, pa.array(cells, pa.string()))
    return table


def _read_json_lines(path: Path) -> Any:
    with path.open(encoding="utf-8-sig") as file:  # not splitlines: it splits within texts too
        rows = [json.loads(line) for line in file if line.strip()]
    names = dict.fromkeys(name for row in rows for name in row)
    return pa.table({name: [row.get(name) for row in rows] for name in names})
