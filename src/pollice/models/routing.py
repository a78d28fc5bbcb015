"""Which texts a fast predictor answers itself, and which it leaves to a slow one.

Knows nothing about predictors: it is numbers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

NEVER = 2.0
"""A threshold that no probability reaches: every text is left to the slow predictor."""


@dataclass(frozen=True, kw_only=True)
class Routing:
    """The highest probability from which on the fast predictor's answer is taken."""

    threshold: float
    share: float
    """The share of the rows, that it was chosen on, which the fast predictor answers."""
    loss: float
    """The share of right answers that is lost there against the slow one; less than 0: gained."""


def choose_routing(confidence: FloatArray, losses: FloatArray, most: float) -> Routing:
    """Return the lowest threshold that loses no more than allowed, going down from the surest row.

    Args:
        confidence: The fast predictor's highest probability for each row, ``(rows,)``.
        losses: What taking its answer loses for each row against the slow one's, ``(rows,)``.
        most: The most that may be lost, as a share of all rows.
    """
    rows = len(confidence)
    if not rows:
        return Routing(threshold=NEVER, share=0.0, loss=0.0)
    order = np.argsort(-confidence, kind="stable")
    lost = losses[order].cumsum() / rows
    # Not the longest stretch that ends within the limit: after a point where more was lost, that
    # it is made up for later is chance.
    beyond = np.flatnonzero(lost > most + 1e-12)
    taken = int(beyond[0]) if len(beyond) else rows
    sure = confidence[order]
    while 0 < taken < rows and sure[taken - 1] == sure[taken]:  # equals are taken all or none
        taken -= 1
    if not taken:
        return Routing(threshold=NEVER, share=0.0, loss=0.0)
    threshold = 0.0 if taken == rows else float(sure[taken - 1] + sure[taken]) / 2
    return Routing(threshold=threshold, share=taken / rows, loss=float(lost[taken - 1]))


def losses_by_labels(fast: FloatArray, slow: FloatArray, codes: IntArray) -> FloatArray:
    """Return for each row 1 where only the slow one is right, -1 where only the fast one, else 0.

    Args:
        fast: Probabilities ``(rows, labels)``.
        slow: The same of the slow one.
        codes: The column of each row's label.
    """
    slow_right, fast_right = (
        (table.argmax(axis=1) == codes).astype(np.float64) for table in (slow, fast)
    )
    lost: FloatArray = slow_right - fast_right
    return lost


def losses_by_slow_answers(fast: FloatArray, slow: FloatArray) -> FloatArray:
    """Return how much less probable the fast one's label is, by the slow one's probabilities.

    That is the accuracy that is lost on average, if the slow one's probabilities are right. Where
    it is too sure of itself, the loss is overstated, and fewer texts go to the fast one.
    """
    rows = np.arange(len(slow))
    lost: FloatArray = slow.max(axis=1) - slow[rows, fast.argmax(axis=1)]
    return lost
