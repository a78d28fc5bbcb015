"""OpinionClassifier: any method behind scikit-learn's fit, predict and predict_proba.

Knows nothing about methods: it is an adapter over `create_method`, not a second world.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from pollice.data.dataset import Dataset
from pollice.data.splits import SplitOptions, split
from pollice.methods import create_method


class OpinionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn publishes no types
    """A scikit-learn classifier of texts, for pipelines, grid search and cross-validation.

    Args:
        method: The name of a method; see `pollice.method_names`.
        validation: The share of the rows that `fit` holds back to choose by.
        seed: Draws the validation rows, and is the method's seed unless it sets its own.
        options: The method's options. They are parameters of the estimator too.
    """

    def __init__(
        self, method: str = "features", validation: float = 0.1, seed: int = 0, **options: Any
    ) -> None:
        self.method = method
        self.validation = validation
        self.seed = seed
        self.options = options

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return ["method", "seed", "validation"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, the method's options among them."""
        return {**super().get_params(deep), **self.options}

    def set_params(self, **params: Any) -> Self:
        """Set parameters, the method's options among them."""
        for name, value in params.items():
            if name in self._get_param_names():
                setattr(self, name, value)
            else:
                self.options = {**self.options, name: value}
        return self

    def fit(self, X: Sequence[str], y: Sequence[Any]) -> Self:  # noqa: N803  # scikit-learn's name
        """Learn from texts ``X`` and their labels ``y``, each ``(texts,)``; copies count once."""
        self.classes_ = np.unique(np.asarray(y))
        names = tuple(str(label) for label in self.classes_)
        dataset = Dataset(
            ids=tuple(str(row) for row in range(len(X))),
            texts=tuple(str(text) for text in X),
            labels=tuple(str(label) for label in y),
            label_names=names,
        )
        parts = split(
            dataset,
            SplitOptions(
                train=1 - self.validation, validation=self.validation, test=0, seed=self.seed
            ),
        )
        method = create_method(self.method, {"seed": self.seed, **self.options})
        with TemporaryDirectory() as workdir:
            self.predictor_ = method.fit(parts.train, parts.validation, workdir=Path(workdir))
        return self

    def predict_proba(self, X: Sequence[str]) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """Return probabilities ``(texts, labels)`` in the order of ``classes_``."""
        check_is_fitted(self, "predictor_")
        return self.predictor_.predict_proba([str(text) for text in X])

    def predict(self, X: Sequence[str]) -> NDArray[Any]:  # noqa: N803  # scikit-learn's name
        """Return the most probable label of each text, of the type that ``y`` had."""
        winners = self.predict_proba(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[winners]
        return labels
