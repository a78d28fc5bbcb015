"""How good one predictions table is: accuracy with its interval, calibration, coverage.

Knows nothing about models, nor about any other table: two tables meet in `comparison`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pollice.errors import OptionError, PredictionsError
from pollice.judging.ordinal import OrdinalEvaluation, evaluate_on_scale
from pollice.predictions.foreign_columns import RANGE_TOLERANCE, SUM_TOLERANCE
from pollice.predictions.predictor import FloatArray
from pollice.predictions.table import Predictions

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_BINS = 15  # Guo et al. (2017), section 5
_EPSILON = float(np.finfo(np.float64).eps)  # scikit-learn's clip in log_loss
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
    """The rows with probabilities whose confidence lies in ``(lower, upper]``."""

    lower: float
    upper: float
    confidence: float
    """The mean probability of the most probable label."""
    accuracy: float
    """The share of rows whose most probable label is right."""
    rows: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one predictions table is worth against its gold labels.

    A row whose probabilities are NaN has no answer. With ``abstain_below`` others have none
    either, but keep their probabilities: what judges probabilities, from ``roc_auc`` to
    ``reliability``, is of all ``scored_rows``, so abstaining cannot embellish it.
    """

    label_names: tuple[str, ...]
    rows: int
    accuracy: float
    """A row without an answer counts as wrong: this is the worst case where some have none."""
    accuracy_interval: tuple[float, float]
    """95 % score interval (Wilson 1927, JASA 22, p. 209)."""
    per_label: Mapping[str, LabelEvaluation]
    macro_f1: float
    """The mean over every label of the table, those without a row included as 0.0."""
    balanced_accuracy: float
    """The mean of the labels' accuracies, of those that have a row: guessing gives one by their
    number, whatever the shares of the labels are."""
    balanced_accuracy_interval: tuple[float, float]
    """95 %: the labels' Wilson intervals, squared and added (Newcombe 1998, Stat. Med. 17, p. 873;
    Zou and Donner 2008, Stat. Med. 27, p. 1693)."""
    matthews: float
    """R_K for K labels (Gorodkin 2004, Comput. Biol. Chem. 28, p. 367); "no answer" is a label."""
    roc_auc: float | None
    """None unless there are two labels and rows of both."""
    log_loss: float
    """In nats, clipped as in scikit-learn; its worst where no row has probabilities."""
    expected_calibration_error: float
    """Guo et al. 2017, arXiv 1706.04599, eq. 3; 1.0 where no row has probabilities."""
    reliability: tuple[ReliabilityBin, ...]
    """Of 15 bins of equal width, those that hold a row."""
    confusion: tuple[tuple[int, ...], ...]
    """``(gold labels, predicted labels + 1)`` rows; the last column is "no answer"."""
    scored_rows: int
    """The rows with probabilities."""
    tied_rows: int
    """The answered rows of which several labels share the highest probability. Such a row is
    answered with the label whose name is sorted first, whatever the order of the columns."""
    coverage: float
    """The share of rows with an answer."""
    answered_accuracy: float | None
    answered_accuracy_interval: tuple[float, float] | None
    """95 % Wilson, of the answered rows; None where none answered."""
    abstain_below: float | None
    """Rows whose highest probability is below it have no answer; None: every row keeps its own."""
    truncated_rows: int | None
    """None, as the two below, where the table does not say which rows were cut."""
    truncated_accuracy: float | None
    untruncated_accuracy: float | None
    majority_label: str
    """The commonest gold label; of several the one whose name is sorted first."""
    majority_accuracy: float
    """What always answering the commonest gold label would give."""
    ordinal: OrdinalEvaluation | None = None
    """Where the labels are the steps of a scale."""
    unread_rows: int | None = None
    """The rows of whose text the model knew nothing; None where no row has any tokens, as in the
    table of another system that does not count them."""


def evaluate(
    predictions: Predictions,
    *,
    abstain_below: float | None = None,
    scale: tuple[str, ...] | None = None,
    seed: int = 0,
) -> Evaluation:
    """Judge a table against its gold labels; rows without one are not counted.

    Args:
        predictions: The table.
        abstain_below: A row whose highest probability is below it has no answer.
        scale: The labels from the lowest to the highest, where they are the steps of a scale.
        seed: Taken as `compare` takes it; nothing here is drawn at random.

    Raises:
        PredictionsError: no rows, no gold labels, a gold label that is no column, a row that is
            neither probabilities nor NaN, or a scale that does not name each label once.
        OptionError: ``abstain_below`` is not in [0, 1).
    """
    predictions = predictions.labelled
    gold = _gold(predictions)
    scored = _scored(predictions)
    answered = scored & ~_unsure(predictions, abstain_below)
    labels = len(predictions.label_names)
    answers = np.where(answered, predictions.answers, labels)
    # `labels` is no gold column, so a row without an answer is never right.
    right = answers == gold
    confusion = count_answers(gold, answers, labels)
    probabilities, truth = predictions.probabilities[scored], gold[scored]
    per_label = {
        name: _label_evaluation(confusion, column)
        for column, name in enumerate(predictions.label_names)
    }
    balanced, balanced_interval = balanced_accuracy(confusion)
    majority = majority_column(gold, predictions.label_names)
    return Evaluation(
        label_names=predictions.label_names,
        rows=len(gold),
        **_judge_answers(right, answered),
        per_label=per_label,
        macro_f1=float(np.mean([label.f1 for label in per_label.values()])),
        balanced_accuracy=balanced,
        balanced_accuracy_interval=balanced_interval,
        matthews=_matthews(confusion),
        **_judge_probabilities(probabilities, truth, predictions.answers[scored] == truth),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        scored_rows=int(scored.sum()),
        tied_rows=int((predictions.tied & answered).sum()),
        abstain_below=abstain_below,
        **_judge_cut_rows(predictions, right),
        majority_label=predictions.label_names[majority],
        majority_accuracy=float((gold == majority).mean()),
        ordinal=(
            evaluate_on_scale(scale, predictions.label_names, confusion, probabilities, truth)
            if scale is not None
            else None
        ),
    )


