"""Which of several predictions tables over the same rows is better, and whether that is noise.

Knows nothing about models or metrics: it needs only who was right on which row.
"""

import hashlib
import json
from collections.abc import Mapping
from itertools import combinations
from math import ceil, fsum, sqrt
from statistics import NormalDist, median

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from pollice.errors import PredictionsError
from pollice.judging.results import Comparison, Pair, Verdict
from pollice.predictions.table import Predictions, ids_sha256

BoolArray = NDArray[np.bool_]

_LEVEL = 0.05
_RESAMPLES = 10_000
_FEWEST_DISCORDANT = 6  # with five, all one way, the exact p is still 2 / 2**5 = 0.0625


def compare(runs: Mapping[str, Predictions], *, seed: int = 0) -> Comparison:
    """Compare tables that hold the same ids and gold labels, in any order.

    A row without an answer counts as wrong. A pair's interval depends on ``seed``, the two names
    and the two tables only, so another method alters no pair but by Holm's adjustment. Raises
    PredictionsError without runs or rows, without gold labels, where a gold label is no column,
    and where ids are repeated or ids or gold labels differ.
    """
    if not runs:
        raise PredictionsError("Expected at least one run to compare, but there is none. Name one.")
    for name, run in runs.items():
        _check(name, run)
    first_name, first = next(iter(runs.items()))
    right = {
        name: _right(run)[_alignment(first_name, first, name, run)] for name, run in runs.items()
    }
    return Comparison(
        rows=len(first),
        test_ids_sha256=ids_sha256(first.ids),
        pairs=_pairs(right, seed),
        ranking=tuple(
            sorted(runs, key=lambda name: (-int(right[name].sum()), _log_loss(runs[name]), name))
        ),
        smallest_detectable_difference=_smallest_detectable_difference(list(right.values())),
    )


def _check(name: str, run: Predictions) -> None:
    if len(run) == 0:
        raise PredictionsError(
            f"Expected runs with rows to compare, but '{name}' has none. "
            "Predict at least one text with it."
        )
    if run.gold is None:
        raise PredictionsError(
            f"Expected gold labels in every run, but '{name}' has none. "
            "Write the true labels as its column gold."
        )
    unknown = sorted(map(str, set(run.gold) - set(run.label_names)))
    if unknown:
        raise PredictionsError(
            f"Expected every gold label of '{name}' to be one of {', '.join(run.label_names)}, but "
            f"'{unknown[0]}' has no probability column. Write the labels and the columns with the "
            "same names."
        )
    repeated = len(run) - len(set(run.ids))
    if repeated:
        raise PredictionsError(
            f"Expected each id once in every run, but '{name}' has {len(run)} rows and "
            f"{len(set(run.ids))} ids. Give every row its own id."
        )


def _alignment(
    first_name: str, first: Predictions, name: str, run: Predictions
) -> NDArray[np.intp]:
    """Return, for each row of the first run, its row in another."""
    if run.ids == first.ids and run.gold == first.gold:
        return np.arange(len(first))
    differing = sorted(set(first.ids) ^ set(run.ids))
    if differing:
        raise PredictionsError(
            f"Expected the same test rows in every run, but '{first_name}' and '{name}' differ in "
            f"{len(differing)} ids, such as '{differing[0]}'. Predict the same rows with each."
        )
    position = {row_id: row for row, row_id in enumerate(run.ids)}
    order = np.fromiter((position[row_id] for row_id in first.ids), np.intp, count=len(first))
    gold, other_gold = np.array(first.gold), np.array(run.gold)[order]
    disputed = np.flatnonzero(gold != other_gold)
    if len(disputed):
        row = int(disputed[0])
        raise PredictionsError(
            f"Expected the same gold labels in every run, but '{first_name}' and '{name}' differ "
            f"in {len(disputed)}: the row '{first.ids[row]}' is {gold[row]} in the one and "
            f"{other_gold[row]} in the other. Take both from the same data."
        )
    return order


