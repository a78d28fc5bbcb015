"""How good one predictions table is: accuracy with its interval, calibration, coverage.

Knows nothing about models, nor about any other table: two tables meet in `comparison`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pollice.errors import OptionError, PredictionsError
from pollice.predictions.predictor import FloatArray
from pollice.predictions.table import Predictions

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_BINS = 15  # Guo et al. (2017), section 5
_EPSILON = float(np.finfo(np.float64).eps)  # scikit-learn's clip in log_loss
_RANGE_TOLERANCE = 1e-6
_SUM_TOLERANCE = 1e-3
_Z = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, kw_only=True)
class LabelEvaluation:
    """One label against all others; what is undefined is 0.0, as scikit-learn's ``zero_division``.

    A row without an answer is missed by its own label and claimed by none.
    """

    accuracy: float
    """The share of the label's own rows that were answered rightly: its recall."""
    precision: float
    recall: float
    f1: float
    support: int
    """The rows whose gold label it is."""


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The answered rows whose confidence lies in ``(lower, upper]``."""

    lower: float
    upper: float
    confidence: float
    """The mean probability of the predicted label."""
    accuracy: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one predictions table is worth against its gold labels."""

    label_names: tuple[str, ...]
    rows: int
    accuracy: float
    """A row without an answer counts as wrong: this is the worst case where some have none."""
    accuracy_interval: tuple[float, float]
    """95 % score interval (Wilson 1927, JASA 22, p. 209)."""
    per_label: Mapping[str, LabelEvaluation]
    macro_f1: float
    """The mean over every label of the table, those without a row included as 0.0."""
    matthews: float
    """R_K for K labels (Gorodkin 2004, Comput. Biol. Chem. 28, p. 367); "no answer" is a label."""
    roc_auc: float | None
    """Of the answered rows; None unless there are two labels and rows of both."""
    log_loss: float
    """In nats, of the answered rows, clipped as in scikit-learn; its worst where none answered."""
    expected_calibration_error: float
    """Of the answered rows (Guo et al. 2017, arXiv 1706.04599, eq. 3); 1.0 where none answered."""
    reliability: tuple[ReliabilityBin, ...]
    """Of 15 bins of equal width, those that hold a row."""
    confusion: tuple[tuple[int, ...], ...]
    """``(gold labels, predicted labels + 1)`` rows; the last column is "no answer"."""
    coverage: float
    """The share of rows with an answer."""
    answered_accuracy: float | None
    answered_accuracy_interval: tuple[float, float] | None
    """95 % Wilson, of the answered rows; None where none answered."""
    abstain_below: float | None
    """Rows whose highest probability is below it have no answer; None: every row keeps its own."""
    truncated_rows: int
    truncated_accuracy: float | None
    untruncated_accuracy: float | None
    majority_accuracy: float
    """What always answering the commonest gold label would give."""


