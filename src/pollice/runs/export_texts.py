"""The texts by which an export is made and judged: a file's, or those of the predictor's run.

Knows nothing about forms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pollice.data.reading import ReadOptions, read_texts
from pollice.errors import ExportError, PolliceError, counted
from pollice.runs.experiment import read_experiment, update_content
from pollice.runs.folder import RunFolder, read_data, read_toml
from pollice.runs.run import prepare

_MEASURED_TEXTS = 300
"""What the ranges of a quantized form are measured on: NNCF's own default."""
_JUDGED_TEXTS = 2000
_FEWEST = 10


@dataclass(frozen=True, kw_only=True)
class ExportTexts:
    """Texts to measure ranges on, and others to judge a form by."""

    calibration: tuple[str, ...]
    validation: tuple[str, ...]
    gold: tuple[str, ...] | None
    """The labels of the validation texts, where they are known."""
    said: str
    """Where they come from, as a clause."""


def texts_of_file(source: str, options: ReadOptions, label_names: Sequence[str]) -> ExportTexts:
    """Return the texts of a file: half of them, drawn at random, judge; the rest measure ranges.

    Args:
        source: The file, or the name of a data set.
        options: How it is read.
        label_names: The predictor's; rows with another label, or none, have no known label.

    Raises:
        ExportError: there are too few texts.
    """
    table = read_texts(source, options)
    filled = [row for row, text in enumerate(table.texts) if text]
    if len(filled) < 2 * _FEWEST:
        raise ExportError(
            f"Expected at least {2 * _FEWEST} texts to judge an export by, but {source} has "
            f"{len(filled)}. Name a larger file with --texts."
        )
    rows = [filled[place] for place in np.random.default_rng(0).permutation(len(filled))]
    judged, measured = rows[::2], rows[1::2]
    gold = None
    if table.gold is not None:
        labelled = [row for row in judged if table.gold[row] in label_names]
        if len(labelled) >= _FEWEST:
            judged = labelled
            gold = tuple(str(table.gold[row]) for row in judged[:_JUDGED_TEXTS])
    return ExportTexts(
        calibration=tuple(table.texts[row] for row in measured[:_MEASURED_TEXTS]),
        validation=tuple(table.texts[row] for row in judged[:_JUDGED_TEXTS]),
        gold=gold,
        said=f"{counted(min(len(judged), _JUDGED_TEXTS), 'row')} of {source}",
    )


def texts_of_run(predictor: Path) -> ExportTexts:
    """Return the training and validation texts of the run that a predictor lies in.

    They are read and split again, since a run keeps no texts.

    Raises:
        ExportError: it lies in no run, or the run's data cannot be had any more.
    """
    run = RunFolder(predictor.resolve().parent.parent)
    if not (run.experiment.is_file() and run.data.is_file()):
        raise ExportError(
            f"Expected texts to judge an export by, but {predictor} lies in no run whose data "
            "could be read again. Name a file with --texts."
        )
    try:
        content = read_toml(run.experiment)
        parts, data = prepare(read_experiment(update_content(content) or content, "the run"))
        same = data.test_ids_sha256 == read_data(run).test_ids_sha256
    except PolliceError as error:
        raise ExportError(
            f"Expected the data of the run {run.path}, to judge an export by, but they cannot be "
            f"read again ({str(error).rstrip('.')}). Name a file with --texts."
        ) from error
    if not same:
        raise ExportError(
            f"Expected the data of the run {run.path}, to judge an export by, but they have "
            "changed since. Name a file with --texts."
        )
    train, validation = parts.train, parts.validation
    if len(validation) < _FEWEST:
        raise ExportError(
            f"Expected at least {_FEWEST} validation rows to judge an export by, but the run "
            f"{run.path} has {len(validation)}. Name a file with --texts."
        )
    chance = np.random.default_rng(0)
    shown = chance.permutation(len(train))[:_MEASURED_TEXTS]
    judged = chance.permutation(len(validation))[:_JUDGED_TEXTS]
    return ExportTexts(
        calibration=tuple(train.texts[row] for row in shown),
        validation=tuple(validation.texts[row] for row in judged),
        gold=tuple(validation.labels[row] for row in judged),
        said=f"{counted(len(judged), 'validation row')} of its run",
    )
