"""OpinionClassifier: any method behind scikit-learn's fit, predict and predict_proba.

Knows nothing about methods: it is an adapter over `create_method`, not a second world.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from pollice.data.dataset import Dataset
from pollice.data.splits import SplitOptions, split
from pollice.errors import DataError, OptionError, did_you_mean
from pollice.methods import create_method, find_method, method_names, method_options

_OWN = ("method", "seed", "validation")


class OpinionClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn publishes no types
    """A scikit-learn classifier of texts, for pipelines, grid search and cross-validation.

    Texts are a list, an array or a series of strings, or a data frame (pandas, polars, Arrow) with
    one column, as a `ColumnTransformer` hands on.

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
        return list(_OWN)

    def __sklearn_tags__(self) -> Any:
        """Say what is classified: texts in one dimension, none of them missing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, all options of the method with their values among them."""
        own = {name: getattr(self, name) for name in _OWN}
        return {**own, **_defaults(self.method), **self.options}

    def set_params(self, **params: Any) -> Self:
        """Set parameters, the method's options among them.

        Raises:
            OptionError: the method has no such option; nothing is set then.
        """
        method = params.get("method", self.method)
        kept = self.options
        if method != self.method:
            # Options that say what the former method does of itself are no wish for this one.
            usual = _defaults(self.method)
            kept = {
                name: value
                for name, value in kept.items()
                if name not in usual or usual[name] != value
            }
        given = {name: value for name, value in params.items() if name not in _OWN}
        known = list(dict.fromkeys([*_OWN, *_option_names(method)]))
        for name in given:
            if name not in known:
                raise OptionError(
                    f"Method '{method}' has no option '{name}'.{did_you_mean(name, known)} "
                    f"The parameters are: {', '.join(known)}."
                )
        for name in set(_OWN) & params.keys():
            setattr(self, name, params[name])
        self.options = {**kept, **given}
        return self

    def fit(
        self,
        X: Any,  # noqa: N803  # scikit-learn's name
        y: Any,
        sample_weight: Sequence[float] | None = None,
    ) -> Self:
        """Learn from texts ``X`` and their labels ``y``, each ``(texts,)``; copies count once.

        Args:
            X: The texts.
            y: Their labels.
            sample_weight: How much each text counts, ``(texts,)``; only methods whose
                `takes_weights` is true can tell: `baseline` and `features`. Of copies, the weight
                of the one that is kept counts.

        Raises:
            DataError: ``X`` holds something else than texts, or ``y`` lacks a label.
            OptionError: the method has no such option, or cannot weigh texts.
        """
        texts, labels = _texts(X), _labels(y)
        if len(texts) != len(labels):
            raise DataError(
                f"Expected a label for every text, but found {len(texts)} texts in X and "
                f"{len(labels)} labels in y."
            )
        method = create_method(self.method, {"seed": self.seed, **self.options})
        weights = None if sample_weight is None else self._weights(sample_weight, len(texts))
        self.classes_ = np.unique(np.asarray(labels))
        dataset = Dataset(
            ids=tuple(str(row) for row in range(len(texts))),
            texts=tuple(texts),
            labels=tuple(str(label) for label in np.asarray(labels).tolist()),
            label_names=tuple(str(label) for label in self.classes_.tolist()),
            weights=weights,
        )
        parts = split(
            dataset,
            SplitOptions(
                train=1 - self.validation, validation=self.validation, test=0, seed=self.seed
            ),
        )
        with TemporaryDirectory() as workdir:
            self.predictor_ = method.fit(parts.train, parts.validation, workdir=Path(workdir))
        return self

    def _weights(self, given: Sequence[float], rows: int) -> tuple[float, ...]:
        if not find_method(self.method).takes_weights:
            able = ", ".join(_weighing_methods())
            raise OptionError(
                f"Expected no sample_weight, since {self.method} counts every text alike, but "
                f"found one: leave it out, or use one of {able}."
            )
        weights = np.asarray(given)
        if weights.shape != (rows,) or not np.issubdtype(weights.dtype, np.number):
            raise DataError(
                f"Expected a number for each of the {rows} texts in sample_weight, but found "
                f"{weights.dtype} values of the shape {weights.shape}."
            )
        unsound = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
        if len(unsound):
            row = int(unsound[0])
            raise DataError(
                f"Expected weights from 0 on in sample_weight, but that of row {row} is "
                f"{weights[row]:g}."
            )
        return tuple(float(weight) for weight in weights)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803  # scikit-learn's name
        """Return probabilities ``(texts, labels)`` in the order of ``classes_``."""
        check_is_fitted(self, "predictor_")
        return self.predictor_.predict_proba(_texts(X))

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803  # scikit-learn's name
        """Return the most probable label of each text, of the type that ``y`` had."""
        winners = self.predict_proba(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[winners]
        return labels


def _defaults(method: str) -> Mapping[str, Any]:
    """Return the method's options with their defaults; none of a method that is not there."""
    try:
        options = method_options(method)
    except OptionError:  # `fit` says it; showing an estimator must not fail
        return {}
    return {
        option.name: option.default
        for option in options
        if option.name not in _OWN and not option.required
    }


def _option_names(method: str) -> list[str]:
    return [option.name for option in method_options(method)]


def _weighing_methods() -> list[str]:
    """Return the names of the methods that take weights, of those that can be loaded."""
    able = []
    for name in method_names():
        try:
            able += [name] if find_method(name).takes_weights else []
        except OptionError:  # what it needs is not installed
            continue
    return able


def _texts(given: Any) -> list[str]:
    """Return texts as a list.

    Raises:
        DataError: a string alone, more columns than one, or a row that is no text.
    """
    if isinstance(given, str | bytes):
        raise DataError(
            "Expected texts in X, but found a single string: put it in a list, as [text]."
        )
    values = _column(given, "X", "texts")
    for row, value in enumerate(values):
        if not isinstance(value, str):
            found = "nothing" if _is_missing(value) else f"a value of type {type(value).__name__}"
            raise DataError(
                f"Expected a text in every row of X, but row {row} holds {found}: fill it in, or "
                "leave the row out."
            )
    return [str(value) for value in values]


def _labels(given: Any) -> list[Any]:
    if given is None or isinstance(given, str | bytes):
        found = "none" if given is None else "a single string"
        raise DataError(f"Expected a label for every text in y, but found {found}.")
    values = _column(given, "y", "labels")
    for row, value in enumerate(values):
        if _is_missing(value):
            raise DataError(
                f"Expected a label in every row of y, but row {row} has none: fill it in, or leave "
                "the row out."
            )
    return values


def _column(given: Any, name: str, what: str) -> list[Any]:
    """Return one column of values; a data frame must have one column, an array one dimension."""
    found = nw.from_native(given, pass_through=True, allow_series=True)
    if isinstance(found, nw.DataFrame):
        if len(found.columns) != 1:
            raise DataError(
                f"Expected one column of {what} in {name}, but the data frame has "
                f"{len(found.columns)}: {', '.join(map(str, found.columns))}."
            )
        return list(found[found.columns[0]].to_list())
    if isinstance(found, nw.Series):
        return list(found.to_list())
    if isinstance(given, np.ndarray) and given.ndim != 1:
        raise DataError(
            f"Expected {what} in one dimension in {name}, but found an array of the shape "
            f"{given.shape}: name one of its columns."
        )
    try:
        values = list(given)
    except TypeError:
        raise DataError(
            f"Expected {what} in {name}, but found a value of type {type(given).__name__}: give a "
            "list, an array or a series."
        ) from None
    inner = next((row for row, value in enumerate(values) if _is_row(value)), None)
    if inner is not None:
        raise DataError(
            f"Expected {what} in one dimension in {name}, but row {inner} holds a "
            f"{type(values[inner]).__name__}: name one of its values."
        )
    return values


def _is_row(value: Any) -> bool:
    return isinstance(value, list | tuple | dict | np.ndarray)


def _is_missing(value: Any) -> bool:
    """Tell whether a value stands for nothing: None, NaN, or pandas' NA and NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))
