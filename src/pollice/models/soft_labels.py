"""Probabilities as labels, for whatever learns from labels and weights alone.

Knows nothing about where the probabilities come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SoftLabels = Sequence[Sequence[float]]
"""For each row the probability of each label."""

_LEAST = 0.005  # a copy that counts less changes nothing that can be measured, and takes its time


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Every row once for each label that it may have, weighted by its probability.

    The weighted log loss of the copies is the cross-entropy with the probabilities.
    """

    rows: NDArray[np.int64]
    """The row that each copy is of."""
    labels: tuple[str, ...]
    weights: tuple[float, ...]


def copy_by_label(
    soft_labels: SoftLabels, label_names: Sequence[str], weights: Sequence[float] | None = None
) -> Copies:
    """Return a copy of each row for each of its labels but the hardly possible ones.

    Args:
        soft_labels: The probabilities, ``(rows, labels)``.
        label_names: The order of their columns.
        weights: How much each row counts; None: all alike.
    """
    table = np.asarray(soft_labels, np.float64)
    rows, columns = np.nonzero(table >= min(_LEAST, 1 / len(label_names)))
    counts = np.ones(len(table)) if weights is None else np.asarray(weights, np.float64)
    return Copies(
        rows=rows,
        labels=tuple(label_names[column] for column in columns.tolist()),
        weights=tuple((table[rows, columns] * counts[rows]).tolist()),
    )
