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
_MARGINS = {"platt": (1.0, 0.0), "probe": (2.0, 0.02)}
"""Standard errors by which a step's log loss must be below that of the step before, and the share
of the rows that it must have right beyond those that the other has. Less for ``platt``, which
priors hold; nothing holds ``probe``."""
_FEW = 100
_MORE_OF_FEW = 0.02
"""Of fewer rows than that, any step must have this share more right: a shift of the balance that
few rows show is often chance. docs/prompting.md has the trial."""
_LEAST = 1e-6
_ROUNDING = 1e-9  # of sums of weights


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The step that is taken, and why."""

    step: str
    reason: str


def choose_step(
    present: tuple[str, FloatArray],
    later: Mapping[str, Learn],
    codes: Rows,
    *,
    weights: FloatArray | None = None,
    seed: int = 0,
) -> Choice:
    """Return the last step that judges labelled rows better than the one before it.

    Better means: learned without the rows that it judges, ``platt`` is right at least as often, of
    fewer than 100 rows in 2 % more, and its mean log loss is lower by a standard error of that
    difference; ``probe`` is right in 2 % more, and its log loss is lower by two standard errors.

    Args:
        present: The step that needs no labels, and its probabilities of the labelled rows.
        later: For each later step, in order, what learns it.
        codes: The column of each labelled row's label, ``(rows,)``.
        weights: How often each row counts, ``(rows,)``; None: once.
        seed: Deals the rows into folds.
    """
    name, probabilities = present
    if not later:
        return Choice(step=name, reason="")
    rows = len(codes)
    counts = np.ones(rows) if weights is None else weights
    weighted = "" if (counts == 1).all() else ", in which uncertain rows count less,"
    said = []
    for step, learn in later.items():
        judged = _held_out(learn, rows, probabilities.shape[1], seed)
        better = _is_better(judged, probabilities, codes, counts, _MARGINS[step])
        said.append(
            f"{step} was {'' if better else 'not '}taken instead of {name}: of the {rows} labelled "
            f"rows, judged without having been learned from, it had {_right(judged, codes)} right "
            f"and {name} {_right(probabilities, codes)}, with a log loss{weighted} of "
            f"{np.average(_loss(judged, codes), weights=counts):.3f} and "
            f"{np.average(_loss(probabilities, codes), weights=counts):.3f}"
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
    judged: FloatArray,
    present: FloatArray,
    codes: Rows,
    counts: FloatArray,
    margins: tuple[float, float],
) -> bool:
    # Row by row: what makes a row hard for both steps cancels out of the standard error.
    gains = _loss(present, codes) - _loss(judged, codes)
    mean = float(np.average(gains, weights=counts))
    rows = len(gains)
    # Of a weighted mean; with equal weights the usual one.
    error = np.sqrt((counts**2 * (gains - mean) ** 2).sum() * rows / (rows - 1)) / counts.sum()
    margin, more = margins
    more = max(more, _MORE_OF_FEW) if rows < _FEW else more
    right, before = ((table.argmax(axis=1) == codes) @ counts for table in (judged, present))
    enough = right >= before + more * counts.sum() - _ROUNDING
    return bool(enough and mean > margin * error)


def _right(probabilities: FloatArray, codes: Rows) -> int:
    return int((probabilities.argmax(axis=1) == codes).sum())


def _loss(probabilities: FloatArray, codes: Rows) -> FloatArray:
    loss: FloatArray = -np.log(probabilities[np.arange(len(codes)), codes] + _LEAST)
    return loss


def codes_of(labels: Sequence[str], label_names: Sequence[str]) -> Rows:
    """Return the column of each label."""
    column = {name: number for number, name in enumerate(label_names)}
    return np.array([column[label] for label in labels], np.int64)
