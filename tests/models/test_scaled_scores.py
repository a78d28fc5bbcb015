"""One slope and a bias for each label: learned carefully, never turned round."""

import numpy as np
import pytest
from scipy.special import log_softmax

from pollice.models.scaled_scores import ScaledScores, fit_scaling


def scores(odds: np.ndarray) -> np.ndarray:
    table: np.ndarray = log_softmax(np.stack([-odds / 2, odds / 2], axis=1), axis=1)
    return table


def test_many_labels_show_slope_and_bias() -> None:
    draw = np.random.default_rng(0)
    odds = draw.normal(0, 2, 4000)
    labels = (draw.random(4000) < 1 / (1 + np.exp(-(1.6 * odds - 1)))).astype(np.int64)
    found = fit_scaling(scores(odds), labels)
    assert found.slope == pytest.approx(1.6, abs=0.15)
    assert found.bias[1] - found.bias[0] == pytest.approx(-1, abs=0.2)


def test_labels_that_are_turned_round_do_not_turn_it_round() -> None:
    odds = np.linspace(-3, 3, 40)
    found = fit_scaling(scores(odds), (odds < 0).astype(np.int64))
    assert found.slope > 0


def test_no_labels_leave_everything_as_it_is() -> None:
    given = scores(np.array([-1.0, 2.0]))
    found = fit_scaling(given[:0], np.zeros(0, np.int64))
    assert found.probabilities(given) == pytest.approx(np.exp(given))
    assert ScaledScores.from_arrays(found.arrays()).slope == found.slope


def test_a_row_of_weight_two_counts_like_two_rows() -> None:
    odds, labels = np.array([-1.0, 0.5, 2.0, 0.1]), np.array([0, 0, 1, 1])
    weighted = fit_scaling(scores(odds), labels, np.array([1.0, 2, 1, 1]))
    twice = np.array([0, 1, 1, 2, 3])
    repeated = fit_scaling(scores(odds[twice]), labels[twice])
    assert weighted.slope == pytest.approx(repeated.slope, abs=1e-4)
    assert weighted.bias == pytest.approx(repeated.bias, abs=1e-4)
