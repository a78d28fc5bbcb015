"""Training rows for a method that needs few labels: to be shown, and to calibrate with.

Knows nothing about models.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pollice.data.dataset import Dataset


@dataclass(frozen=True, kw_only=True)
class DrawnRows:
    """Training rows for a few-label method; no row is drawn twice."""

    shown: Dataset
    """Rows to be shown as examples."""
    labelled: Dataset
    """Rows to calibrate with."""
    unlabelled: tuple[str, ...]
    """Texts to calibrate with, without their labels."""


def draw_rows(
    train: Dataset, *, shown: int, labelled: int, unlabelled: int, seed: int
) -> DrawnRows:
    """Draw rows: examples balanced over the labels, rows to calibrate with at the data's shares.

    Of texts without labels as many as are left. A calibration from balanced rows would learn that
    all labels are equally common.
    """
    order = [int(row) for row in np.random.default_rng(seed).permutation(len(train))]
    examples = _balanced(order, train, shown)
    order = _without(order, examples)
    calibrating = _at_shares(order, train, labelled)
    rest = _without(order, calibrating)
    return DrawnRows(
        shown=train.take(examples),
        labelled=train.take(calibrating),
        unlabelled=train.take(rest[:unlabelled]).texts,
    )


def _balanced(order: Sequence[int], train: Dataset, rows: int) -> list[int]:
    """Take rows in order, each time of a label that has been taken least so far."""
    waiting: dict[str, list[int]] = {name: [] for name in train.label_names}
    for row in order:
        waiting[train.labels[row]].append(row)
    taken: list[int] = []
    # All of `order` where it has fewer rows than are asked for.
    while len(taken) < min(rows, len(order)):
        for queue in waiting.values():
            if queue and len(taken) < rows:
                taken.append(queue.pop(0))
    return sorted(taken, key=order.index)


def _at_shares(order: Sequence[int], train: Dataset, rows: int) -> list[int]:
    """Take rows in order, of each label as many as its share of the rows in order asks for."""
    have = Counter(train.labels[row] for row in order)
    asked = {name: rows * count / max(1, len(order)) for name, count in have.items()}
    quota = {name: int(share) for name, share in asked.items()}
    # The largest remainders first: the key is minus what rounding down took away.
    rest = sorted(
        asked, key=lambda name: (quota[name] - asked[name], train.label_names.index(name))
    )
    for name in rest[: min(rows, len(order)) - sum(quota.values())]:
        quota[name] += 1
    taken = []
    for row in order:
        if quota[train.labels[row]]:
            quota[train.labels[row]] -= 1
            taken.append(row)
    return taken


def _without(order: Sequence[int], taken: Sequence[int]) -> list[int]:
    gone = set(taken)
    return [row for row in order if row not in gone]
