"""Labels as a source gives them -> the names of labels.

Knows nothing about texts, and nothing about what a label means.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pollice.errors import DataError

_MOST_LABELS = 1000
_FEW_ROWS = 12  # so few rows may well have as many labels
_NO_LABEL_CODE = "-1"  # how data sets of the Hub say that a row has no label


def name_label(source: str, label: str | None, names: Mapping[str, str] | None) -> str | None:
    """Return the name of a label code; None for a row without a label.

    Raises:
        DataError: there are names, but none for this code.
    """
    if label is None or names is None or label in names.values():
        return label
    if label not in names and label != _NO_LABEL_CODE:
        raise DataError(
            f"Expected the labels {', '.join(names)} in {source}, but found {label!r}. "
            "Give a name for every label."
        )
    return names.get(label)


def check_labels(source: str, labels: Sequence[str]) -> None:
    """Refuse labels that nothing can be learned from.

    Raises:
        DataError: there are none, one, or far too many.
    """
    counts = Counter(labels)
    if not counts:
        raise DataError(
            f"Expected rows with a text and a label, but {source} has none. "
            "Name another text or label column."
        )
    if len(counts) == 1:
        raise DataError(
            f"Expected two labels or more, but every row of {source} has the label {labels[0]!r}. "
            "Name another label column, or add rows of another label."
        )
    many = len(labels) > _FEW_ROWS and len(counts) > len(labels) / 2
    if many or len(counts) > _MOST_LABELS:
        raise DataError(
            f"Expected a few labels, but {source} has {len(counts):,} different ones on "
            f"{len(labels):,} rows, such as {labels[0]!r}. Name another label column."
        )


def sort_labels(labels: Iterable[str], names: Mapping[str, str] | None) -> tuple[str, ...]:
    """Return the distinct labels in the order of ``names``, of numbers, or of the alphabet."""
    found = set(labels)
    if names is not None:
        # Two codes may have the same name, so the names are made distinct, in the order given.
        return tuple(name for name in dict.fromkeys(names.values()) if name in found)
    try:
        # By name first: "1" and "1.0" are equal as numbers, and a set's order changes every time.
        return tuple(sorted(sorted(found), key=float))
    except ValueError:
        return tuple(sorted(found))