def evaluate(
    predictions: Predictions, *, abstain_below: float | None = None, seed: int = 0
) -> Evaluation:
    """Judge a table against its gold labels.

    A row whose highest probability is below ``abstain_below`` has no answer. ``seed`` is taken as
    `compare` takes it; nothing here is drawn at random. Raises PredictionsError without rows,
    without gold labels, where a gold label is no column, and where a row is neither probabilities
    nor NaN; OptionError where ``abstain_below`` is not in [0, 1).
    """
    gold = _gold(predictions)
    answered = _answered(predictions) & ~_unsure(predictions, abstain_below)
    probabilities = np.nan_to_num(predictions.probabilities)
    labels = len(predictions.label_names)
    predicted = np.where(answered, np.argmax(probabilities, axis=1), labels)
    right = predicted == gold
    confusion = np.bincount(gold * (labels + 1) + predicted, minlength=labels * (labels + 1))
    confusion = confusion.reshape(labels, labels + 1)
    confidence = probabilities.max(axis=1)[answered]
    reliability = _reliability(confidence, right[answered])
    per_label = {
        name: _label_evaluation(confusion, column)
        for column, name in enumerate(predictions.label_names)
    }
    return Evaluation(
        label_names=predictions.label_names,
        rows=len(gold),
        accuracy=float(right.mean()),
        accuracy_interval=wilson_interval(int(right.sum()), len(gold)),
        per_label=per_label,
        macro_f1=float(np.mean([label.f1 for label in per_label.values()])),
        matthews=_matthews(confusion),
        roc_auc=_roc_auc(probabilities[answered], gold[answered]),
        log_loss=_log_loss(probabilities[answered], gold[answered]),
        expected_calibration_error=_expected_calibration_error(reliability),
        reliability=reliability,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        coverage=float(answered.mean()),
        answered_accuracy=_share(right, answered),
        answered_accuracy_interval=(
            wilson_interval(int(right.sum()), int(answered.sum())) if answered.any() else None
        ),
        abstain_below=abstain_below,
        truncated_rows=int(predictions.truncated.sum()),
        truncated_accuracy=_share(right, predictions.truncated),
        untruncated_accuracy=_share(right, ~predictions.truncated),
        majority_accuracy=float(confusion.sum(axis=1).max() / len(gold)),
    )


def abstain(predictions: Predictions, below: float | None) -> Predictions:
    """Return the table without an answer where the highest probability is below a threshold.

    Raises:
        OptionError: the threshold is not in [0, 1).
    """
    unsure = _unsure(predictions, below)[:, None]
    return replace(predictions, probabilities=np.where(unsure, np.nan, predictions.probabilities))


def check_threshold(below: float | None) -> None:
    """Raise OptionError unless a threshold of abstention is in [0, 1), or None."""
    if below is not None and not 0 <= below < 1:
        raise OptionError(
            f"abstain_below is {below:g}, but no answer can be held to a probability outside "
            "[0, 1). Give the lowest probability to answer at, such as 0.8."
        )


def _unsure(predictions: Predictions, below: float | None) -> BoolArray:
    check_threshold(below)
    if below is None:
        return np.zeros(len(predictions), np.bool_)
    unsure: BoolArray = predictions.probabilities.max(axis=1, initial=-np.inf) < below
    return unsure


def _gold(predictions: Predictions) -> IntArray:
    """Return the column of each row's gold label."""
    if len(predictions) == 0:
        raise PredictionsError(
            "Expected a predictions table with rows to evaluate, but it has none. "
            "Predict at least one text."
        )
    if predictions.gold is None:
        raise PredictionsError(
            "Expected gold labels to evaluate against, but the table has none. "
            "Write the true labels as its column gold."
        )
    columns = {name: column for column, name in enumerate(predictions.label_names)}
    unknown = sorted(map(str, set(predictions.gold) - set(columns)))
    if unknown:
        raise PredictionsError(
            f"Expected every gold label to be one of {', '.join(columns)}, but '{unknown[0]}' has "
            "no probability column. Write the labels and the columns with the same names."
        )
    return np.fromiter(
        (columns[label] for label in predictions.gold), np.int64, count=len(predictions)
    )


def _answered(predictions: Predictions) -> BoolArray:
    """Return which rows have an answer; raise where an answer is not probabilities."""
    probabilities = predictions.probabilities
    answered = np.logical_not(np.isnan(probabilities).any(axis=1))
    lowest, highest = probabilities.min(axis=1), probabilities.max(axis=1)
    outside = (lowest < -_RANGE_TOLERANCE) | (highest > 1 + _RANGE_TOLERANCE)
    # Infinities are outside already, and their sum may be NaN.
    sums = np.where(np.isfinite(probabilities), probabilities, 0.0).sum(axis=1)
    unsound = np.flatnonzero(answered & (outside | (np.abs(sums - 1) > _SUM_TOLERANCE)))
    if len(unsound):
        row = int(unsound[0])
        raise PredictionsError(
            "Expected probabilities between 0 and 1 that sum to 1 in every row, but those of row "
            f"'{predictions.ids[row]}' lie between {lowest[row]:g} and {highest[row]:g} and sum to "
            f"{sums[row]:g}. Normalise each row, or write NaN where there is no answer."
        )
    return answered


