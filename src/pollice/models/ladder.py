"""Which step of the calibration ladder is taken: by cross-validation on the labelled rows.

Knows nothing about models, and nothing about how a step is learned.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

FloatArray = NDArray[np.float64]
Rows = NDArray[np.int64]

Learn = Callable[[Rows, Rows], FloatArray]
"""Learns a step on rows, and returns the probabilities ``(rows, labels)`` of other rows."""

_FOLDS = 8
_MARGINS = {"platt": (0.0, 0.0), "probe": (2.0, 0.02)}
"""Standard errors by which a step's log loss must be below that of the step before, and the share
of the rows that it must have right beyond those that the other has. ``platt`` is held by priors, so
that it may be taken as soon as it is better; nothing holds ``probe``."""
_LEAST = 1e-6


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The step that is taken, and why."""

    step: str
    reason: str


def choose_step(
    present: tuple[str, FloatArray], later: Mapping[str, Learn], codes: Rows, *, seed: int = 0
) -> Choice:
    """Return the last step that judges labelled rows better than the one before it.

    Better means: learned without the rows that it judges, ``platt`` is right at least as often and
    has a lower mean log loss; ``probe`` is right in 2 % of the rows more, and its log loss is lower
    by two standard errors of that difference.

    Args:
        present: The step that needs no labels, and its probabilities of the labelled rows.
        later: For each later step, in order, what learns it.
        codes: The column of each labelled row's label, ``(rows,)``.
        seed: Deals the rows into folds.
    """
    name, probabilities = present
    if not later:
        return Choice(step=name, reason="")
    rows = len(codes)
    said = []
    for step, learn in later.items():
        judged = _held_out(learn, rows, probabilities.shape[1], seed)
        better = _is_better(judged, probabilities, codes, _MARGINS[step])
        said.append(
            f"{step} was {'' if better else 'not '}taken instead of {name}: of the {rows} labelled "
            f"rows, judged without having been learned from, it had {_right(judged, codes)} right "
            f"and {name} {_right(probabilities, codes)}, with a log loss of "
            f"{_loss(judged, codes).mean():.3f} and {_loss(probabilities, codes).mean():.3f}"
        )
        if better:
            name, probabilities = step, judged
    return Choice(step=name, reason="; ".join(said))


def _held_out(learn: Learn, rows: int, labels: int, seed: int) -> FloatArray:
    judged = np.zeros((rows, labels))
    # The same seed for every step: all are judged on the same folds.
    folds = KFold(min(_FOLDS, rows), shuffle=True, random_state=seed)
    for train, held_out in folds.split(np.zeros(rows)):
        judged[held_out] = learn(train, held_out)
    return judged


def _is_better(
    judged: FloatArray, present: FloatArray, codes: Rows, margins: tuple[float, float]
) -> bool:
    # Row by row: what makes a row hard for both steps cancels out of the standard error.
    gains = _loss(present, codes) - _loss(judged, codes)
    error = gains.std(ddof=1) / np.sqrt(len(gains))
    margin, more = margins
    enough = _right(judged, codes) >= _right(present, codes) + more * len(codes)
    return bool(enough and gains.mean() > margin * error)


def _right(probabilities: FloatArray, codes: Rows) -> int:
    return int((probabilities.argmax(axis=1) == codes).sum())


def _loss(probabilities: FloatArray, codes: Rows) -> FloatArray:
    loss: FloatArray = -np.log(probabilities[np.arange(len(codes)), codes] + _LEAST)
    return loss


def codes_of(labels: Sequence[str], label_names: Sequence[str]) -> Rows:
    """Return the column of each label."""
    column = {name: number for number, name in enumerate(label_names)}
    return np.array([column[label] for label in labels], np.int64)
