"""Thresholds on one score: probabilities of ordered steps, moved by labels as far as they say."""

import numpy as np
import pytest

from pollice.data.scales import find_scale
from pollice.models.ordered_steps import OrderedSteps, default_steps, fit_steps

FIVE = ("very negative", "negative", "neutral", "positive", "very positive")


def steps(names: tuple[str, ...] = FIVE) -> OrderedSteps:
    scale = find_scale(names)
    assert scale is not None
    return default_steps(scale, names)


@pytest.mark.parametrize("names", [FIVE[1:4], FIVE, ("1", "2", "3", "4", "5", "6", "7")])
def test_a_higher_score_is_a_higher_step_and_the_middle_of_both_is_the_middle(
    names: tuple[str, ...],
) -> None:
    found = steps(names).probabilities(np.linspace(-6, 6, 401))
    assert found.sum(axis=1) == pytest.approx(1)
    assert (np.diff(found.argmax(axis=1)) >= 0).all()
    assert (np.diff(found @ np.arange(len(names))) > 0).all()
    assert set(found.argmax(axis=1)) == set(range(len(names)))
    assert found[::-1, ::-1] == pytest.approx(found)


def test_columns_stand_in_the_order_of_the_labels() -> None:
    mixed = ("neutral", "positive", "negative")
    found = steps(mixed).probabilities(np.array([-9.0, 0.0, 9.0]))
    assert [mixed[column] for column in found.argmax(axis=1)] == ["negative", "neutral", "positive"]


def test_labels_move_the_thresholds_towards_what_they_show() -> None:
    truth = OrderedSteps(
        slope=1.5, thresholds=np.array([-1.0, 2.0]), columns=np.arange(3, dtype=np.int64)
    )
    draw = np.random.default_rng(0)
    score = draw.normal(0, 2, 2000)
    labels = np.array([draw.choice(3, p=row) for row in truth.probabilities(score)])
    found = fit_steps(steps(FIVE[1:4]), score, labels)
    assert found.slope == pytest.approx(1.5, abs=0.15)
    assert found.thresholds == pytest.approx([-1, 2], abs=0.2)


def test_few_labels_move_them_little_and_none_not_at_all() -> None:
    defaults = steps()
    none = fit_steps(defaults, np.zeros(0), np.zeros(0, np.int64))
    assert none.thresholds == pytest.approx(defaults.thresholds)
    assert none.slope == pytest.approx(defaults.slope)
    one = fit_steps(defaults, np.array([0.0]), np.array([4]))
    assert np.abs(one.thresholds - defaults.thresholds).max() < 1.5


def test_the_slope_is_never_negative() -> None:
    score = np.linspace(-3, 3, 40)
    found = fit_steps(steps(FIVE[1:4]), score, (score < 0).astype(np.int64) * 2)
    assert found.slope > 0
    assert (np.diff(found.thresholds) > 0).all()


def test_steps_are_the_same_after_they_were_kept_as_arrays() -> None:
    again = OrderedSteps.from_arrays(steps().arrays())
    score = np.linspace(-2, 2, 9)
    assert (again.probabilities(score) == steps().probabilities(score)).all()
    assert again.said() == "slope 2.00, thresholds -3.90, -0.96, 0.96, 3.90"


def test_a_row_of_weight_two_counts_like_two_rows() -> None:
    score, labels = np.array([-2.0, 0.3, 0.5, 2.5]), np.array([0, 1, 3, 4])
    weighted = fit_steps(steps(), score, labels, np.array([1.0, 2, 1, 1]))
    twice = np.array([0, 1, 1, 2, 3])
    repeated = fit_steps(steps(), score[twice], labels[twice])
    assert weighted.slope == pytest.approx(repeated.slope, abs=1e-3)
    assert weighted.thresholds == pytest.approx(repeated.thresholds, abs=1e-3)
