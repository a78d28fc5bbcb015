"""OpinionClassifier keeps scikit-learn's rules."""

import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from pollice.errors import DataError, OptionError
from pollice.methods import method_options
from pollice.sklearn import OpinionClassifier

GOOD = [f"a great and lovely film number {row}" for row in range(40)]
BAD = [f"an awful and boring mess number {row}" for row in range(40)]
TEXTS = [text for pair in zip(GOOD, BAD, strict=True) for text in pair]
LABELS = ["up", "down"] * 40


def test_fit_and_predict() -> None:
    classifier = OpinionClassifier(method="baseline").fit(TEXTS, LABELS)
    assert list(classifier.classes_) == ["down", "up"]
    assert list(classifier.predict(["great lovely", "awful boring"])) == ["up", "down"]
    assert classifier.score(TEXTS, LABELS) == 1.0
    assert np.allclose(classifier.predict_proba(TEXTS).sum(axis=1), 1)


def test_labels_keep_their_type() -> None:
    classifier = OpinionClassifier(method="baseline").fit(TEXTS, [1, 0] * 40)
    assert classifier.predict(["great lovely"]).tolist() == [1]


def test_options_are_parameters() -> None:
    classifier = OpinionClassifier(method="baseline", ngrams=1)
    assert clone(classifier).get_params() == classifier.get_params()
    assert clone(classifier).set_params(ngrams=3).get_params()["ngrams"] == 3


def test_grid_search_and_cross_validation() -> None:
    search = GridSearchCV(OpinionClassifier(method="baseline", ngrams=1), {"ngrams": [1, 2]}, cv=2)
    assert search.fit(TEXTS, LABELS).best_score_ == 1.0
    assert cross_val_score(OpinionClassifier(method="baseline"), TEXTS, LABELS, cv=2).min() == 1.0


def test_an_unknown_option_is_refused_when_fitting() -> None:
    with pytest.raises(OptionError, match="Method 'baseline' has no option 'ngram'"):
        OpinionClassifier(method="baseline", ngram=1).fit(TEXTS, LABELS)


def test_predicting_before_fitting_is_refused() -> None:
    with pytest.raises(NotFittedError):
        OpinionClassifier().predict(TEXTS)


# --- what is given ---


def test_every_default_of_the_method_is_a_parameter() -> None:
    parameters = OpinionClassifier(method="baseline", ngrams=1).get_params()
    options = {option.name: option.default for option in method_options("baseline")}
    assert parameters == {"method": "baseline", "validation": 0.1, **options, "ngrams": 1}


def test_an_unknown_parameter_is_refused_and_nothing_is_set() -> None:
    classifier = OpinionClassifier(method="baseline")
    options = [option.name for option in method_options("baseline")]
    sentence = (
        "Method 'baseline' has no option 'ngram'. Did you mean 'ngrams'? The parameters are: "
        f"{', '.join(dict.fromkeys(['method', 'seed', 'validation', *options]))}."
    )
    with pytest.raises(OptionError, match=f"^{re.escape(sentence)}$"):
        classifier.set_params(validation=0.5, ngram=1)
    assert classifier.validation == 0.1


def test_another_method_takes_its_own_defaults() -> None:
    """A clone holds all options, which say nothing to a method that has others."""
    other = clone(OpinionClassifier(method="baseline")).set_params(method="lexicon")
    assert "ngrams" not in other.get_params()
    chosen = OpinionClassifier(method="baseline", ngrams=1).set_params(method="lexicon")
    with pytest.raises(OptionError, match="has no option 'ngrams'"):
        chosen.fit(TEXTS, LABELS)


def test_an_unknown_method_can_be_shown_but_not_fitted() -> None:
    classifier = OpinionClassifier(method="baselin")
    assert "baselin" in repr(classifier)
    with pytest.raises(OptionError, match="There is no method 'baselin'"):
        classifier.fit(TEXTS, LABELS)


