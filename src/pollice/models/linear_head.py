"""Linear classifiers on vectors: fitted by scikit-learn, kept as arrays.

Knows nothing about where the vectors come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from pollice.predictions.saved_files import damaged
from pollice.system.threads import few_threads

FloatArray = NDArray[np.float64]

_STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
ABSENT = -20.0
"""The log-odds of a label that training never saw: a probability of about 2e-9."""


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """Multinomial logistic regression; features are standardized by ``mean`` and ``scale``."""

    mean: FloatArray
    """``(features,)``."""
    scale: FloatArray
    """``(features,)``."""
    weight: FloatArray
    """``(features, labels)``."""
    bias: FloatArray
    """``(labels,)``."""

    def predict_proba(self, features: Any) -> FloatArray:
        """Return probabilities ``(rows, labels)`` of dense or sparse ``(rows, features)``."""
        if issparse(features):  # sparse features are never centred: it would fill them
            logits = features @ (self.weight / self.scale[:, None]) + self.bias
        else:
            logits = ((features - self.mean) / self.scale) @ self.weight + self.bias
        probabilities: FloatArray = softmax(logits, axis=1)
        return probabilities

    def arrays(self) -> dict[str, FloatArray]:
        """Return what `from_arrays` reads."""
        return {
            "mean": self.mean,
            "scale": self.scale,
            "weight": np.ascontiguousarray(self.weight),
            "bias": self.bias,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self:
        """Return the head of `arrays`."""
        return cls(**{name: arrays[name] for name in ("mean", "scale", "weight", "bias")})

    def check_shape(self, path: Path, features: int, labels: int) -> None:
        """Refuse a head that was read from a file and is for other features or labels.

        Raises:
            RunError: one of its arrays has another shape.
        """
        shapes = {
            "mean": (features,),
            "scale": (features,),
            "weight": (features, labels),
            "bias": (labels,),
        }
        for name, expected in shapes.items():
            found = getattr(self, name).shape
            if found != expected:
                raise damaged(path, f"{name} of the shape {expected}", f"its shape is {found}")
        if not self.scale.all():
            raise damaged(path, "scales other than 0", "scale holds 0")


def fit_head(
    features: Any,
    labels: Sequence[str],
    label_names: Sequence[str],
    *,
    validation: tuple[Any, Sequence[str]] | None = None,
    strengths: Sequence[float] = _STRENGTHS,
    weights: Sequence[float] | None = None,
) -> LinearHead:
    """Fit a head, its regularization chosen by log loss on validation rows.

    Args:
        features: ``(rows, features)``, dense or sparse.
        labels: The label of each row.
        label_names: The order of the columns.
        validation: Features and labels to choose by; None: five-fold cross-validation.
        strengths: The inverse regularization strengths to choose from.
        weights: How much each row counts; None: all alike.
    """
    steps = features.nnz if issparse(features) else features.size
    with few_threads(steps * len(label_names)):
        return _fit_head(features, labels, label_names, validation, strengths, weights)


def _fit_head(
    features: Any,
    labels: Sequence[str],
    label_names: Sequence[str],
    validation: tuple[Any, Sequence[str]] | None,
    strengths: Sequence[float],
    weights: Sequence[float] | None,
) -> LinearHead:
    counts = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    codes = label_codes(labels, label_names)
    mean, scale = _standardization(features)
    scaled = _standardized(features, mean, scale)
    if validation is not None and len(validation[1]):
        held_out = _standardized(validation[0], mean, scale)
        rounds = [(scaled, codes, counts, held_out, label_codes(validation[1], label_names))]
    else:
        rounds = [
            (scaled[train], codes[train], counts[train], scaled[held], codes[held])
            for train, held in fold_rows(codes)
        ]
    losses = [
        sum(_held_out_loss(strength, *one, len(label_names)) for one in rounds)
        for strength in strengths
    ]
    best = strengths[int(np.argmin(losses))]
    weight, bias = _fit(best, scaled, codes, counts, len(label_names))
    return LinearHead(mean=mean, scale=scale, weight=weight, bias=bias)


def label_codes(labels: Sequence[str], label_names: Sequence[str]) -> NDArray[np.int64]:
    """Return the column of each label, ``(rows,)``."""
    code_of = {name: code for code, name in enumerate(label_names)}
    return np.array([code_of[label] for label in labels], np.int64)


def _standardization(features: Any) -> tuple[FloatArray, FloatArray]:
    if issparse(features):
        return np.zeros(features.shape[1]), np.ones(features.shape[1])
    scale = features.std(axis=0)
    return features.mean(axis=0).astype(np.float64), np.where(scale > 0, scale, 1.0).astype(
        np.float64
    )


def _standardized(features: Any, mean: FloatArray, scale: FloatArray) -> Any:
    return features if issparse(features) else (features - mean) / scale


def fold_rows(codes: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the rows to train on and those to choose by, of five rounds or fewer.

    A label with one row allows no round. Then every strength has the loss 0, and argmin takes the
    first of them: by default the strongest regularization, as nothing speaks for a weaker one.
    """
    rarest = int(np.bincount(codes)[np.unique(codes)].min())
    if rarest < 2:
        return []
    splitter = StratifiedKFold(min(5, rarest), shuffle=True, random_state=0)
    return list(splitter.split(np.zeros(len(codes)), codes))


def _held_out_loss(
    strength: float,
    features: Any,
    codes: NDArray[np.int64],
    counts: FloatArray,
    held_out: Any,
    held_out_codes: NDArray[np.int64],
    labels: int,
) -> float:
    weight, bias = _fit(strength, features, codes, counts, labels)
    log_probabilities = log_softmax(held_out @ weight + bias, axis=1)
    return float(-log_probabilities[np.arange(len(held_out_codes)), held_out_codes].sum())


def _fit(
    strength: float, features: Any, codes: NDArray[np.int64], counts: FloatArray, labels: int
) -> tuple[FloatArray, FloatArray]:
    weight = np.zeros((features.shape[1], labels))
    bias = np.full(labels, ABSENT)
    present = np.unique(codes)
    if len(present) == 1:
        bias[present] = 0.0
        return weight, bias
    model = LogisticRegression(C=strength, max_iter=2000)
    model.fit(features, codes, sample_weight=counts)
    # For two labels scikit-learn has one row of weights, the log-odds of the second label.
    if len(present) == 2:
        weight[:, present] = np.stack([np.zeros(features.shape[1]), model.coef_[0]], axis=1)
        bias[present] = [0.0, model.intercept_[0]]
    else:
        weight[:, present] = model.coef_.T
        bias[present] = model.intercept_
    return weight, bias
