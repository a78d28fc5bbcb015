"""One score of polarity -> probabilities for the steps of a scale: a cumulative link model.

Knows nothing about where the score comes from. The model is the proportional odds model of
McCullagh 1980, "Regression models for ordinal data", section 2: the odds of a step or a lower one
are ``exp(threshold - slope * score)``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from pollice.data.scales import Scale

FloatArray = NDArray[np.float64]

DEFAULT_SLOPE = 2.0
"""Of the log-odds of a unit of score; docs/prompting.md says on what it was chosen."""
_CUTS = (0.0, 0.5, 2.0, 3.5)
_THRESHOLDS = (0.0, 0.96, 3.9, 6.84)
"""Where on the line of opinions two steps meet, and the threshold that goes with it."""

_NARROWEST = 1.5  # between thresholds 1.39 apart or less, a step is never the most probable one

# How far labels may move the defaults: standard deviations of normal priors.
_SLOPE_SPREAD = 0.35  # of the slope's logarithm, which so is never negative
_PLACE_SPREAD = 0.7  # of all thresholds together, in log-odds
_GAP_SPREAD = 0.25  # of the logarithm of the distance between two thresholds
_LEAST = 1e-12


@dataclass(frozen=True, kw_only=True)
class OrderedSteps:
    """Thresholds on a score, between the steps of a scale."""

    slope: float
    thresholds: FloatArray
    """``(steps - 1,)``, rising."""
    columns: NDArray[np.int64]
    """``(steps,)``: the label column of each step, from the worst to the best."""

    def probabilities(self, score: FloatArray) -> FloatArray:
        """Return ``(texts, labels)`` of scores ``(texts,)``."""
        steps = _step_probabilities(self.slope, self.thresholds, score)
        probabilities = np.empty_like(steps)
        probabilities[:, self.columns] = steps
        return probabilities

    def said(self) -> str:
        """Return slope and thresholds in words."""
        thresholds = ", ".join(f"{threshold:.2f}" for threshold in self.thresholds)
        return f"slope {self.slope:.2f}, thresholds {thresholds}"

    def arrays(self) -> dict[str, FloatArray]:
        """Return what `from_arrays` reads."""
        return {
            "slope": np.array([self.slope]),
            "thresholds": self.thresholds,
            "columns": self.columns.astype(np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self:
        """Return the steps of `arrays`."""
        return cls(
            slope=float(arrays["slope"][0]),
            thresholds=arrays["thresholds"],
            columns=arrays["columns"].astype(np.int64),
        )


def default_steps(scale: Scale, label_names: Sequence[str]) -> OrderedSteps:
    """Return the steps of a scale before any label is seen."""
    cuts = np.array(scale.cuts)
    thresholds = np.sign(cuts) * np.interp(np.abs(cuts), _CUTS, _THRESHOLDS)
    columns = np.array([label_names.index(name) for name in scale.names], np.int64)
    narrowest = float(np.diff(thresholds).min()) if len(thresholds) > 1 else _NARROWEST
    # Slope and thresholds grow alike, so the scores at which steps meet stay where they were.
    sharper = max(1.0, _NARROWEST / narrowest)
    return OrderedSteps(
        slope=DEFAULT_SLOPE * sharper, thresholds=thresholds * sharper, columns=columns
    )


def fit_steps(
    defaults: OrderedSteps,
    score: FloatArray,
    labels: NDArray[np.int64],
    weights: FloatArray | None = None,
) -> OrderedSteps:
    """Return the steps that are most probable given labelled scores and a prior on the defaults.

    Args:
        defaults: Where the thresholds lie without labels.
        score: ``(texts,)``.
        labels: ``(texts,)``, as columns of the labels.
        weights: How often each text counts, ``(texts,)``; None: once.
    """
    counts = np.ones(len(labels)) if weights is None else weights
    # The inverse permutation: `columns` gives the column of each step.
    step_of = np.argsort(defaults.columns)
    steps = step_of[labels]
    gaps = np.log(np.diff(defaults.thresholds))

    def moved(changes: FloatArray) -> tuple[float, FloatArray]:
        first = changes[1]
        # Gaps as logarithms: the thresholds rise whatever the optimizer tries. Their middle is
        # held, so that a change of gaps does not also move the whole.
        rest = np.exp(gaps + changes[2:])
        middle = np.interp(
            (len(rest)) / 2, np.arange(len(rest) + 1), np.concatenate([[0.0], np.cumsum(rest)])
        )
        centre = np.interp((len(rest)) / 2, np.arange(len(rest) + 1), defaults.thresholds)
        thresholds = centre + first - middle + np.concatenate([[0.0], np.cumsum(rest)])
        return defaults.slope * float(np.exp(changes[0])), thresholds

    spreads = np.array([_SLOPE_SPREAD, _PLACE_SPREAD, *[_GAP_SPREAD] * len(gaps)])

    def loss(changes: FloatArray) -> float:
        found = _step_probabilities(*moved(changes), score)[np.arange(len(steps)), steps]
        surprise = -(counts * np.log(found + _LEAST)).sum()
        return float(surprise + 0.5 * ((changes / spreads) ** 2).sum())

    best: Any = minimize(loss, np.zeros(2 + len(gaps)), method="L-BFGS-B")
    slope, thresholds = moved(best.x)
    return OrderedSteps(slope=slope, thresholds=thresholds, columns=defaults.columns)


def _step_probabilities(slope: float, thresholds: FloatArray, score: FloatArray) -> FloatArray:
    """Return ``(texts, steps)``, the worst step first."""
    below = expit(thresholds[None, :] - slope * score[:, None])
    edges = np.zeros((len(score), 1)), np.ones((len(score), 1))
    # Steps between rising values from 0 to 1: none is negative, and a row sums to 1.
    return np.diff(np.concatenate([edges[0], below, edges[1]], axis=1), axis=1)
