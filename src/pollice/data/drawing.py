"""How rows are shared out over training, validation and test: options, order and quotas.

Knows nothing about parts that a source gives, and nothing about what makes two texts copies.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pollice.errors import SplitError

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How rows are shared out: by shares, which keep the balance of the labels, or by counts.

    Copies of a text count once. A share is kept label by label: a side has a label's texts in
    proportion, give or take one, and at least one. A count is of rows in all, the same number of
    each label. What the counts leave is shared in the proportion of the other sides' shares; only,
    validation grows with ``train_rows``.

    Raises:
        SplitError: the shares do not sum to 1, or a share or a count is out of its range.
    """

    train: float = 0.7
    validation: float = 0.1
    test: float = 0.2
    train_rows: int | None = None
    validation_rows: int | None = None
    test_rows: int | None = None
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
                drawn[side] = self.take(rows, _balanced(side, asked, labels))
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
            # One of each label at least: `_balanced` must not refuse a number that nobody set.
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
            found = ", ".join(f"{counts[label]} {label!r}" for label in sorted(counts))
            raise SplitError(
                f"Expected {asked} rows for {side}, the same number of each label, but there are "
                f"only {len(drawn)} different texts: {found or 'none'}. Ask for fewer rows."
            )


def _balanced(side: Side, rows: int, labels: Sequence[str]) -> dict[str, int]:
    if 0 < rows < len(labels):
        raise SplitError(
            f"{side}_rows must be at least {len(labels)}, one for each label, not {rows}."
        )
    each, extra = divmod(rows, len(labels))
    return {label: each + (place < extra) for place, label in enumerate(labels)}
