"""New texts for a saved predictor: read as its training texts were, judged, and counted.

Knows nothing about models, and nothing about the terminal.
"""

import logging
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pollice.data.columns import USUAL, ReadOptions
from pollice.data.dataset import TextTable
from pollice.data.reading import read_texts
from pollice.errors import OptionError, counted, did_you_mean
from pollice.predictions.predict import predict
from pollice.predictions.table import Predictions
from pollice.runs.predictors import load_predictor, load_reading
from pollice.system.folders import read_manifest

logger = logging.getLogger("pollice")


def predict_file(folder: Path | str, source: str, **given: Any) -> Predictions:
    """Judge every text of a file with a saved predictor, read as its training texts were.

    Args:
        folder: The predictor's folder.
        source: A file, a folder, a catalogue name or ``hub:owner/name@revision``.
        given: Options of `ReadOptions` that are to differ from those of training.

    Raises:
        RunError: the folder holds no predictor.
        DataError: the source cannot be found or read, or has no texts.
        OptionError: there is no such option of reading.
    """
    table = read_new_texts(Path(folder), source, given)
    predictor = load_predictor(folder)
    return predict(predictor, table.texts, ids=table.ids, gold=table.gold)


def read_new_texts(folder: Path, source: str, given: Mapping[str, Any]) -> TextTable:
    """Read texts to judge as a predictor's training texts were, but for what is ``given``.

    Labels that the predictor does not give count as not known. Notes say what differs.

    Raises:
        RunError: the folder holds no predictor.
        DataError: the source cannot be found or read, or has no texts.
        OptionError: there is no such option of reading.
    """
    known, options, preferred, notes = reading_of(folder, given)
    for note in notes:
        logger.info(note)
    table = read_texts(source, options, known=known, preferred=preferred)
    return replace(table, notes=(*notes, *table.notes))


def reading_of(
    folder: Path, given: Mapping[str, Any]
) -> tuple[tuple[str, ...], ReadOptions, dict[str, str], tuple[str, ...]]:
    """Return how new texts of a predictor are read.

    The labels that it gives, the options, for each role the column that is looked for first, and
    sentences on what differs from training.

    Raises:
        RunError: the folder holds no predictor.
        OptionError: there is no such option of reading.
    """
    known = [option.name for option in fields(ReadOptions)]
    for name in given:
        if name not in known:
            raise OptionError(
                f"Expected an option of reading, but found {name!r}.{did_you_mean(name, known)} "
                f"The options are: {', '.join(known)}."
            )
    label_names = tuple(read_manifest(folder).get("label_names", ()))
    remembered = load_reading(folder)
    if remembered is None:
        return label_names, replace(USUAL, **given), {}, ()
    # Bins and names exclude each other: what is given takes the place of what is remembered.
    excluded = {"label_names": "rating_bins", "rating_bins": "label_names"}
    free = {excluded[name]: None for name in given if name in excluded}
    # Columns are looked for, not asked for: a new file may well have other names.
    columns = {"text": remembered.text_column, "label": remembered.label_column}
    searched = {"text_column": None, "label_column": None}
    options = replace(remembered, **{**searched, **free, **given})
    preferred = {role: column for role, column in columns.items() if column is not None}
    return label_names, options, preferred, _differences(remembered, options)


def _differences(remembered: ReadOptions, options: ReadOptions) -> tuple[str, ...]:
    """Return a sentence if texts are cleaned in another way than in training."""
    if options.keep_html == remembered.keep_html:
        return ()
    learned, now = ("kept", "cleaned") if remembered.keep_html else ("cleaned", "kept")
    option = "--keep-html" if remembered.keep_html else "--clean-html"
    return (
        f"The predictor learned from texts with their HTML {learned}, but here it is {now}. "
        f"To judge as it learned: {option}.",
    )


def say_known(known: int, *, right: int, silent: int, others: int) -> str:
    """Return a sentence on the rows whose true label is known."""
    left = f", {others:,} without one are not counted" if others else ""
    left = f", {silent:,} not answered{left}" if silent else left
    rows = counted(known, "row")
    return f"{rows} with a known label, {right:,} answered so ({right / known:.1%}){left}."
