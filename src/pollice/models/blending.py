"""Several predictors' probabilities -> one: their log-odds, averaged or weighted.

Knows nothing about predictors: it is numbers. Weighting is a multinomial regression on the members'
log-probabilities, with normal priors that keep it at the average unless labels say otherwise, as in
`pollice.models.scaled_scores`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from pollice.models.linear_head import fold_rows

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LEAST_ROWS = 64
"""From so many labelled rows on, weights are looked for."""
_LEAST = 1e-6  # of a probability: a member that is certain and wrong must not decide alone
# Standard deviations of the normal priors: of a weight's logarithm, and of a bias in log-odds.
_WEIGHT_SPREAD = 0.5
_BIAS_SPREAD = 0.4


@dataclass(frozen=True, kw_only=True)
class Blend:
    """A weight for each member, and a bias for each label."""

    weights: FloatArray
    """``(members,)``."""
    bias: FloatArray
    """``(labels,)``."""

    def probabilities(self, tables: FloatArray) -> FloatArray:
        """Return ``(rows, labels)`` of the members' probabilities, ``(members, rows, labels)``."""
        probabilities: FloatArray = softmax(_logits(self.weights, self.bias, _logs(tables)), axis=1)
        return probabilities

    def arrays(self) -> dict[str, FloatArray]:
        """Return what `from_arrays` reads."""
        return {"weights": self.weights, "bias": self.bias}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self:
        """Return the blend of `arrays`."""
        return cls(weights=arrays["weights"], bias=arrays["bias"])


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A blend, and why it was taken."""

    blend: Blend
    step: str
    """``average`` or ``stack``."""
    reason: str


def average(members: int, labels: int) -> Blend:
    """Return the average of the members' log-odds."""
    return Blend(weights=np.full(members, 1 / members), bias=np.zeros(labels))


def fit_blend(tables: FloatArray, codes: IntArray) -> Blend:
    """Return the weights that are most probable given labelled rows and the priors.

    Args:
        tables: The members' probabilities, ``(members, rows, labels)``.
        codes: ``(rows,)``, as columns of the tables.
    """
    logs = _logs(tables)
    members, rows, labels = tables.shape
    spreads = np.array([*[_WEIGHT_SPREAD] * members, *[_BIAS_SPREAD] * labels])

    def parts(changes: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.exp(changes[:members]) / members, changes[members:]

    def loss(changes: FloatArray) -> float:
        found = log_softmax(_logits(*parts(changes), logs), axis=1)[np.arange(rows), codes]
        return float(-found.sum() + 0.5 * ((changes / spreads) ** 2).sum())

    best: Any = minimize(loss, np.zeros(members + labels), method="L-BFGS-B")
    weights, bias = parts(best.x)
    return Blend(weights=weights, bias=bias)


def choose_blend(tables: FloatArray, codes: IntArray) -> Choice:
    """Return fitted weights if cross-validation shows that they are better, else the average.

    Better: the mean log loss on held-out rows is less by more than one standard error of the rows'
    differences. With fewer than 64 rows nothing is tried.
    """
    members, rows, labels = tables.shape
    usual = average(members, labels)
    if rows < LEAST_ROWS:
        reason = f"weights are looked for from {LEAST_ROWS} labelled validation rows on"
        return Choice(blend=usual, step="average", reason=reason)
    gains = np.zeros(rows)
    for train, held in fold_rows(codes):
        fitted = fit_blend(tables[:, train], codes[train])
        place = np.arange(len(held)), codes[held]
        before, after = (
            np.log(each.probabilities(tables[:, held])[place]) for each in (usual, fitted)
        )
        gains[held] = after - before
    error = float(gains.std(ddof=1) / np.sqrt(rows))
    gain = float(gains.mean())
    figures = f"{gain:+.4f} in log loss, standard error {error:.4f}".replace("-", "\N{MINUS SIGN}")
    if gain > error:
        reason = f"weights are better on held-out validation rows (a gain of {figures})"
        return Choice(blend=fit_blend(tables, codes), step="stack", reason=reason)
    reason = f"weights are not shown to be better on held-out validation rows ({figures})"
    return Choice(blend=usual, step="average", reason=reason)


def _logs(tables: FloatArray) -> FloatArray:
    logs: FloatArray = np.log(np.maximum(tables, _LEAST))
    return logs


def _logits(weights: FloatArray, bias: FloatArray, logs: FloatArray) -> FloatArray:
    logits: FloatArray = np.tensordot(weights, logs, axes=1) + bias
    return logits
