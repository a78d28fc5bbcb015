"""Refuse labels that nothing can be learned from, and put the others in order.

Knows nothing about texts, and nothing about how a source spells its labels.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from pollice.data.columns import ReadOptions
from pollice.data.label_spelling import is_number
from pollice.data.rating_bins import NO_BINS, rating_of, read_bins
from pollice.errors import DataError, counted

_MOST_LABELS = 1000
_FEW_ROWS = 12  # so few rows may well have as many labels
_MOST_STEPS = 20  # scales have fewer
_HIGHEST_RATING = 100  # whole numbers beyond it, with no gap below, are codes of labels


class NoLabelsError(DataError):
    """A table whose column of labels is empty, or whose labels are all left out."""


def check_labels(
    source: str, labels: Sequence[str], options: ReadOptions, dropped: Mapping[str, int]
) -> None:
    """Refuse labels that nothing can be learned from; ``dropped`` counts rows without one.

    Raises:
        DataError: there are none, one, far too many, or ratings in place of labels.
    """
    counts = Counter(labels)
    if not counts:
        left_out = ", ".join(f"{counted(rows, 'row')} ({why})" for why, rows in dropped.items())
        raise NoLabelsError(
            f"Expected rows with a text and a label, but {source} has none"
            f"{f'; left out: {left_out}' if left_out else ''}. "
            "Name another column with --text-column or --label-column."
        )
    if len(counts) == 1:
        raise DataError(
            f"Expected two labels or more, but every row of {source} has the label {labels[0]!r}. "
            "Name another column with --label-column, or add rows of another label."
        )
    if options.rating_bins is None and _are_ratings(counts, len(labels)):
        numbers = sorted(map(_rating, counts))
        low, high = numbers[0], numbers[-1]
        raise DataError(
            f"Expected a few labels, but {source} has {len(counts):,} different numbers from "
            f"{low:f} to {high:f}. If they are ratings, make labels of them, as with --rating-bins "
            f'"negative<{(low + high) / 2:.4g}<=positive"; if each is a label, --rating-bins none; '
            "else name another column with --label-column."
        )
    many = len(labels) > _FEW_ROWS and len(counts) > len(labels) / 2
    if many or len(counts) > _MOST_LABELS:
        raise DataError(
            f"Expected a few labels ({_MOST_LABELS:,} at most), but {source} has {len(counts):,} "
            f"different ones on {len(labels):,} rows, such as {labels[0]!r}. Name another column "
            "with --label-column."
        )


def _rating(label: str) -> Decimal:
    return rating_of(label) or Decimal(0)


def _are_ratings(counts: Mapping[str, int], rows: int) -> bool:
    if any(rating_of(label) is None for label in counts):
        return False
    numbers = list(map(_rating, counts))
    if any(number != number.to_integral_value() for number in numbers):
        # Half points make a scale of few steps; more digits are measured, or averaged.
        return len(counts) > _FEW_ROWS or 2 * len(counts) > max(rows, 6)
    without_gap = max(numbers) - min(numbers) + 1 == len(numbers) and min(numbers) in (0, 1)
    return len(counts) > _MOST_STEPS and not (without_gap and max(numbers) > _HIGHEST_RATING)


def sort_labels(labels: Iterable[str], options: ReadOptions) -> tuple[str, ...]:
    """Return the distinct labels in the order of names or bins, of numbers, or of the alphabet."""
    found = set(labels)
    order: list[str] = []
    if options.label_names is not None:
        # Two codes may have the same name, so the names are made distinct, in the order given.
        order = list(dict.fromkeys(options.label_names.values()))
    elif options.rating_bins not in (None, NO_BINS):
        order = list(read_bins(str(options.rating_bins)).labels)
    numbers = all(map(is_number, found))
    # By name first: two labels may be equal as numbers, and a set's order changes every time.
    others = sorted(found.difference(order))
    others = sorted(others, key=Decimal) if numbers else others
    return (*(name for name in order if name in found), *others)
