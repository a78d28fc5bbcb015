"""split(): training, validation and test rows, with no text on two sides and each text once.

Knows nothing about methods, and nothing about files.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pollice.data.dataset import Dataset
from pollice.data.drawing import SIDES as SIDES
from pollice.data.drawing import Drawing, Side, draw_hash, share_out
from pollice.data.drawing import SplitOptions as SplitOptions
from pollice.data.duplicates import Duplicates, find_duplicates
from pollice.data.summary import count_contradictory, find_repeated
from pollice.errors import SplitError, counted, did_you_mean

DRAWING = 2
"""Rises whenever the same rows and seed give other sides; 1 shuffled by the order of the file."""

_USUAL = SplitOptions()


@dataclass(frozen=True, kw_only=True)
class Split:
    """Three sides of a data set that share no text."""

    train: Dataset
    validation: Dataset
    test: Dataset
    exact_duplicates: int
    """Rows whose text repeats an earlier row's, but for what `normalize` takes away."""
    near_duplicates: int
    """Further rows whose text is nearly an earlier row's."""
    leaked_rows_removed: int
    """Rows left out of training or validation, as a side that the source gives has their text."""
    copies_left_out: int
    """Rows not drawn, as another row stands for their text."""
    copies_in_test: int
    """Rows of a given test part that repeat a text of it: it stays whole."""
    contradictory_texts: int
    """Texts whose copies have different labels; the commonest of them counts."""
    repeated_texts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The texts that more than 2 % of all rows have, and their rows by label."""

    @property
    def test_ids_sha256(self) -> str:
        """The sha256 of the sorted test ids: equal for the same test rows."""
        return hashlib.sha256("\n".join(sorted(self.test.ids)).encode()).hexdigest()


def split(
    dataset: Dataset, options: SplitOptions = _USUAL, *, test: Dataset | None = None
) -> Split:
    """Split a data set; the same texts, labels and seed give the same sides in whatever order.

    A text counts once, however many rows are its copies, exactly or nearly: it is on one side, and
    one row stands for it, of the label that most of its rows have. Texts are drawn by a hash of
    their own, so that a row more moves few others. A test or validation part that the source gives
    stays whole, unless a count is asked of it; a separate ``test`` takes the place of the source's
    own. Rows of other parts that hold texts of a given one are left out.

    Raises:
        SplitError: a label or a side has too few rows, or the source has an unknown part.
    """
    rows = _Rows.of(dataset, test, options)
    parts = _given_parts(dataset, test)
    # Before `once`: the row that stands for a text must be of the side that keeps the text.
    sides = _without_leaks(parts, rows.duplicates.groups)
    _check_seen(parts, sides, rows.labels)
    given: dict[Side, list[int]]
    # A validation part that lost every row to the test part counts as not given.
    given = {side: sides[side] for side in SIDES if side != "train" and sides[side]}
    pools = {side: rows.once(sides[side]) for side in SIDES}
    drawing = Drawing(labels=rows.labels, options=options)
    drawn = drawing.draw(pools, given)
    asked = {side: drawn[side] for side in SIDES if side not in given and drawing.wanted(side)}
    _check_every_label(asked, parts, sides, pools["train"], rows.labels)
    return Split(
        train=rows.take(drawn["train"]),
        validation=rows.take(drawn["validation"]),
        test=rows.take(drawn["test"]),
        exact_duplicates=rows.duplicates.exact,
        near_duplicates=rows.duplicates.near,
        leaked_rows_removed=sum(map(len, parts.values())) - sum(map(len, sides.values())),
        # A part kept whole leaves nothing out; a side drawn from training has no part, and adds 0.
        copies_left_out=sum(
            len(sides[side]) - len(pools[side]) for side in SIDES if drawn[side] != sides[side]
        ),
        copies_in_test=len(drawn["test"]) - len(rows.once(drawn["test"])),
        contradictory_texts=count_contradictory(rows.labels, rows.duplicates.groups),
        repeated_texts=find_repeated(rows.texts, rows.labels, rows.duplicates.groups),
    )


def sample(dataset: Dataset, rows: int, seed: int) -> Dataset:
    """Return so many rows in the order of the source, its parts and labels in their proportions.

    Rows are drawn by a hash of their text, so that their order does not matter; copies keep their
    share of the rows.

    Raises:
        SplitError: there is not a row for each label of each part.
    """
    if rows >= len(dataset):
        return dataset
    strata: dict[tuple[str, str], list[tuple[bytes, int]]] = defaultdict(list)
    times = Counter[tuple[str, str, str]]()
    for row, (text, label) in enumerate(zip(dataset.texts, dataset.labels, strict=True)):
        part = dataset.parts[row] if dataset.parts else ""
        # With the copy's number, copies have different hashes; else they would be drawn together.
        content = f"{times[part, label, text]} {text}".encode("utf-8", "surrogatepass")
        times[part, label, text] += 1
        strata[part, label].append((draw_hash("sample", seed, content), row))
    if rows < len(strata):
        raise SplitError(
            f"A sample must have at least {counted(len(strata), 'row')}, one for each label of "
            f"each part, not {rows}."
        )
    names = sorted(strata)
    quotas = share_out([len(strata[name]) for name in names], rows)
    chosen = [
        row
        for name, quota in zip(names, quotas, strict=True)
        for _, row in sorted(strata[name])[:quota]
    ]
    return dataset.take(sorted(chosen))


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """All rows: those of the data set, then those of a separate test."""

    dataset: Dataset
    test: Dataset | None
    texts: Sequence[str]
    labels: Sequence[str]
    duplicates: Duplicates
    seed: int
    order: Mapping[int, bytes]
    """For each group of copies, where it comes in the order of drawing."""

    @classmethod
    def of(cls, dataset: Dataset, test: Dataset | None, options: SplitOptions) -> "_Rows":
        texts = dataset.texts if test is None else dataset.texts + test.texts
        duplicates = find_duplicates(texts, near=options.near_duplicates)
        least: dict[int, bytes] = {}
        for group, key in zip(duplicates.groups, duplicates.keys, strict=True):
            # The least key of all copies, not the first row's, which depends on the file's order.
            least[group] = min(key, least.get(group, key))
        return cls(
            dataset=dataset,
            test=test,
            texts=texts,
            labels=dataset.labels if test is None else dataset.labels + test.labels,
            duplicates=duplicates,
            seed=options.seed,
            order={group: draw_hash("split", options.seed, key) for group, key in least.items()},
        )

    def once(self, rows: Sequence[int]) -> list[int]:
        """Return one row for each text, of its commonest label, in the order of drawing."""
        groups: dict[int, list[int]] = defaultdict(list)
        for row in rows:
            groups[self.duplicates.groups[row]].append(row)
        drawn = sorted(groups, key=self.order.__getitem__)
        return [self.choose(groups[group]) for group in drawn]

    def choose(self, copies: Sequence[int]) -> int:
        """Return the row that stands for its copies, whatever their order in the source."""
        if len(copies) == 1:
            return copies[0]
        counts = Counter(self.labels[row] for row in copies)
        most = max(counts.values())

        def place(row: int) -> tuple[bytes, str]:
            content = f"{self.labels[row]}\n{self.texts[row]}".encode("utf-8", "surrogatepass")
            # Rows equal in label and text hash alike; only then does the id decide.
            return draw_hash("copy", self.seed, content), self.id_of(row)

        return min((row for row in copies if counts[self.labels[row]] == most), key=place)

    def id_of(self, row: int) -> str:
        own = len(self.dataset)
        return self.dataset.ids[row] if self.test is None or row < own else self.test.ids[row - own]

    def take(self, rows: Sequence[int]) -> Dataset:
        """Return rows of one side, which are all of the data set or all of the separate test."""
        own = len(self.dataset)
        if self.test is None or not rows or rows[0] < own:
            return replace(self.dataset.take(rows), parts=None)
        test = replace(self.test, label_names=self.dataset.label_names, parts=None)
        return test.take([row - own for row in rows])


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
            "Name a source with a train part, or read it without its parts: --split-column none."
        )
    if test is not None:
        parts["test"] = list(range(len(dataset), len(dataset) + len(test)))
    return parts


def _without_leaks(parts: Mapping[Side, list[int]], groups: Sequence[int]) -> dict[Side, list[int]]:
    """Leave out of validation what touches the test part, and of training what touches either."""
    seen: set[int] = set()
    clean: dict[Side, list[int]] = {}
    # Test comes first, as it stays whole: everything else gives way to it. Copies within one
    # part are no leak, so `seen` grows only after the part has been filtered.
    for side in ("test", "validation", "train"):
        clean[side] = [row for row in parts[side] if groups[row] not in seen]
        seen.update(groups[row] for row in clean[side])
    return clean


def _check_seen(
    parts: Mapping[Side, list[int]], sides: Mapping[Side, list[int]], labels: Sequence[str]
) -> None:
    """Refuse a label that training rows lack, or lost to the texts of a given part."""
    known = {labels[row] for row in sides["train"]}
    before = Counter(labels[row] for row in parts["train"])
    for label in sorted(before.keys() - known):
        raise SplitError(
            f"Expected training rows of every label, but all {before[label]} of the label "
            f"{label!r} were left out, as the test or validation part has their texts. "
            "Add other rows of it, or leave the label out with --drop-label."
        )
    for side in ("test", "validation"):
        unseen = sorted({labels[row] for row in sides[side]} - known)
        if unseen:
            raise SplitError(
                f"Expected training rows of every label, but only the {side} part has the label "
                f"{unseen[0]!r}. Add such rows, or leave the label out with --drop-label."
                f"{did_you_mean(unseen[0], sorted(known))}"
            )


def _check_every_label(
    drawn: Mapping[Side, Sequence[int]],
    parts: Mapping[Side, Sequence[int]],
    sides: Mapping[Side, Sequence[int]],
    pool: Sequence[int],
    labels: Sequence[str],
) -> None:
    """Refuse a label that a side lacks; say how many of its rows could be drawn, and why."""
    counts = {side: Counter(labels[row] for row in rows) for side, rows in drawn.items()}
    given, clean, once = (
        Counter(labels[row] for row in rows) for rows in (parts["train"], sides["train"], pool)
    )
    for label, rows in sorted(given.items()):
        if all(count[label] for count in counts.values()):
            continue
        lost = {
            "left out, as the test or validation part has their texts": rows - clean[label],
            "copies of others": clean[label] - once[label],
        }
        why = ", ".join(f"{lost_rows} {reason}" for reason, lost_rows in lost.items() if lost_rows)
        found = ", ".join(f"{count[label]} for {side}" for side, count in counts.items())
        raise SplitError(
            f"Expected rows of every label on every side, but the {counted(rows, 'row')} of the "
            f"label {label!r}{f' ({why})' if why else ''} {'gives' if rows == 1 else 'give'} "
            f"{found}. Add rows of it, or leave the label out with --drop-label."
        )