def wilson_interval(right: int, rows: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson 1927, JASA 22, p. 209)."""
    share = right / rows
    scale = 1 + _Z**2 / rows
    centre = (share + _Z**2 / (2 * rows)) / scale
    half = _Z * sqrt(share * (1 - share) / rows + _Z**2 / (4 * rows**2)) / scale
    # The ends are exact where every row is right or wrong; rounding must not move them.
    lower = 0.0 if right == 0 else centre - half
    upper = 1.0 if right == rows else centre + half
    return lower, upper


def _label_evaluation(confusion: IntArray, column: int) -> LabelEvaluation:
    hits = int(confusion[column, column])
    support = int(confusion[column].sum())
    claimed = int(confusion[:, column].sum())
    recall = hits / support if support else 0.0
    return LabelEvaluation(
        accuracy=recall,
        precision=hits / claimed if claimed else 0.0,
        recall=recall,
        f1=2 * hits / (support + claimed) if support + claimed else 0.0,
        support=support,
    )


def _matthews(confusion: IntArray) -> float:
    """R_K in the form of Gorodkin (2004), eq. 8; 0.0 where gold or predicted never varies."""
    counts = confusion.astype(np.float64)  # squares of a million rows overflow no float
    rows = counts.sum()
    claimed = counts.sum(axis=0)
    support = np.append(counts.sum(axis=1), 0.0)  # no gold label is "no answer"
    covariance = np.trace(counts) * rows - claimed @ support
    variance = (rows**2 - claimed @ claimed) * (rows**2 - support @ support)
    return float(covariance / np.sqrt(variance)) if variance else 0.0


def _roc_auc(probabilities: FloatArray, gold: IntArray) -> float | None:
    """Return the chance that a row of the second label outranks one of the first; ties are half."""
    if probabilities.shape[1] != 2 or len(np.unique(gold)) < 2:
        return None
    scores = probabilities[:, 1]
    positives, negatives = np.sort(scores[gold == 1]), np.sort(scores[gold == 0])
    below = np.searchsorted(negatives, positives, side="left").mean()
    not_above = np.searchsorted(negatives, positives, side="right").mean()
    return float((below + not_above) / 2 / len(negatives))


def _log_loss(probabilities: FloatArray, gold: IntArray) -> float:
    if len(gold) == 0:
        return float(-np.log(_EPSILON))
    given = np.clip(probabilities[np.arange(len(gold)), gold], _EPSILON, 1 - _EPSILON)
    return float(-np.log(given).mean())


def _reliability(confidence: FloatArray, right: BoolArray) -> tuple[ReliabilityBin, ...]:
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    bins = np.searchsorted(edges[1:-1], confidence, side="left")
    rows = np.bincount(bins, minlength=_BINS)
    confidences = np.bincount(bins, weights=confidence, minlength=_BINS)
    rights = np.bincount(bins, weights=right, minlength=_BINS)
    return tuple(
        ReliabilityBin(
            lower=float(edges[index]),
            upper=float(edges[index + 1]),
            confidence=float(confidences[index] / rows[index]),
            accuracy=float(rights[index] / rows[index]),
            rows=int(rows[index]),
        )
        for index in np.flatnonzero(rows)
    )


def _expected_calibration_error(reliability: tuple[ReliabilityBin, ...]) -> float:
    rows = sum(part.rows for part in reliability)
    gaps = sum(part.rows * abs(part.accuracy - part.confidence) for part in reliability)
    return gaps / rows if rows else 1.0


def _share(right: BoolArray, among: BoolArray) -> float | None:
    return float(right[among].mean()) if among.any() else None
