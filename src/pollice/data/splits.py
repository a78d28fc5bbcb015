"""split(): training, validation and test rows, with no text on two sides.

Knows nothing about methods, and nothing about files.
"""

import hashlib
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pollice.data.dataset import Dataset
from pollice.data.duplicates import find_duplicates
from pollice.errors import SplitError, did_you_mean

Side = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How rows are shared out: by shares, which keep the balance of the labels, or by counts.

    A count is of rows in all, the same number of each label. What the counts leave is shared in
    the proportion of the other sides' shares; only, validation grows with ``train_rows``.

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


_USUAL = SplitOptions()


@dataclass(frozen=True, kw_only=True)
class Split:
    """Three sides of a data set that share no text."""

    train: Dataset
    validation: Dataset
    test: Dataset
    exact_duplicates: int
    """Rows whose text repeats an earlier row's, but for case, white space and HTML."""
    near_duplicates: int
    """Further rows whose text is nearly an earlier row's."""
    leaked_rows_removed: int
    """Rows left out of training or validation, as a side that the source gives has their text."""

    @property
    def test_ids_sha256(self) -> str:
        """The sha256 of the sorted test ids: equal for the same test rows."""
        return hashlib.sha256("\n".join(sorted(self.test.ids)).encode()).hexdigest()


def split(
    dataset: Dataset, options: SplitOptions = _USUAL, *, test: Dataset | None = None
) -> Split:
    """Split a data set; the same seed gives the same sides.

    Rows whose texts are the same, or nearly so, fall on one side. A test or validation part that
    the source gives stays whole, unless a count is asked of it; a separate ``test`` takes the
    place of the source's own. Rows of other parts that hold texts of a given one are left out.

    Raises:
        SplitError: a label or a side has too few rows, or the source has an unknown part.
    """
    labels = dataset.labels if test is None else dataset.labels + test.labels
    texts = dataset.texts if test is None else dataset.texts + test.texts
    duplicates = find_duplicates(texts, near=options.near_duplicates)
    given = _given_parts(dataset, test)
    sides = _without_leaks(given, duplicates.groups)
    drawing = _Drawing(labels=labels, groups=duplicates.groups, options=options)
    _check_seen(sides, labels)
    drawn = drawing.draw(sides)
    if test is not None:
        test = replace(test, label_names=dataset.label_names)
        drawn_test = test.take([row - len(dataset) for row in drawn["test"]])
    else:
        drawn_test = dataset.take(drawn["test"])
    return Split(
        train=replace(dataset.take(drawn["train"]), parts=None),
        validation=replace(dataset.take(drawn["validation"]), parts=None),
        test=replace(drawn_test, parts=None),
        exact_duplicates=duplicates.exact,
        near_duplicates=duplicates.near,
        leaked_rows_removed=sum(map(len, given.values())) - sum(map(len, sides.values())),
    )


def sample(dataset: Dataset, rows: int, seed: int) -> Dataset:
    """Return so many rows in the order of the source, its parts and labels in their proportions.

    Raises:
        SplitError: there is not a row for each label of each part.
    """
    if rows >= len(dataset):
        return dataset
    strata: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, label in enumerate(dataset.labels):
        strata[dataset.parts[row] if dataset.parts else "", label].append(row)
    if rows < len(strata):
        raise SplitError(
            f"A sample must have at least {len(strata)} rows, one for each label of each part, "
            f"not {rows}."
        )
    quotas = _quotas([len(members) for members in strata.values()], rows)
    chooser = random.Random(seed)
    chosen = [
        row
        for members, quota in zip(strata.values(), quotas, strict=True)
        for row in chooser.sample(members, quota)
    ]
    return dataset.take(sorted(chosen))


