"""Label scores -> probabilities: one slope for all of them, and a bias for each label.

Knows nothing about where the scores come from. For two labels this is Platt's scaling (Platt 1999,
"Probabilistic outputs for support vector machines"), with priors that keep it where it was unless
labels say otherwise: few labels may move it a little, and none can turn it round.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

FloatArray = NDArray[np.float64]

# Standard deviations of the normal priors.
_SLOPE_SPREAD = 0.5  # of the slope's logarithm, which so is never negative
_BIAS_SPREAD = 0.3  # of each bias, in log-odds: with 0.4 a draw of 16 lost up to 3.6 points
_UNCENTRED_SPREAD = 0.4  # where no texts have shown how far the model leans to a label


@dataclass(frozen=True, kw_only=True)
class ScaledScores:
    """A slope and biases, learned from labels."""

    slope: float
    bias: FloatArray
    """``(labels,)``."""

    def probabilities(self, scores: FloatArray) -> FloatArray:
        """Return ``(texts, labels)`` of log-probabilities of the same shape."""
        probabilities: FloatArray = softmax(self.slope * scores + self.bias, axis=-1)
        return probabilities

    def arrays(self) -> dict[str, FloatArray]:
        """Return what `from_arrays` reads."""
        return {"slope": np.array([self.slope]), "bias": self.bias}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self:
        """Return the scaling of `arrays`."""
        return cls(slope=float(arrays["slope"][0]), bias=arrays["bias"])


def fit_scaling(
    scores: FloatArray,
    labels: NDArray[np.int64],
    weights: FloatArray | None = None,
    *,
    centred: bool = True,
) -> ScaledScores:
    """Return the scaling that is most probable given labelled scores and the priors.

    Args:
        scores: Log-probabilities, ``(texts, labels)``.
        labels: ``(texts,)``, as columns of the scores.
        weights: How often each text counts, ``(texts,)``; None: once.
        centred: Whether batch calibration has been applied to the scores.
    """
    counts = np.ones(len(labels)) if weights is None else weights
    rows = np.arange(len(labels))
    count = scores.shape[1]
    bias_spread = _BIAS_SPREAD if centred else _UNCENTRED_SPREAD
    spreads = np.array([_SLOPE_SPREAD, *[bias_spread] * count])

    def loss(changes: FloatArray) -> float:
        found = log_softmax(np.exp(changes[0]) * scores + changes[1:], axis=-1)[rows, labels]
        return float(-(counts * found).sum() + 0.5 * ((changes / spreads) ** 2).sum())

    # One bias too many: the same number added to all changes nothing. The prior settles it.
    best: Any = minimize(loss, np.zeros(1 + count), method="L-BFGS-B")
    return ScaledScores(slope=float(np.exp(best.x[0])), bias=best.x[1:])
