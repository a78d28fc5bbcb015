"""The exact paired test, Holm's procedure and the interval that belongs to its decision."""

import numpy as np
import pytest
from scipy.stats import multinomial

from pollice.judging.paired import Discordance, critical_lead, decide, difference_interval


def interval(wins: int, losses: int, rows: int, tests: int = 1) -> tuple[float, float]:
    counts = Discordance(wins, losses, rows)
    return difference_interval(counts, decide([counts.p_value] * tests)[0])


def drawn_lower_limit(wins: int, losses: int, rows: int, tail: float) -> float:
    """Fay and Lumbard's lower limit by plain drawing from both distributions."""
    draw, size = np.random.default_rng(0), 400_000
    discordant = wins + losses
    share = draw.beta(wins, losses + 1, size)
    fewer = draw.beta(discordant, rows - discordant + 1, size)
    more = draw.beta(discordant + 1, rows - discordant, size)
    difference = (2 * share - 1) * np.where(share > 0.5, fewer, more)
    return float(np.quantile(difference, tail))


@pytest.mark.parametrize("tests", [1, 3, 15])
@pytest.mark.parametrize("counts", [(30, 10, 500), (3, 3, 100), (12, 1, 100), (10, 40, 120)])
def test_the_interval_is_that_of_plain_drawing(counts: tuple[int, int, int], tests: int) -> None:
    """At the level that the decision was made at: 0.05 by the tests that were undecided."""
    wins, losses, rows = counts
    tail = 0.05 / tests / 2
    expected = (
        drawn_lower_limit(wins, losses, rows, tail),
        -drawn_lower_limit(losses, wins, rows, tail),
    )
    assert interval(wins, losses, rows, tests) == pytest.approx(expected, abs=0.004)


def test_a_turned_pair_has_the_mirrored_interval() -> None:
    low, high = interval(30, 12, 400)
    assert interval(12, 30, 400) == pytest.approx((-high, -low))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((0, 0, 100), (-0.0362, 0.0362)),
        ((200, 0, 200), (0.957, 1.0)),
        ((0, 200, 200), (-1.0, -0.957)),
        ((100, 100, 200), (-0.143, 0.143)),
        ((1, 0, 1), (-0.95, 1.0)),
    ],
)
def test_intervals_at_the_edges(
    counts: tuple[int, int, int], expected: tuple[float, float]
) -> None:
    assert interval(*counts) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("truth", [(0.05, 0.05), (0.2, 0.05), (0.15, 0.0), (0.5, 0.3)])
def test_the_interval_holds_the_true_difference_in_95_of_100_studies(
    truth: tuple[float, float],
) -> None:
    """By the probability of every outcome of 20 rows: nothing here is drawn."""
    rows, held = 20, 0.0
    for wins in range(rows + 1):
        for losses in range(rows + 1 - wins):
            outcome = [wins, losses, rows - wins - losses]
            chance = float(multinomial.pmf(outcome, rows, [*truth, 1 - sum(truth)]))
            if chance > 1e-6:
                low, high = interval(wins, losses, rows)
                held += chance * (low <= truth[0] - truth[1] <= high)
    assert held >= 0.95


def test_holm_decides_the_rest_where_it_stops() -> None:
    """Held to 0.05 / 4 and 0.05 / 3; the third is too large for 0.05 / 2, and so is the fourth."""
    decisions = decide([0.03, 0.001, 0.04, 0.01])
    assert [each.significant for each in decisions] == [False, True, False, True]
    assert [each.tests for each in decisions] == [2, 4, 2, 3]
    assert [each.p_adjusted for each in decisions] == pytest.approx([0.06, 0.004, 0.06, 0.03])


def test_where_all_are_significant_the_last_was_tested_alone() -> None:
    assert [each.tests for each in decide([0.001, 0.02, 0.04])] == [3, 2, 1]
    assert decide([]) == []


def test_equal_p_values_are_decided_at_one_level() -> None:
    assert [each.tests for each in decide([0.001, 0.04, 0.001])] == [3, 1, 3]
    assert [each.tests for each in decide([0.03, 0.03, 0.001])] == [2, 2, 3]


@pytest.mark.parametrize(
    ("discordant", "tests", "lead"), [(0, 1, 6), (6, 1, 6), (9, 1, 7), (0, 15, 10), (100, 1, 22)]
)
def test_critical_leads_by_hand(discordant: int, tests: int, lead: int) -> None:
    assert critical_lead(discordant, tests) == lead
