"""How rows are shared out over training, validation and test: options, order and quotas.

Knows nothing about parts that a source gives, and nothing about what makes two texts copies.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pollice.errors import SplitError, counted

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How rows are shared out: by shares or by counts, both with the labels as common as they are.

    Copies of a text count once. A share is kept label by label: a side has a label's texts in
    proportion, give or take one, and at least one. A count is of rows in all, shared out over the
    labels in proportion, at least one each, and so that one text of each is left for each side
    that is still to come, if there are enough; if ``balanced``, the same number of each label. What
    the counts leave is shared in the proportion of the other sides' shares; only, validation grows
    with ``train_rows``.

    Raises:
        SplitError: the shares do not sum to 1, or a share or a count is out of its range.
    """

    train: float = 0.7
    validation: float = 0.1
    test: float = 0.2
    train_rows: int | None = None
    validation_rows: int | None = None
    test_rows: int | None = None
    balanced: bool = False
    """Whether a count draws the same number of each label, and not as many as there are."""
    seed: int = 0
    near_duplicates: bool = True
    """Whether near duplicates stay on one side, as exact duplicates always do."""

    def __post_init__(self) -> None:
        shares = (self.train, self.validation, self.test)
        if not math.isclose(sum(shares), 1, abs_tol=1e-6) or min(shares) < 0 or not self.train:
            raise SplitError(
                "The shares train, validation and test must be 0 or more, train above 0, and sum "
                f"to 1, not {self.train:g} + {self.validation:g} + {self.test:g}."
            )
        for side, least in [("train", 1), ("validation", 0), ("test", 1)]:
            rows = getattr(self, f"{side}_rows")
            if rows is not None and rows < least:
                raise SplitError(f"{side}_rows must be at least {least}, not {rows}.")


def draw_hash(use: str, seed: int, text: bytes) -> bytes:
    """Return where a text comes in the order of drawing, the same on every machine.

    The order does not depend on the other texts, so that a text more moves few others.
    """
    # `use` makes independent orders of the same texts: a sample must not foretell the split.
    return hashlib.blake2b(f"{use} {seed} ".encode() + text, digest_size=16).digest()


