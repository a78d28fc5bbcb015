"""Logistic regressions of one label against the rest, on features that are there or not.

Knows nothing about texts. The features come in blocks; those of a row are weighted, and divided by
their length, in each block alone. Weights are naive Bayes log-count ratios (Wang and Manning 2012;
with logistic regression Mesnil et al., arXiv 1412.5335) or how rare a feature is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from scipy.special import log_expit, log_softmax
from sklearn.linear_model import LogisticRegression

from pollice.models.linear_head import ABSENT, fold_rows, label_codes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Weighting = Literal["ratios", "rarity"]

_STRENGTHS = (0.25, 1.0, 4.0, 16.0, 64.0)
_SHARPNESSES = (1.0, 1.25, 1.5, 2.0, 3.0)
_SMOOTHING = 1.0


@dataclass(frozen=True, kw_only=True)
class Block:
    """Features of one kind, ``(rows, features)`` of ones, and how they are weighted."""

    matrix: csr_matrix
    weighting: Weighting

    def take(self, rows: IntArray) -> "Block":
        """Return the block of some rows."""
        return Block(matrix=self.matrix[rows], weighting=self.weighting)


@dataclass(frozen=True, kw_only=True)
class OneAgainstRest:
    """One logistic regression for each label, or one in all where training had two labels."""

    importance: tuple[NDArray[np.float32], ...]
    """For each block ``(features, 1 or columns)``: what a feature adds to a row's length."""
    weight: tuple[NDArray[np.float32], ...]
    """For each block ``(features, columns)``: what it adds to the log-odds, before the length."""
    bias: FloatArray
    """``(columns,)``."""
    present: IntArray
    """The labels that training had; of two, the only column is that of the second."""
    labels: int
    sharpness: float = 1.0
    """The power of each label's probability before they are scaled to a sum of 1: of many labels,
    regressions that know nothing of each other are too unsure together."""

    @property
    def parameters(self) -> int:
        """The number of weights."""
        return sum(weight.size for weight in self.weight) + self.bias.size

    def predict_proba(self, blocks: Sequence[csr_matrix]) -> FloatArray:
        """Return probabilities ``(rows, labels)`` of blocks of ones ``(rows, features)``."""
        return np.exp(self.log_probabilities(blocks))

    def log_probabilities(self, blocks: Sequence[csr_matrix]) -> FloatArray:
        """Return their logarithms: each label's against the rest, scaled to a sum of 1."""
        odds = np.tile(self.bias, (blocks[0].shape[0], 1))
        for matrix, importance, weight in zip(blocks, self.importance, self.weight, strict=True):
            odds += _sums(matrix, weight) / _positive(
                np.sqrt(_sums(matrix, importance, squared=True))
            )
        every = np.full((len(odds), self.labels), ABSENT)
        if len(self.present) == 1:
            every[:, self.present] = 0.0
        else:
            every[:, self.present] = np.hstack([-odds, odds]) if len(self.present) == 2 else odds
        logarithms: FloatArray = log_softmax(self.sharpness * log_expit(every), axis=1)
        return logarithms

    def contributions(self, blocks: Sequence[csr_matrix], label: int) -> list[FloatArray]:
        """Return what each feature of a single row adds to the log-odds of a label.

        Of more than two labels these are the log-odds of the label's own regression.

        Returns:
            For each block ``(features of the row,)``, in the order of its indices.
        """
        place = {int(each): number for number, each in enumerate(self.present)}.get(label)
        found = []
        for matrix, importance, weight in zip(blocks, self.importance, self.weight, strict=True):
            if place is None or len(self.present) == 1:
                found.append(np.zeros(len(matrix.indices)))
                continue
            length = _positive(np.sqrt(_sums(matrix, importance, squared=True)))[0]
            # Two labels share one regression, which is that of the second.
            sign, column = ((-1, 1)[place], 0) if len(self.present) == 2 else (1, place)
            per_column = length[min(column, len(length) - 1)]
            found.append(sign * weight[matrix.indices, column].astype(np.float64) / per_column)
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `from_arrays` reads."""
        blocks = {
            f"{name}.{number}": array
            for name, arrays in (("importance", self.importance), ("weight", self.weight))
            for number, array in enumerate(arrays)
        }
        sharpness = np.array([self.sharpness])
        return {**blocks, "bias": self.bias, "present": self.present, "sharpness": sharpness}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], labels: int) -> Self:
        """Return the regressions of `arrays`."""
        blocks = sum(name.startswith("weight.") for name in arrays)
        return cls(
            importance=tuple(arrays[f"importance.{number}"] for number in range(blocks)),
            weight=tuple(arrays[f"weight.{number}"] for number in range(blocks)),
            bias=arrays["bias"],
            present=arrays["present"],
            labels=labels,
            sharpness=float(arrays["sharpness"][0]),
        )


def fit_one_against_rest(
    blocks: Sequence[Block],
    labels: Sequence[str],
    label_names: Sequence[str],
    *,
    validation: tuple[Sequence[csr_matrix], Sequence[str]] | None = None,
    strengths: Sequence[float] = _STRENGTHS,
    weights: Sequence[float] | None = None,
) -> tuple[OneAgainstRest, float]:
    """Return the fitted head, and its log loss on the rows that its regularization is chosen by.

    Args:
        blocks: The features of the training rows.
        labels: The label of each row.
        label_names: The order of the columns.
        validation: Blocks and labels to choose by; None: five-fold cross-validation.
        strengths: The inverse regularization strengths to choose from.
        weights: How much each row counts; None: all alike.
    """
    codes = label_codes(labels, label_names)
    count = len(label_names)
    counts = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    if validation is not None and len(validation[1]):
        heads = _fit_each(strengths, blocks, codes, counts, count)
        held_out = label_codes(validation[1], label_names)
        of_each = np.array([_loss(head, validation[0], held_out) for head in heads])
        best = int(np.argmin(of_each))
        return heads[best], float(of_each[best])
    losses: FloatArray | float = 0.0
    for train, held in fold_rows(codes):
        taken = [block.take(train) for block in blocks]
        heads = _fit_each(strengths, taken, codes[train], counts[train], count)
        unseen = [block.matrix[held] for block in blocks]
        losses = losses + np.array([_loss(head, unseen, codes[held]) for head in heads])
    best = int(np.argmin(losses))
    per_strength = len(_sharpnesses(codes))
    chosen = best // per_strength
    heads = _fit_each(strengths[chosen : chosen + 1], blocks, codes, counts, count)
    return heads[best % per_strength], float(np.min(losses))


def _sharpnesses(codes: IntArray) -> Sequence[float]:
    """Return what is tried: two labels share one regression, which needs none."""
    return _SHARPNESSES if len(np.unique(codes)) > 2 else (1.0,)


def _loss(head: OneAgainstRest, blocks: Sequence[csr_matrix], codes: IntArray) -> float:
    return -float(head.log_probabilities(blocks)[np.arange(len(codes)), codes].sum())


def _fit_each(
    strengths: Sequence[float],
    blocks: Sequence[Block],
    codes: IntArray,
    counts: FloatArray,
    labels: int,
) -> list[OneAgainstRest]:
    """Fit for every strength, each with every sharpness."""
    present = np.unique(codes)
    columns = present[1:] if len(present) == 2 else present if len(present) > 2 else present[:0]
    importance = [
        _importance(block, [codes == column for column in columns], counts) for block in blocks
    ]
    fitted = [
        _fit_column(
            strengths,
            [
                _weighted(block.matrix, each[:, min(number, each.shape[1] - 1)])
                for block, each in zip(blocks, importance, strict=True)
            ],
            codes == column,
            counts,
        )
        for number, column in enumerate(columns)
    ]
    heads = [
        _head(importance, [paths[place] for paths in fitted], present, labels)
        for place in range(len(strengths))
    ]
    return [replace(head, sharpness=each) for head in heads for each in _sharpnesses(codes)]


def _head(
    importance: Sequence[NDArray[np.float32]],
    columns: Sequence[tuple[NDArray[np.float32], float]],
    present: IntArray,
    labels: int,
) -> OneAgainstRest:
    sizes = [len(each) for each in importance]
    coefficients = np.zeros((sum(sizes), len(columns)), np.float32)
    for number, (coefficient, _) in enumerate(columns):
        coefficients[:, number] = coefficient
    parts = np.split(coefficients, np.cumsum(sizes)[:-1])
    return OneAgainstRest(
        importance=tuple(importance),
        weight=tuple(part * each for part, each in zip(parts, importance, strict=True)),
        bias=np.array([bias for _, bias in columns], np.float64),
        present=present,
        labels=labels,
    )


def _fit_column(
    strengths: Sequence[float],
    blocks: Sequence[csr_matrix],
    positive: NDArray[np.bool_],
    counts: FloatArray,
) -> list[tuple[NDArray[np.float32], float]]:
    features = blocks[0] if len(blocks) == 1 else hstack(blocks, format="csr")
    found = []
    # Each from the start: from where the one before ended, the solver stops at its first step.
    for strength in strengths:
        model = LogisticRegression(C=strength, max_iter=2000)
        model.fit(features, positive, sample_weight=counts)
        found.append((model.coef_[0].astype(np.float32), float(model.intercept_[0])))
    return found


def _importance(
    block: Block, targets: Sequence[NDArray[np.bool_]], counts: FloatArray
) -> NDArray[np.float32]:
    if block.weighting == "rarity" or not targets:
        rows, features = block.matrix.shape
        with_it = np.bincount(block.matrix.indices, minlength=features)
        rarity: NDArray[np.float64] = np.log((1 + rows) / (1 + with_it)) + 1
        return rarity.astype(np.float32)[:, None]
    ratios = [_log_count_ratios(block.matrix, positive, counts) for positive in targets]
    return np.stack(ratios, axis=1).astype(np.float32)


def _log_count_ratios(
    matrix: csr_matrix, positive: NDArray[np.bool_], counts: FloatArray
) -> FloatArray:
    """Return how much commoner each feature is among the positive rows, ``(features,)``."""
    of_entry = np.repeat(positive, np.diff(matrix.indptr))
    count_of_entry = np.repeat(counts, np.diff(matrix.indptr))
    shares = []
    for chosen in (of_entry, ~of_entry):
        found = np.bincount(
            matrix.indices[chosen], count_of_entry[chosen], minlength=matrix.shape[1]
        )
        smoothed = found + _SMOOTHING
        shares.append(np.log(smoothed / smoothed.sum()))
    ratios: FloatArray = shares[0] - shares[1]
    return ratios


def _weighted(matrix: csr_matrix, importance: NDArray[np.float32]) -> csr_matrix:
    """Return the features of each row, weighted and of length 1."""
    entries = importance.astype(np.float64)[matrix.indices]
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    lengths = _positive(np.sqrt(np.bincount(row, entries**2, minlength=matrix.shape[0])))
    return csr_matrix((entries / lengths[row], matrix.indices, matrix.indptr), shape=matrix.shape)


def _sums(
    matrix: csr_matrix, of_feature: NDArray[np.float32], *, squared: bool = False
) -> FloatArray:
    """Return the sum over the features of each row, ``(rows, columns)``.

    Only the rows of ``of_feature`` that are needed become float64: it may have a million.
    """
    needed, place = np.unique(matrix.indices, return_inverse=True)
    values = of_feature[needed].astype(np.float64)
    small = csr_matrix((matrix.data, place, matrix.indptr), shape=(matrix.shape[0], len(needed)))
    sums: FloatArray = small @ (values**2 if squared else values)
    return sums


def _positive(lengths: FloatArray) -> FloatArray:
    """Return lengths with 1 for 0, for rows without any feature."""
    return np.where(lengths > 0, lengths, 1.0)
