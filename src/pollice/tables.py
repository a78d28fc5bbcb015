"""Predictions as files for people: CSV and JSON Lines, beside the Parquet table.

Knows nothing about predictors.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pollice.errors import PredictionsError
from pollice.prediction import Predictions

SUFFIXES = (".parquet", ".csv", ".jsonl")


def check_output(path: Path) -> None:
    """Refuse an output that cannot be written, before any text is judged."""
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


def write_predictions(predictions: Predictions, path: Path, suffix: str) -> None:
    """Write the table in the format of a suffix; CSV and JSON Lines name the label in a column."""
    if suffix == ".parquet":
        predictions.write(path)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".csv":
            writer = csv.DictWriter(file, _columns(predictions))
            writer.writeheader()
            writer.writerows(_rows(predictions))
        else:
            for row in _rows(predictions):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _columns(predictions: Predictions) -> list[str]:
    probabilities = [f"probability:{name}" for name in predictions.label_names]
    return ["id", "label", "probability", *probabilities, "tokens", "truncated"]


def _rows(predictions: Predictions) -> Iterator[dict[str, Any]]:
    for number, label in enumerate(predictions.predicted):
        probabilities = [
            None if label is None else round(float(value), 6)  # JSON has no NaN
            for value in predictions.probabilities[number]
        ]
        values = [
            predictions.ids[number],
            label,
            None if label is None else max(value for value in probabilities if value is not None),
            *probabilities,
            int(predictions.tokens[number]),
            bool(predictions.truncated[number]),
        ]
        yield dict(zip(_columns(predictions), values, strict=True))
