from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from pollice.errors import PredictionsError
from pollice.judging.metrics import evaluate
from pollice.judging.ordinal import OrdinalEvaluation
from pollice.predictions.table import Predictions

SCALE = ("bad", "fair", "good", "best")


def table(gold: list[int], probabilities: list[list[float]]) -> Predictions:
    rows = len(gold)
    return Predictions(
        ids=tuple(map(str, range(rows))),
        label_names=SCALE,
        probabilities=np.array(probabilities, np.float64).reshape(rows, len(SCALE)),
        gold=tuple(SCALE[step] for step in gold),
        tokens=np.zeros(rows, np.int64),
        truncated=np.zeros(rows, np.bool_),
    )


def sure(gold: list[int], answers: list[int]) -> Predictions:
    return table(gold, np.eye(4)[answers].tolist() if answers else [])


def judged(predictions: Predictions, **options: float) -> OrdinalEvaluation:
    ordinal = evaluate(predictions, scale=SCALE, **options).ordinal  # type: ignore[arg-type]
    assert ordinal is not None
    return ordinal


def test_without_a_scale_there_are_no_ordinal_figures() -> None:
    assert evaluate(sure([0, 1], [0, 1])).ordinal is None


def test_figures_by_hand() -> None:
    """Errors of 0, 1, 3 and 0 steps."""
    ordinal = judged(sure([0, 1, 3, 2], [0, 2, 0, 2]))
    assert ordinal.mean_absolute_error == 1.0
    assert ordinal.within_one_step == 0.75
    assert ordinal.confusion == ((1, 0, 0, 0, 0), (0, 0, 1, 0, 0), (0, 0, 1, 0, 0), (1, 0, 0, 0, 0))


def test_a_far_miss_costs_more_than_a_near_one_of_equal_accuracy() -> None:
    near, far = judged(sure([0, 1, 2, 3], [1, 1, 2, 3])), judged(sure([0, 1, 2, 3], [3, 1, 2, 3]))
    assert near.mean_absolute_error == 0.25
    assert far.mean_absolute_error == 0.75
    assert near.quadratic_kappa is not None
    assert far.quadratic_kappa is not None
    assert near.quadratic_kappa > far.quadratic_kappa + 0.3


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
@settings(max_examples=80, deadline=None)
def test_kappa_and_error_agree_with_scikit_learn(rows: list[tuple[int, int]]) -> None:
    gold, answers = [row[0] for row in rows], [row[1] for row in rows]
    ordinal = judged(sure(gold, answers))
    error = sklearn.metrics.mean_absolute_error(gold, answers)
    assert ordinal.mean_absolute_error == pytest.approx(error)
    if len(set(gold) | set(answers)) == 1:
        assert ordinal.quadratic_kappa is None
    else:
        kappa = sklearn.metrics.cohen_kappa_score(
            gold, answers, weights="quadratic", labels=range(4)
        )
        assert ordinal.quadratic_kappa == pytest.approx(kappa)


def test_the_expected_step_is_correlated_by_ranks_with_ties() -> None:
    draw = np.random.default_rng(1)
    gold = draw.integers(0, 4, 60).tolist()
    probabilities = draw.dirichlet(np.ones(4), 60).round(1)
    probabilities[:, 3] = 1 - probabilities[:, :3].sum(axis=1)
    probabilities = np.abs(probabilities)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    expected = spearmanr(gold, (probabilities @ np.arange(4)).round(9)).statistic
    assert judged(table(gold, probabilities.tolist())).spearman == pytest.approx(expected)


@pytest.mark.parametrize("columns", list(permutations(range(4)))[1::5])
def test_the_order_of_the_columns_does_not_matter(columns: tuple[int, ...]) -> None:
    draw = np.random.default_rng(3)
    predictions = table(draw.integers(0, 4, 50).tolist(), draw.dirichlet(np.ones(4), 50).tolist())
    turned = replace(
        predictions,
        label_names=tuple(SCALE[column] for column in columns),
        probabilities=predictions.probabilities[:, list(columns)],
    )
    expected = judged(predictions)
    assert expected.spearman == pytest.approx(judged(turned).spearman)
    assert replace(judged(turned), spearman=expected.spearman) == expected


def test_rows_without_an_answer_are_in_the_matrix_and_in_no_error() -> None:
    predictions = table([0, 3], [[0.9, 0.1, 0.0, 0.0], [0.4, 0.3, 0.2, 0.1]])
    ordinal = judged(predictions, abstain_below=0.5)
    assert ordinal.mean_absolute_error == 0.0
    assert ordinal.confusion[3] == (0, 0, 0, 0, 1)
    assert ordinal.spearman is not None
    silent = judged(table([0], [[float("nan")] * 4]))
    assert silent.mean_absolute_error is silent.within_one_step is silent.quadratic_kappa is None
    assert silent.spearman is None


@pytest.mark.parametrize(
    ("scale", "found"),
    [
        (("bad", "good"), "bad, good"),
        (("bad", "fair", "good", "good"), "bad, fair, good, good"),
        ((), "none"),
    ],
)
def test_a_scale_that_is_not_of_the_labels_is_refused(scale: tuple[str, ...], found: str) -> None:
    with pytest.raises(PredictionsError) as caught:
        evaluate(sure([0], [0]), scale=scale)
    assert str(caught.value) == (
        "Expected a scale that names each of the labels bad, fair, good, best once, but found "
        f"{found}. Name the labels from the lowest to the highest."
    )