GIVEN = {
    "series": pd.Series(TEXTS),
    "frame": pd.DataFrame({"review": TEXTS}),
    "polars-frame": pl.DataFrame({"review": TEXTS}),
    "arrow": pa.table({"review": TEXTS}),
    "array": np.array(TEXTS),
    "tuple": tuple(TEXTS),
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_texts_may_come_as_one_column(given: Any) -> None:
    classifier = OpinionClassifier(method="baseline").fit(given, pd.Series(LABELS))
    assert list(classifier.predict(given)) == LABELS


FILL = "fill it in, or leave the row out."
NO_TEXTS = {
    "a-string": (
        "a text",
        "Expected texts in X, but found a single string: put it in a list, as [text].",
    ),
    "none": (
        ["a", None],
        f"Expected a text in every row of X, but row 1 holds nothing: {FILL}",
    ),
    "nan": (
        pd.Series(["a", np.nan]),
        f"Expected a text in every row of X, but row 1 holds nothing: {FILL}",
    ),
    "a-number": (
        ["a", 7],
        f"Expected a text in every row of X, but row 1 holds a value of type int: {FILL}",
    ),
    "lists": (
        [["a"], ["b"]],
        "Expected texts in one dimension in X, but row 0 holds a list: name one of its values.",
    ),
    "two-dimensions": (
        np.array([["a", "b"], ["c", "d"]]),
        "Expected texts in one dimension in X, but found an array of the shape (2, 2): name one of "
        "its columns.",
    ),
    "two-columns": (
        pd.DataFrame({"title": ["a"], "body": ["b"]}),
        "Expected one column of texts in X, but the data frame has 2: title, body.",
    ),
    "nothing": (
        None,
        "Expected texts in X, but found a value of type NoneType: give a list, an array or a "
        "series.",
    ),
}


@pytest.mark.parametrize(("texts", "sentence"), NO_TEXTS.values(), ids=NO_TEXTS)
def test_what_is_no_text_is_refused_in_fit_and_predict(texts: Any, sentence: str) -> None:
    match = f"^{re.escape(sentence)}$"
    with pytest.raises(DataError, match=match):
        OpinionClassifier(method="baseline").fit(texts, ["a", "b"])
    fitted = OpinionClassifier(method="baseline").fit(TEXTS, LABELS)
    with pytest.raises(DataError, match=match):
        fitted.predict(texts)


NO_LABELS = {
    "nothing": (None, "Expected a label for every text in y, but found none."),
    "a-string": ("up", "Expected a label for every text in y, but found a single string."),
    "too-few": (
        ["up", "down"],
        "Expected a label for every text, but found 80 texts in X and 2 labels in y.",
    ),
    "none": (
        ["up", None] * 40,
        f"Expected a label in every row of y, but row 1 has none: {FILL}",
    ),
}


@pytest.mark.parametrize(("labels", "sentence"), NO_LABELS.values(), ids=NO_LABELS)
def test_labels_that_are_missing_are_refused(labels: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        OpinionClassifier(method="baseline").fit(TEXTS, labels)


def test_tags_are_those_of_a_text_classifier() -> None:
    classifier = OpinionClassifier(method="baseline").fit(TEXTS, LABELS)
    tags = get_tags(classifier)
    assert tags.estimator_type == "classifier"
    assert tags.input_tags.string
    assert tags.input_tags.one_d_array
    assert not tags.input_tags.two_d_array
    assert not tags.input_tags.allow_nan
    assert tags.target_tags.required
    assert not hasattr(classifier, "n_features_in_")


def test_a_pipeline_takes_a_column_of_a_data_frame() -> None:
    frame = pd.DataFrame({"review": TEXTS, "stars": range(80)})
    columns = ColumnTransformer([("text", "passthrough", ["review"])])
    pipeline = make_pipeline(
        columns.set_output(transform="pandas"), OpinionClassifier(method="baseline")
    )
    assert cross_val_score(pipeline, frame, LABELS, cv=2).min() == 1.0


# --- weights ---


def test_weights_count() -> None:
    """Where texts contradict one another, those that weigh more decide."""
    texts = [f"fine film number {row} by the river" for row in range(60)]
    labels = ["up", "down"] * 30
    for favoured in ("up", "down"):
        weights = [50.0 if label == favoured else 1.0 for label in labels]
        classifier = OpinionClassifier(method="baseline", validation=0.0)
        classifier.fit(texts, labels, sample_weight=weights)
        assert set(classifier.predict(["fine film"])) == {favoured}


def test_equal_weights_change_nothing() -> None:
    plain = OpinionClassifier(method="baseline").fit(TEXTS, LABELS)
    weighed = OpinionClassifier(method="baseline").fit(TEXTS, LABELS, sample_weight=[1.0] * 80)
    np.testing.assert_array_equal(weighed.predict_proba(TEXTS), plain.predict_proba(TEXTS))


def test_a_method_that_cannot_weigh_refuses_weights() -> None:
    sentence = (
        "Expected no sample_weight, since lexicon counts every text alike, but found one: leave it "
        "out, or use one of baseline, features."
    )
    with pytest.raises(OptionError, match=f"^{re.escape(sentence)}$"):
        OpinionClassifier(method="lexicon").fit(TEXTS, LABELS, sample_weight=[1.0] * 80)


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (
            [1.0],
            "Expected a number for each of the 80 texts in sample_weight, but found float64 values "
            "of the shape (1,).",
        ),
        (
            [*[1.0] * 79, -1.0],
            "Expected weights from 0 on in sample_weight, but that of row 79 is -1.",
        ),
    ],
)
def test_unsound_weights_are_refused(weights: list[float], sentence: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        OpinionClassifier(method="baseline").fit(TEXTS, LABELS, sample_weight=weights)
