"""Predictions as files for people: CSV and JSON Lines, besides Parquet.

Knows nothing about predictors.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pollice.errors import PredictionsError
from pollice.predictions.table import Predictions

SUFFIXES = (".parquet", ".csv", ".jsonl")


def check_output(path: Path, *sources: str) -> None:
    """Refuse an output that cannot be written, before any text is judged.

    Args:
        path: The output file.
        sources: Files that are read, such as the texts: never overwritten.
    """
    if path.suffix not in SUFFIXES:
        raise PredictionsError(
            f"Expected an output that ends in {', '.join(SUFFIXES)}, but found {path.name!r}. "
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


def write_predictions(
    predictions: Predictions,
    path: Path,
    suffix: str,
    labels: Sequence[str | None] | None = None,
) -> None:
    """Write the table in the format of a suffix; CSV and JSON Lines have a label column.

    ``labels`` is one per row, None for an empty label; by default the predicted ones.
    """
    if suffix == ".parquet":
        predictions.write(path)
        return
    rows = _rows(predictions, predictions.predicted if labels is None else labels)
    write_rows(rows, _columns(predictions), path, suffix)


def write_rows(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], path: Path, suffix: str
) -> None:
    """Write rows as CSV, JSON Lines or Parquet; each row has all columns."""
    if suffix == ".parquet":
        listed = list(rows)
        pq.write_table(pa.table({name: [row[name] for row in listed] for name in columns}), path)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".csv":
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        else:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _columns(predictions: Predictions) -> list[str]:
    probabilities = [f"probability:{name}" for name in predictions.label_names]
    return ["id", "label", "probability", *probabilities, "tokens", "truncated"]


def _rows(predictions: Predictions, labels: Sequence[str | None]) -> Iterator[dict[str, Any]]:
    for number, answer in enumerate(predictions.predicted):
        probabilities = [
            None if answer is None else round(float(value), 6)  # JSON has no NaN
            for value in predictions.probabilities[number]
        ]
        values = [
            predictions.ids[number],
            labels[number],
            None if answer is None else max(value for value in probabilities if value is not None),
            *probabilities,
            int(predictions.tokens[number]),
            None if predictions.truncated is None else bool(predictions.truncated[number]),
        ]
        yield dict(zip(_columns(predictions), values, strict=True))