def _judge_answers(right: NDArray[np.bool_], answered: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the figures of all rows, and of those that have an answer."""
    hits = int(right.sum())
    return {
        "accuracy": float(right.mean()),
        "accuracy_interval": wilson_interval(hits, len(right)),
        "coverage": float(answered.mean()),
        "answered_accuracy": _share(right, answered),
        "answered_accuracy_interval": (
            wilson_interval(hits, int(answered.sum())) if answered.any() else None
        ),
    }


def _judge_probabilities(
    probabilities: FloatArray, truth: IntArray, right: BoolArray
) -> dict[str, Any]:
    """Return the fields that need probabilities, over the rows that have them."""
    reliability = _reliability(probabilities.max(axis=1, initial=0.0), right)
    return {
        "roc_auc": _roc_auc(probabilities, truth),
        "log_loss": _log_loss(probabilities, truth),
        "expected_calibration_error": _expected_calibration_error(reliability),
        "reliability": reliability,
    }


def _judge_cut_rows(predictions: Predictions, right: BoolArray) -> dict[str, Any]:
    """Return the fields on texts that were cut or not read; None where that is unknown."""
    cut = predictions.truncated
    return {
        "truncated_rows": predictions.cut_rows,
        "unread_rows": predictions.unread_rows if predictions.tokens.any() else None,
        "truncated_accuracy": None if cut is None else _share(right, cut),
        "untruncated_accuracy": None if cut is None else _share(right, ~cut),
    }


def count_answers(gold: IntArray, answers: IntArray, labels: int) -> IntArray:
    """Return the confusion matrix ``(labels, labels + 1)``; the answer ``labels`` is none."""
    counts = np.bincount(gold * (labels + 1) + answers, minlength=labels * (labels + 1))
    return counts.reshape(labels, labels + 1)


def majority_column(gold: IntArray, label_names: Sequence[str]) -> int:
    """Return the column of the commonest gold label; of several the one whose name sorts first."""
    counts = np.bincount(gold, minlength=len(label_names))
    return min(range(len(label_names)), key=lambda column: (-counts[column], label_names[column]))


def balanced_accuracy(confusion: IntArray) -> tuple[float, tuple[float, float]]:
    """Return the mean of the accuracies of the labels that have a row, and its 95 % interval."""
    rights = [
        (int(confusion[column, column]), int(row.sum())) for column, row in enumerate(confusion)
    ]
    parts = [(right / rows, *wilson_interval(right, rows)) for right, rows in rights if rows]
    mean = sum(share for share, _, _ in parts) / len(parts)
    # Each side has its own distances, as Wilson's limits are not symmetric about the share.
    below = sqrt(sum((share - low) ** 2 for share, low, _ in parts)) / len(parts)
    above = sqrt(sum((high - share) ** 2 for share, _, high in parts)) / len(parts)
    return mean, (max(0.0, mean - below), min(1.0, mean + above))


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
    # NaN compares as False: a row without probabilities is not "unsure", it is not scored.
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
        (columns[str(label)] for label in predictions.gold), np.int64, count=len(predictions)
    )


def _scored(predictions: Predictions) -> BoolArray:
    """Return which rows have probabilities; raise where numbers are no probabilities."""
    probabilities = predictions.probabilities
    scored = np.logical_not(np.isnan(probabilities).any(axis=1))
    lowest, highest = probabilities.min(axis=1), probabilities.max(axis=1)
    outside = (lowest < -RANGE_TOLERANCE) | (highest > 1 + RANGE_TOLERANCE)
    # Infinities are outside already, and their sum may be NaN.
    sums = np.where(np.isfinite(probabilities), probabilities, 0.0).sum(axis=1)
    unsound = np.flatnonzero(scored & (outside | (np.abs(sums - 1) > SUM_TOLERANCE)))
    if len(unsound):
        row = int(unsound[0])
        raise PredictionsError(
            "Expected probabilities between 0 and 1 that sum to 1 in every row, but those of row "
            f"'{predictions.ids[row]}' lie between {lowest[row]:g} and {highest[row]:g} and sum to "
            f"{sums[row]:g}. Normalise each row, or write NaN where there is no answer."
        )
    return scored


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
    # The Mann-Whitney count by binary search; comparing every two rows would be quadratic.
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
    # "left" puts a confidence on an edge into the lower bin, as the bins are (lower, upper].
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
