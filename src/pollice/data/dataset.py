"""Labelled texts: `Dataset`, and texts that are only to be judged: `TextTable`.

Knows nothing about where they come from, and nothing about what a label means.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pollice.data.columns import ReadOptions
from pollice.errors import DataError, counted


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Labelled texts, one row a text.

    Raises:
        DataError: the columns differ in length, an id occurs twice, or a label has no name.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    label_names: tuple[str, ...]
    """The order of every probability column."""
    parts: tuple[str, ...] | None = None
    """``"train"``, ``"validation"`` or ``"test"`` for each row, where the source says so."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Rows left out when reading, by reason."""
    weights: tuple[float, ...] | None = None
    """How much each row counts in fitting, for methods that can tell; None: all alike."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was decided in reading and a person should know, one sentence each."""
    reading: ReadOptions | None = field(default=None, compare=False)
    """How the source was read, with the columns that were found; None: not from a source."""

    def __post_init__(self) -> None:
        rows = len(self.ids)
        for name in ("texts", "labels", "parts", "weights"):
            column = getattr(self, name)
            if column is not None and len(column) != rows:
                raise DataError(
                    f"{name} must have {counted(rows, 'row')} like ids, not {len(column)}."
                )
        if len(set(self.ids)) != rows:
            twice = Counter(self.ids).most_common(1)[0][0]
            raise DataError(f"Every id must be unique, but {twice!r} stands on several rows.")
        unknown = sorted(set(self.labels).difference(self.label_names))
        if unknown:
            raise DataError(
                f"Every label must be one of the label names {', '.join(self.label_names)}, "
                f"but found {unknown[0]!r}."
            )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> "Dataset":
        """Return the given rows in the given order; label names stay as they are."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            texts=tuple(self.texts[row] for row in rows),
            labels=tuple(self.labels[row] for row in rows),
            parts=None if self.parts is None else tuple(self.parts[row] for row in rows),
            weights=None if self.weights is None else tuple(self.weights[row] for row in rows),
        )


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Texts to be judged, every row of their source in its order."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    gold: tuple[str | None, ...] | None
    """The true labels; None where a row, or the whole source, has none."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was decided in reading and a person should know, one sentence each."""

    def __len__(self) -> int:
        return len(self.ids)
