"""How far answers are off where the labels are the steps of a scale.

Knows nothing about how a scale is recognised, and nothing about models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pollice.errors import PredictionsError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_DECIMALS = 9  # of an expected step: the order of a sum must not part equal rows


@dataclass(frozen=True, kw_only=True)
class OrdinalEvaluation:
    """What answers are worth when a near miss is better than a far one.

    Steps are equally far apart: the labels are numbered 1, 2, ... in the scale's order. A row
    without an answer is left out, and counted by the evaluation's coverage.
    """

    scale: tuple[str, ...]
    """The labels from the lowest step to the highest."""
    mean_absolute_error: float | None
    """In steps, of the answered rows; None where none is answered."""
    within_one_step: float | None
    """The share of the answered rows that are right or one step off."""
    quadratic_kappa: float | None
    """Weighted kappa with squared steps as weights (Cohen 1968, Psychol. Bull. 70, p. 213), of the
    answered rows; None where all of them have one gold label and one answer."""
    spearman: float | None
    """Rank correlation of the gold step with the expected step, the mean of the steps weighted by
    their probabilities, of the rows with probabilities; None where one of both never varies."""
    confusion: tuple[tuple[int, ...], ...]
    """``(gold labels, answers + 1)`` rows in the scale's order; the last column is "no answer"."""


def check_scale(scale: Sequence[str], label_names: Sequence[str]) -> None:
    """Raise PredictionsError unless a scale names each of the labels once."""
    if sorted(scale) != sorted(label_names):
        raise PredictionsError(
            f"Expected a scale that names each of the labels {', '.join(label_names)} once, but "
            f"found {', '.join(scale) or 'none'}. Name the labels from the lowest to the highest."
        )


def evaluate_on_scale(
    scale: tuple[str, ...],
    label_names: Sequence[str],
    confusion: IntArray,
    probabilities: FloatArray,
    gold: IntArray,
) -> OrdinalEvaluation:
    """Judge answers on a scale.

    Args:
        scale: Every label, from the lowest step to the highest.
        label_names: The order of the columns below.
        confusion: ``(labels, labels + 1)`` rows; the last column is "no answer".
        probabilities: ``(rows with probabilities, labels)``.
        gold: ``(rows with probabilities,)``, the column of each row's gold label.

    Raises:
        PredictionsError: the scale does not name each label once.
    """
    check_scale(scale, label_names)
    order = [list(label_names).index(name) for name in scale]
    # "No answer" has no place on the scale, so its column stays last.
    ordered = confusion[order][:, [*order, len(order)]]
    answered = ordered[:, :-1].astype(np.float64)
    steps = np.arange(len(scale), dtype=np.float64)
    distance = np.abs(steps[:, None] - steps[None, :])
    rows = answered.sum()
    expected = probabilities[:, order] @ steps
    # The inverse permutation: `order` gives the column of each step.
    step_of_column = np.argsort(order)
    return OrdinalEvaluation(
        scale=scale,
        mean_absolute_error=float((answered * distance).sum() / rows) if rows else None,
        within_one_step=float(answered[distance <= 1].sum() / rows) if rows else None,
        quadratic_kappa=_weighted_kappa(answered, distance**2),
        spearman=_spearman(expected.round(_DECIMALS), step_of_column[gold]),
        confusion=tuple(tuple(row) for row in ordered.tolist()),
    )


def _weighted_kappa(observed: FloatArray, weights: FloatArray) -> float | None:
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0))
    by_chance = (weights * expected).sum()
    # The weights are 0 on the diagonal only: either nothing is answered, or every row has one
    # gold label and the same answer.
    if by_chance == 0:
        return None
    # The product of the margins is n times the counts that chance gives, hence the factor n.
    return float(1 - observed.sum() * (weights * observed).sum() / by_chance)


def _spearman(first: NDArray[np.generic], second: NDArray[np.generic]) -> float | None:
    ranks = _ranks(first), _ranks(second)
    if any(len(one) == 0 or np.ptp(one) == 0 for one in ranks):
        return None
    # Not the short formula with squared differences of ranks: with ties, it is wrong.
    return float(np.corrcoef(*ranks)[0, 1])


def _ranks(values: NDArray[np.generic]) -> FloatArray:
    """Return ranks from 0 on; equal values have the mean of their ranks."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: FloatArray = (last - (counts + 1) / 2)[group]
    return ranks
