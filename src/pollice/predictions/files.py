"""Tables for people as files, and the checks of an output before anything is judged.

Knows nothing about predictors.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pollice.errors import PredictionsError
from pollice.predictions.cells import disarm
from pollice.system.folders import probe_file, probe_space

SUFFIXES = (".parquet", ".csv", ".jsonl")

_ROW_BYTES = 32  # the label, its probability, the tokens, and what separates them
_PROBABILITY_BYTES = 9


def check_output(
    path: Path, *sources: str, suffixes: Sequence[str] = SUFFIXES, suffix: str | None = None
) -> None:
    """Refuse an output that cannot be written, before any text is judged.

    It writes a little into the folder, and removes it again.

    Args:
        path: The output file.
        sources: Files that are read, such as the texts: never overwritten.
        suffixes: The endings of formats that can be written.
        suffix: The format, where the name does not say it.
    """
    if (suffix or path.suffix) not in suffixes:
        raise PredictionsError(
            f"Expected an output that ends in {', '.join(suffixes)}, but found {path.name!r}. "
            "Name the format by its ending."
        )
    if not path.parent.is_dir():
        raise PredictionsError(
            f"Expected a folder for the output {path.name!r}, but there is no {path.parent}. "
            "Create it first."
        )
    if path.is_dir():
        raise PredictionsError(
            f"Expected a file as output, but {path} is a folder. Name a file in it."
        )
    for source in sources:
        if path.exists() and path.resolve() == Path(source).resolve():
            raise PredictionsError(
                f"Expected an output besides the texts, but {path} is the file of texts itself. "
                "Name another output."
            )
    probe_file(path)


def check_room(
    path: Path, ids: Sequence[str], label_names: Sequence[str], texts: Sequence[str] = ()
) -> None:
    """Refuse a disk without room for the output, before any text is judged.

    Args:
        path: The output file.
        ids: The ids of its rows.
        label_names: The labels, each of which has a probability in every row.
        texts: The texts, if they are written too.
    """
    letters = sum(map(len, ids)) + sum(map(len, texts))
    probe_space(path, letters + len(ids) * (_ROW_BYTES + _PROBABILITY_BYTES * len(label_names)))


def write_rows(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    path: Path,
    suffix: str,
    *,
    raw_cells: bool = False,
) -> None:
    """Write rows as CSV, JSON Lines or Parquet; each row has all columns.

    Texts in CSV get an apostrophe where a spreadsheet would take them for formulas (`disarm`),
    unless ``raw_cells``; numbers are numbers, and stay.
    """
    if suffix == ".parquet":
        listed = list(rows)
        pq.write_table(pa.table({name: [row[name] for row in listed] for name in columns}), path)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".csv":
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows if raw_cells else map(_disarmed, rows))
        else:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _disarmed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: disarm(value) if isinstance(value, str) else value for name, value in row.items()}
