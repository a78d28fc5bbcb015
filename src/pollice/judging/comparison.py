"""Which of several predictions tables over the same rows is better, and whether that is noise.

Knows nothing about models: it needs only who was right on which row.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import fsum, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from pollice.errors import PredictionsError, counted
from pollice.judging.chance import compare_with_majority
from pollice.judging.metrics import abstain
from pollice.judging.paired import LEVEL, Decision, Discordance, critical_lead, decide, pair_of
from pollice.judging.results import Comparison
from pollice.predictions.table import Predictions, ids_sha256

BoolArray = NDArray[np.bool_]


def compare(
    runs: Mapping[str, Predictions], *, abstain_below: float | None = None, seed: int = 0
) -> Comparison:
    """Compare tables that hold the same ids and gold labels, in any order.

    Args:
        runs: A table for each name. A row without an answer counts as wrong.
        abstain_below: A row whose highest probability is below it has no answer.
        seed: Taken as `evaluate` takes it; nothing here is drawn at random.

    Raises:
        PredictionsError: no runs or rows, no gold labels, a gold label that is no column, repeated
            ids, or ids or gold labels that differ.
        OptionError: ``abstain_below`` is not in [0, 1).
    """
    if not runs:
        raise PredictionsError("Expected at least one run to compare, but there is none. Name one.")
    runs = {name: run.labelled for name, run in runs.items()}
    # All before any is aligned: with a repeated id, aligning would silently keep the last row.
    for name, run in runs.items():
        _check(name, run)
    first_name, first = next(iter(runs.items()))
    # Each array is (rows,) in the first run's order, so that two of them compare row by row.
    right = {
        name: _right(abstain(run, abstain_below))[_alignment(first_name, first, name, run)]
        for name, run in runs.items()
    }
    counts = {(a, b): _discordance(right[a], right[b]) for a, b in combinations(right, 2)}
    decisions = decide([each.p_value for each in counts.values()])
    return Comparison(
        rows=len(first),
        test_ids_sha256=ids_sha256(first.ids),
        pairs=tuple(
            pair_of(a, b, each, decision)
            for ((a, b), each), decision in zip(counts.items(), decisions, strict=True)
        ),
        # Ties go by the log loss of the whole table: abstaining must not help to win one.
        ranking=tuple(
            sorted(runs, key=lambda name: (-int(right[name].sum()), _log_loss(runs[name]), name))
        ),
        smallest_detectable_difference=(
            _smallest_of_pairs(list(counts.values()), decisions)
            if counts
            else _smallest_beside(right[first_name])
        ),
        against_majority=compare_with_majority(runs),
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
            f"Expected each id once in every run, but '{name}' has {counted(len(run), 'row')} and "
            f"{counted(len(set(run.ids)), 'id')}. Give every row its own id."
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
    # A row without an answer has None here, which equals no gold label: it counts as wrong.
    pairs = zip(run.predicted, run.gold or (), strict=True)
    return np.fromiter((predicted == gold for predicted, gold in pairs), np.bool_, count=len(run))


def _log_loss(run: Predictions) -> float:
    """Of the answered rows; infinite without one. It breaks ties of accuracy, and no more."""
    columns = {name: column for column, name in enumerate(run.label_names)}
    gold = np.array([columns[str(label)] for label in run.gold or ()])
    given = run.probabilities[np.arange(len(run)), gold]
    given = given[np.isfinite(run.probabilities).all(axis=1)]
    epsilon = np.finfo(np.float64).eps
    losses = -np.log(np.clip(given, epsilon, 1 - epsilon))
    # An exact sum: the order of the rows must not decide a tie.
    return fsum(losses) / len(losses) if len(losses) else np.inf


def _discordance(a: BoolArray, b: BoolArray) -> Discordance:
    return Discordance(int((a & ~b).sum()), int((b & ~a).sum()), len(a))


def _smallest_of_pairs(counts: Sequence[Discordance], decisions: Sequence[Decision]) -> float:
    """Return the largest lead that the pairs of Holm's last step needed, as a share of the rows."""
    last = min(decision.tests for decision in decisions)
    leads = [
        critical_lead(each.discordant, last)
        for each, decision in zip(counts, decisions, strict=True)
        if decision.tests == last
    ]
    return min(1.0, max(leads) / counts[0].rows)


def _smallest_beside(right: BoolArray) -> float:
    """Return the smallest difference to a second method, of which nothing is known yet."""
    rows, accuracy = len(right), float(right.mean())
    z = NormalDist().inv_cdf(1 - LEVEL / 2)
    unpaired = z * sqrt(2 * accuracy * (1 - accuracy) / rows)
    return min(1.0, max(critical_lead(0, tests=1) / rows, unpaired))