def _quotas(sizes: Sequence[int], rows: int) -> list[int]:
    """Share ``rows`` out in proportion, at least one each."""
    total = sum(sizes)
    quotas = [max(1, rows * size // total) for size in sizes]
    places = range(len(sizes))

    def excess(place: int) -> int:
        return quotas[place] * total - rows * sizes[place]

    for _ in range(rows - sum(quotas)):
        quotas[min(places, key=excess)] += 1
    for _ in range(sum(quotas) - rows):
        quotas[max((place for place in places if quotas[place] > 1), key=excess)] -= 1
    return quotas


def _given_parts(dataset: Dataset, test: Dataset | None) -> dict[Side, list[int]]:
    """Return the rows of each part; rows of a separate test follow those of the data set."""
    parts: dict[Side, list[int]] = {side: [] for side in SIDES}
    for row, name in enumerate(dataset.parts or ["train"] * len(dataset)):
        if name not in SIDES:
            raise SplitError(
                f"A part must be train, validation or test, but the row {dataset.ids[row]!r} is in "
                f"{name!r}.{did_you_mean(name, SIDES)}"
            )
        parts[name].append(row)
    if not parts["train"]:
        found = ", ".join(side for side in SIDES if parts[side])
        raise SplitError(
            f"Expected training rows, but the source has only the parts {found or 'of no rows'}. "
            "Name a source with a train part, or read it without its split column."
        )
    if test is not None:
        parts["test"] = list(range(len(dataset), len(dataset) + len(test)))
    return parts


def _without_leaks(parts: Mapping[Side, list[int]], groups: Sequence[int]) -> dict[Side, list[int]]:
    """Leave out of validation what touches the test part, and of training what touches either."""
    seen: set[int] = set()
    clean: dict[Side, list[int]] = {}
    for side in ("test", "validation", "train"):
        clean[side] = [row for row in parts[side] if groups[row] not in seen]
        seen.update(groups[row] for row in clean[side])
    return clean


def _check_seen(sides: Mapping[Side, list[int]], labels: Sequence[str]) -> None:
    known = {labels[row] for row in sides["train"]}
    for side in ("test", "validation"):
        unseen = sorted({labels[row] for row in sides[side]} - known)
        if unseen:
            raise SplitError(
                f"Expected training rows of every label, but only the {side} part has the label "
                f"{unseen[0]!r}. Add such rows or leave the label out."
                f"{did_you_mean(unseen[0], sorted(known))}"
            )


@dataclass(frozen=True, kw_only=True)
class _Drawing:
    """Draws groups of like rows at random, for each side its share or count of every label."""

    labels: Sequence[str]
    groups: Sequence[int]
    options: SplitOptions

    def draw(self, sides: Mapping[Side, list[int]]) -> dict[Side, list[int]]:
        """Return the rows of each side in the order of the source."""
        pool = sides["train"]
        drawn: dict[Side, list[int]] = {}
        needed: list[Side] = []
        for side in self.order():
            given = side != "train" and bool(sides[side])
            rows = sides[side] if given else pool
            labels = sorted(self.count(sides[side] if given else sides["train"]))
            asked = self.asked(side, len(labels), given)
            if asked is not None:
                drawn[side] = self.take(rows, _balanced(side, asked, labels))
                self.check_count(side, asked, drawn[side])
            elif given or side == "train":
                drawn[side] = rows
            else:
                drawn[side] = self.take(rows, self.shares(side, rows, bool(sides["validation"])))
            if not given:
                chosen = set(drawn[side])
                pool = [row for row in pool if row not in chosen]
                needed += [side] if self.wanted(side) else []
        self.check_every_label(sides["train"], drawn, needed)
        return drawn

    def order(self) -> tuple[Side, ...]:
        """Training rows come last, but before a validation part that grows with them."""
        if self.options.train_rows is not None and self.options.validation_rows is None:
            return ("test", "train", "validation")
        return ("test", "validation", "train")

    def wanted(self, side: Side) -> bool:
        rows = getattr(self.options, f"{side}_rows")
        return bool(getattr(self.options, side) if rows is None else rows)

    def count(self, rows: Iterable[int]) -> Counter[str]:
        return Counter(self.labels[row] for row in rows)

    def asked(self, side: Side, labels: int, given: bool) -> int | None:
        """Return the rows asked of a side, or None where its share counts."""
        options = self.options
        rows: int | None = getattr(options, f"{side}_rows")
        if rows is None and side == "validation" and not given and options.train_rows is not None:
            share = options.validation / options.train
            rows = max(labels, round(options.train_rows * share)) if share else 0
        return rows

    def shares(self, side: Side, rows: Sequence[int], validation_given: bool) -> dict[str, int]:
        """Return the rows of each label that a side's share of what is left makes."""
        options = self.options
        whole = options.train + (0 if validation_given else options.validation)
        part = getattr(options, side) / (whole + (options.test if side == "test" else 0))
        counts = self.count(rows)
        return {label: max(1, round(counts[label] * part)) if part else 0 for label in counts}

    def take(self, rows: Sequence[int], targets: Mapping[str, int]) -> list[int]:
        """Draw whole groups at random, as long as each label stays within its target."""
        members: dict[int, list[int]] = defaultdict(list)
        for row in rows:
            members[self.groups[row]].append(row)
        shuffled = list(members.values())
        random.Random(self.options.seed).shuffle(shuffled)
        missing = dict(targets)
        taken: list[int] = []
        for group in shuffled:
            counts = self.count(group)
            if all(missing[label] >= count for label, count in counts.items()):
                taken += group
                for label, count in counts.items():
                    missing[label] -= count
        return sorted(taken)

    def check_count(self, side: Side, asked: int, drawn: Sequence[int]) -> None:
        if len(drawn) < asked:
            counts = self.count(drawn)
            found = ", ".join(f"{counts[label]} {label!r}" for label in sorted(counts))
            raise SplitError(
                f"Expected {asked} rows for {side}, the same number of each label, but there are "
                f"only {len(drawn)}: {found or 'none'}. Ask for fewer rows."
            )

    def check_every_label(
        self, pool: Sequence[int], drawn: Mapping[Side, list[int]], needed: Sequence[Side]
    ) -> None:
        counts = {side: self.count(drawn[side]) for side in SIDES if side in needed}
        for label, rows in sorted(self.count(pool).items()):
            if not all(count[label] for count in counts.values()):
                found = ", ".join(f"{count[label]} for {side}" for side, count in counts.items())
                raise SplitError(
                    f"Expected rows of every label on every side, but the {rows} rows of the label "
                    f"{label!r} give {found}. Add rows of it or leave the label out."
                )


def _balanced(side: Side, rows: int, labels: Sequence[str]) -> dict[str, int]:
    if 0 < rows < len(labels):
        raise SplitError(
            f"{side}_rows must be at least {len(labels)}, one for each label, not {rows}."
        )
    each, extra = divmod(rows, len(labels))
    return {label: each + (place < extra) for place, label in enumerate(labels)}