def _right(run: Predictions) -> BoolArray:
    pairs = zip(run.predicted, run.gold or (), strict=True)
    return np.fromiter((predicted == gold for predicted, gold in pairs), np.bool_, count=len(run))


def _log_loss(run: Predictions) -> float:
    """Of the answered rows; infinite without one. It breaks ties of accuracy, and no more."""
    columns = {name: column for column, name in enumerate(run.label_names)}
    gold = np.array([columns[label] for label in run.gold or ()])
    given = run.probabilities[np.arange(len(run)), gold]
    given = given[np.isfinite(run.probabilities).all(axis=1)]
    epsilon = np.finfo(np.float64).eps
    losses = -np.log(np.clip(given, epsilon, 1 - epsilon))
    # An exact sum: the order of the rows must not decide a tie.
    return fsum(losses) / len(losses) if len(losses) else np.inf


def _pairs(right: Mapping[str, BoolArray], seed: int) -> tuple[Pair, ...]:
    names = list(combinations(right, 2))
    wins = [int((right[a] & ~right[b]).sum()) for a, b in names]
    losses = [int((right[b] & ~right[a]).sum()) for a, b in names]
    p_values = [_mcnemar(*counts) for counts in zip(wins, losses, strict=True)]
    adjusted = _holm(p_values)
    return tuple(
        Pair(
            a=a,
            b=b,
            difference=(wins[index] - losses[index]) / len(right[a]),
            interval=_bootstrap_interval(
                {a: wins[index], b: losses[index]}, rows=len(right[a]), seed=seed
            ),
            p_value=p_values[index],
            p_adjusted=adjusted[index],
            verdict=_verdict(wins[index] - losses[index], adjusted[index]),
        )
        for index, (a, b) in enumerate(names)
    )


def _mcnemar(wins: int, losses: int) -> float:
    return min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))


def _holm(p_values: list[float]) -> list[float]:
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for done, index in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - done) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _verdict(lead: int, p_adjusted: float) -> Verdict:
    if p_adjusted >= _LEVEL:
        return "not distinguishable"
    return "better" if lead > 0 else "worse"


def _bootstrap_interval(
    only_right: Mapping[str, int], *, rows: int, seed: int
) -> tuple[float, float]:
    """Return the interval of a pair's accuracy difference, first name less second.

    A row says only "first", "second" or neither, so drawing rows with replacement is drawing
    three counts from a multinomial. They are drawn for the names in sorted order: a pair and its
    reverse have mirrored intervals.
    """
    first, second = sorted(only_right)
    digest = hashlib.sha256(json.dumps([seed, first, second]).encode()).digest()
    generator = np.random.default_rng(list(digest))
    counts = np.array([only_right[first], only_right[second]])
    shares = [*(counts / rows), (rows - counts.sum()) / rows]
    draws = generator.multinomial(rows, shares, size=_RESAMPLES)
    differences = (draws[:, 0] - draws[:, 1]) / rows
    lower, upper = (float(end) for end in np.quantile(differences, [0.025, 0.975]))
    return (lower, upper) if [first, second] == list(only_right) else (-upper, -lower)


def _smallest_detectable_difference(right: list[BoolArray]) -> float:
    rows = len(right[0])
    least = _FEWEST_DISCORDANT / rows
    if len(right) == 1:
        accuracy = float(right[0].mean())
        z = NormalDist().inv_cdf(1 - _LEVEL / 2)
        return min(1.0, max(least, z * sqrt(2 * accuracy * (1 - accuracy) / rows)))
    typical = median(int((a ^ b).sum()) for a, b in combinations(right, 2))
    discordant = max(_FEWEST_DISCORDANT, ceil(typical))
    fewer_side = np.arange(discordant // 2 + 1)
    largest = np.count_nonzero(2 * bdtr(fewer_side, discordant, 0.5) < _LEVEL) - 1
    return min(1.0, float(discordant - 2 * largest) / rows)
