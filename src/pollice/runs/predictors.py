"""Predictors as folders: saved completely, with the name of their method and how texts were read.

Knows nothing about models, and nothing about judging.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pollice.data.columns import ReadOptions
from pollice.errors import OptionError, RunError
from pollice.methods import load_predictor
from pollice.predictions import saved_predictors
from pollice.predictions.predictor import Predictor
from pollice.system.folders import read_manifest

__all__ = ["load_predictor", "load_reading", "save_predictor"]


def save_predictor(
    predictor: Predictor,
    folder: Path | str,
    *,
    method: str,
    options: Mapping[str, Any],
    reading: ReadOptions | None = None,
) -> None:
    """Save a predictor with the name of its method: all of it or nothing.

    ``reading`` is how its training texts were read, as `Dataset.reading` says.
    """
    more = {} if reading is None else {"reading": _remembered(reading)}
    place = Path(folder)
    saved_predictors.save_predictor(predictor, place, method=method, options=options, **more)


_REMEMBERED = (
    "text_column",
    "label_column",
    "label_names",
    "merge_labels",
    "rating_bins",
    "several_labels",
    "drop_labels",
    "keep_html",
)
"""What a predictor's new texts and labels must share with those that it learned from."""


def _remembered(reading: ReadOptions) -> dict[str, Any]:
    options = asdict(reading)
    return {name: options[name] for name in _REMEMBERED}


def load_reading(folder: Path) -> ReadOptions | None:
    """Return how the training texts of a saved predictor were read; None where it does not say.

    Raises:
        RunError: the folder is incomplete, or what it says cannot be read.
    """
    said = read_manifest(folder).get("reading")
    if said is None:
        return None
    try:
        known = {name: value for name, value in said.items() if name in _REMEMBERED}
        return TypeAdapter(ReadOptions).validate_python(known)
    except (AttributeError, ValidationError, OptionError) as error:
        raise RunError(
            f"Expected a predictor that says how its texts were read, but the manifest of {folder} "
            "is damaged there. Copy the folder again."
        ) from error
