"""Weights for labelled rows: together they stand for all texts, though uncertain ones were asked.

Knows nothing about models, and nothing about how rows were chosen.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_UNCERTAIN = 0.5  # the share of all texts that counts as uncertain; docs/prompting.md has the trial


def weights_of(labelled: FloatArray, texts: FloatArray) -> FloatArray:
    """Return a weight for each labelled row, ``(rows,)``; their mean is 1.

    Who checks uncertain rows by hand knows too many of them: a step learned or judged on those
    alone does well where answers hang in the balance, and harms the many clear ones. So where the
    uncertain half of the texts has more than half of the rows, both halves are weighted to be equal
    (post-stratification: Holt and Smith 1979, J. R. Statist. Soc. A 142, p. 33). Rows drawn at
    random keep weights near 1.

    Args:
        labelled: Probabilities of the labelled rows before labels were used, ``(rows, labels)``.
        texts: Those of texts that stand for all, ``(texts, labels)``.
    """
    weights = np.ones(len(labelled))
    if not len(texts):
        return weights
    uncertain = _lead(labelled) <= np.quantile(_lead(texts), _UNCERTAIN)
    known = float(uncertain.mean()) if len(labelled) else 0.0
    # Without a single clear row, nothing could make up for the others.
    if _UNCERTAIN < known < 1:
        weights[uncertain] = _UNCERTAIN / known
        weights[~uncertain] = (1 - _UNCERTAIN) / (1 - known)
    return weights


def _lead(probabilities: FloatArray) -> FloatArray:
    """Return by how much the most probable label leads, ``(rows,)``."""
    ordered = np.sort(probabilities, axis=1)
    lead: FloatArray = ordered[:, -1] - ordered[:, -2]
    return lead
