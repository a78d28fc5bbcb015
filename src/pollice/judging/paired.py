"""The exact paired test of two methods, its interval, and Holm's correction for many pairs.

Knows nothing about methods or tables: only on how many rows one of the two alone was right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtr, betainc, betaincinv, ndtr

from pollice.judging.results import Pair, Verdict

LEVEL = 0.05
"""How often, at most, any pair of equal methods is called better or worse."""

_NODES = np.linspace(-9.0, 9.0, 361)  # of a standard normal variable: no tail is missed
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()


@dataclass(frozen=True)
class Discordance:
    """On how many of the rows only the first, or only the second of two methods was right."""

    wins: int
    losses: int
    rows: int

    @property
    def lead(self) -> int:
        """How many rows more the first method got right."""
        return self.wins - self.losses

    @property
    def discordant(self) -> int:
        """On how many rows exactly one of both was right."""
        return self.wins + self.losses

    @property
    def turned(self) -> "Discordance":
        """The same rows, seen from the second method."""
        return Discordance(self.losses, self.wins, self.rows)

    @cached_property
    def p_value(self) -> float:
        """Exact two-sided McNemar test: binomial on the discordant rows."""
        # Where wins equal losses, both tails hold the middle, and twice one of them is more than 1.
        fewer = min(self.wins, self.losses)
        return min(1.0, 2 * float(bdtr(fewer, self.discordant, 0.5)))


@dataclass(frozen=True)
class Decision:
    """What Holm's procedure made of one of several tests."""

    p_adjusted: float
    tests: int
    """How many tests were undecided when this one was decided: its level is LEVEL / tests."""
    significant: bool


def decide(p_values: Sequence[float]) -> list[Decision]:
    """Test all hypotheses at LEVEL together (Holm 1979, Scand. J. Statist. 6, p. 65).

    The smallest p-value is held to LEVEL / m, the next to LEVEL / (m - 1) and so on, until one is
    too large. That one and all larger ones are decided there, at the same level. Equal p-values
    are decided at the level of the first of them, so their order decides nothing.
    """
    adjusted = [0.0] * len(p_values)
    tests = [0] * len(p_values)
    largest, stopped, level_of = 0.0, 0, dict[float, int]()
    for done, index in enumerate(np.argsort(p_values, kind="stable")):
        left = len(p_values) - done
        # The running maximum: a later test must not pass after an earlier one has failed.
        largest = max(largest, min(1.0, left * p_values[index]))
        # 0 means "not stopped yet"; `left` is at least 1, so it cannot be taken for that.
        stopped = stopped or (left if largest >= LEVEL else 0)
        adjusted[index] = largest
        tests[index] = level_of.setdefault(p_values[index], stopped or left)
    return [
        Decision(p_adjusted=p, tests=count, significant=p < LEVEL)
        for p, count in zip(adjusted, tests, strict=True)
    ]


def pair_of(a: str, b: str, counts: Discordance, decision: Decision) -> Pair:
    """Return the pair of two names: its verdict and interval are of the same decision."""
    verdict: Verdict = "not distinguishable"
    # A lead of 0 has the p-value 1, so a significant pair always has a sign.
    if decision.significant:
        verdict = "better" if counts.lead > 0 else "worse"
    return Pair(
        a=a,
        b=b,
        difference=counts.lead / counts.rows,
        interval=difference_interval(counts, decision),
        p_value=counts.p_value,
        p_adjusted=decision.p_adjusted,
        verdict=verdict,
    )


def difference_interval(counts: Discordance, decision: Decision) -> tuple[float, float]:
    """Return the interval of the accuracy difference that belongs to a decision.

    It inverts the exact McNemar test at the level that the decision was made at, LEVEL / tests,
    so it excludes 0 where the decision is significant, and nowhere else. The test knows only the
    first method's share of the discordant rows; how many rows are discordant is as uncertain. Both
    have a distribution for either limit, beta as that of Clopper and Pearson (1934), and the limit
    is a quantile of the difference made of both (Fay and Lumbard 2021, Stat. Med. 40, p. 1147).

    One pair's interval holds the true difference in 95 % of studies or more. All intervals of a
    comparison together are only sure not to exclude a true 0: in 95 % of studies none does. (Those
    that hold jointly and agree with Holm tell nothing but the sign of what is significant, unless
    all is: Strassburger and Bretz 2008, Stat. Med. 27, p. 4914.)
    """
    above = decision.significant and counts.lead > 0
    below = decision.significant and counts.lead < 0
    tail = LEVEL / decision.tests / 2
    return _lower_limit(counts, tail, above), -_lower_limit(counts.turned, tail, below)


def _lower_limit(counts: Discordance, tail: float, positive: bool) -> float:
    """Return the ``tail`` quantile of the difference; the test decides on which side of 0 it is."""
    wins, losses, discordant, rows = counts.wins, counts.losses, counts.discordant, counts.rows
    if wins == 0:  # the share is 0, so the difference is that of the discordant rows alone
        return -_upper_quantile(discordant, rows, tail)
    if discordant == rows and not positive:  # all are, so the difference is that of the share alone
        return min(0.0, 2 * float(betaincinv(wins, losses + 1, tail)) - 1)
    # (361,): quantiles of the beta distribution of the lower limit, one for each normal node.
    share = betaincinv(wins, losses + 1, ndtr(_NODES))
    slope = 2 * share - 1

    def excess(difference: float) -> float:
        if positive:
            # The cautious end: fewer discordant rows for a limit above 0, more for one below it.
            # Slopes of the other sign always lie on the same side of the limit, so their chance is
            # known, 1 or 0, and np.where only keeps the division from a slope of 0.
            ahead = slope > 0
            reach = np.minimum(difference / np.where(ahead, slope, 1.0), 1.0)
            below = np.where(ahead, betainc(discordant, rows - discordant + 1, reach), 1.0)
        else:
            behind = slope < 0
            reach = np.minimum(difference / np.where(behind, slope, -1.0), 1.0)
            exceeding = 1 - betainc(discordant + 1, rows - discordant, reach)
            below = np.where(behind, exceeding, 0.0)
        return float(_WEIGHTS @ below) - tail

    low, high = (0.0, 1.0) if positive else (-1.0, 0.0)
    if excess(low) >= 0 or excess(high) <= 0:  # rounding, where the p-value is at its threshold
        return np.finfo(np.float64).tiny if positive else 0.0
    return float(brentq(excess, low, high, xtol=1e-9))


def _upper_quantile(discordant: int, rows: int, tail: float) -> float:
    if discordant == rows:
        return 1.0
    return float(betaincinv(discordant + 1, rows - discordant, 1 - tail))


def critical_lead(discordant: int, tests: int) -> int:
    """Return the smallest lead in rows that is significant at LEVEL / tests.

    Where so few discordant rows cannot be, it is the least number of them that can, all one way.
    """
    fewest = 1
    # The best case is all rows one way; fewer rows than this can never be significant.
    while tests * 2 * 0.5**fewest >= LEVEL:
        fewest += 1
    rows = max(discordant, fewest)
    p_values = tests * 2 * bdtr(np.arange(rows // 2 + 1), rows, 0.5)
    # They rise with the index and the first is significant: this is the last such index.
    fewer = int(np.count_nonzero(p_values < LEVEL)) - 1
    return rows - 2 * fewer
