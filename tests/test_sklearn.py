"""OpinionClassifier keeps scikit-learn's rules."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from pollice.errors import OptionError
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