def share_out(sizes: Sequence[int], rows: int) -> list[int]:
    """Share ``rows`` out in proportion, at least one each."""
    total = sum(sizes)
    quotas = [max(1, rows * size // total) for size in sizes]
    places = range(len(sizes))

    # In whole numbers: with floats, rounding would decide between equal remainders.
    def excess(place: int) -> int:
        return quotas[place] * total - rows * sizes[place]

    for _ in range(rows - sum(quotas)):
        quotas[min(places, key=excess)] += 1
    # Raising quotas to 1 may have given too many. Needs rows >= len(sizes), as `sample` checks:
    # else no quota above 1 is left to take from.
    for _ in range(sum(quotas) - rows):
        quotas[max((place for place in places if quotas[place] > 1), key=excess)] -= 1
    return quotas


def share_within(sizes: Sequence[int], rows: int, later: int) -> list[int]:
    """Share ``rows`` out in proportion, and leave one of each size for each of ``later`` sides.

    Where a size is too small for that, it gives one; where all are, nothing is left.

    Args:
        sizes: How many there are of each label.
        rows: How many to take of all, from the number of labels to the sum of the sizes.
        later: How many sides are still to come.
    """
    room = [max(1, size - later) for size in sizes]
    if sum(room) < rows:
        room = list(sizes)
    quotas = [min(quota, most) for quota, most in zip(share_out(sizes, rows), room, strict=True)]
    total = sum(sizes)
    for _ in range(rows - sum(quotas)):
        places = [place for place in range(len(sizes)) if quotas[place] < room[place]]
        quotas[min(places, key=lambda place: quotas[place] * total - rows * sizes[place])] += 1
    return quotas


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Draws rows for each side, its share or count of every label, from rows in drawing order."""

    labels: Sequence[str]
    """The label of every row."""
    options: SplitOptions

    def draw(
        self, pools: Mapping[Side, Sequence[int]], given: Mapping[Side, Sequence[int]]
    ) -> dict[Side, list[int]]:
        """Return the rows of each side: those given whole, unless a count is asked of them.

        ``pools`` has rows to draw from, one for each text: those of a given side for itself, and
        those of the training part for all others.

        Raises:
            SplitError: the texts do not make a count.
        """
        pool = list(pools["train"])
        drawn: dict[Side, list[int]] = {}
        for side in self.order():
            rows = pools[side] if side in given else pool
            # Of the whole pool, not of what is left: a label that ran out must fail, not vanish.
            labels = sorted(self.count(pools[side] if side in given else pools["train"]))
            asked = self.asked(side, len(labels), side in given)
            if asked is not None:
                later = 0 if side in given else self.count_later(side, given)
                drawn[side] = self.take(rows, self.quotas(side, asked, labels, rows, later))
                self.check_count(side, asked, drawn[side])
            elif side in given:
                drawn[side] = list(given[side])
            # No count is asked, so training is the last side and takes all that is left.
            elif side == "train":
                drawn[side] = pool
            else:
                drawn[side] = self.take(rows, self.shares(side, rows, "validation" in given))
            if side not in given:
                # What one side has taken is gone for the next: no text can be on two sides.
                chosen = set(drawn[side])
                pool = [row for row in pool if row not in chosen]
        return drawn

    def order(self) -> tuple[Side, ...]:
        """Training rows come last, but before a validation part that grows with them."""
        if self.options.train_rows is not None and self.options.validation_rows is None:
            return ("test", "train", "validation")
        return ("test", "validation", "train")

    def count_later(self, side: Side, given: Collection[Side]) -> int:
        """Return how many sides are drawn after this one from the same rows."""
        order = self.order()
        after = order[order.index(side) + 1 :]
        return sum(other not in given and self.wanted(other) for other in after)

    def quotas(
        self, side: Side, asked: int, labels: Sequence[str], rows: Sequence[int], later: int
    ) -> dict[str, int]:
        """Return how many rows of each label make a count.

        Raises:
            SplitError: the count is too small for one row of each label.
        """
        if 0 < asked < len(labels):
            raise SplitError(
                f"{side}_rows must be at least {len(labels)}, one for each label, not {asked}."
            )
        sizes = self.count(rows)
        there = [label for label in labels if sizes[label]]
        if self.options.balanced or not asked:
            each, extra = divmod(asked, len(labels))
            return {label: each + (place < extra) for place, label in enumerate(labels)}
        if asked >= sum(sizes.values()) or asked < len(there):
            return dict(sizes)
        quotas = share_within([sizes[label] for label in there], asked, later)
        return dict(zip(there, quotas, strict=True))

    def wanted(self, side: Side) -> bool:
        """Tell whether a side is to have rows."""
        rows = getattr(self.options, f"{side}_rows")
        return bool(getattr(self.options, side) if rows is None else rows)

    def count(self, rows: Iterable[int]) -> Counter[str]:
        """Count rows by label."""
        return Counter(self.labels[row] for row in rows)

    def asked(self, side: Side, labels: int, given: bool) -> int | None:
        """Return the rows asked of a side, or None where its share counts."""
        options = self.options
        rows: int | None = getattr(options, f"{side}_rows")
        if rows is None and side == "validation" and not given and options.train_rows is not None:
            share = options.validation / options.train
            # One of each label at least: `quotas` must not refuse a number that nobody set.
            rows = max(labels, round(options.train_rows * share)) if share else 0
        return rows

    def shares(self, side: Side, rows: Sequence[int], validation_given: bool) -> dict[str, int]:
        """Return the rows of each label that a side's share of what is left makes."""
        options = self.options
        whole = options.train + (0 if validation_given else options.validation)
        # Test is drawn first, so its share is of everything; validation's is of what test left.
        part = getattr(options, side) / (whole + (options.test if side == "test" else 0))
        counts = self.count(rows)
        return {label: max(1, round(counts[label] * part)) if part else 0 for label in counts}

    def take(self, rows: Sequence[int], targets: Mapping[str, int]) -> list[int]:
        """Return the first rows of each label, as many as its target says."""
        missing = dict(targets)
        taken: list[int] = []
        for row in rows:
            if missing.get(self.labels[row]):
                missing[self.labels[row]] -= 1
                taken.append(row)
        return taken

    def check_count(self, side: Side, asked: int, drawn: Sequence[int]) -> None:
        """Refuse a count that the texts do not make."""
        if len(drawn) < asked:
            counts = self.count(drawn)
            kind = ", the same number of each label" if self.options.balanced else ""
            found = ", ".join(f"{counts[label]} {label!r}" for label in sorted(counts))
            raise SplitError(
                f"Expected {counted(asked, 'row')} for {side}{kind}, but found only "
                f"{counted(len(drawn), 'different text')}: {found or 'none'}. Ask for fewer rows."
            )
