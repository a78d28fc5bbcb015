"""The predictions table: all that judging needs from learning.

Knows nothing about models, and nothing about metrics.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pollice.errors import PredictionsError, counted
from pollice.predictions.foreign_columns import COLUMN, ForeignColumns
from pollice.predictions.foreign_tables import read_table
from pollice.predictions.predictor import FloatArray


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The predictions table: a row for each text; NaN probabilities mean no answer."""

    ids: tuple[str, ...]
    label_names: tuple[str, ...]
    probabilities: FloatArray
    """``(texts, labels)``."""
    gold: tuple[str | None, ...] | None = None
    """The true labels; None for the rows, or for the whole table, where they are not known."""
    tokens: NDArray[np.int64]
    truncated: NDArray[np.bool_] | None
    """Whether a text was too long to be read whole; None where that is not known."""
    variants: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = len(self.ids)
        expected = (rows, len(self.label_names))
        for name, table in {"probabilities": self.probabilities, **self.variants}.items():
            if table.shape != expected:
                raise PredictionsError(
                    f"{name} must have the shape (rows, labels) = {expected}, not {table.shape}."
                )
        for name, column in [
            ("gold", self.gold),
            ("tokens", self.tokens),
            ("truncated", self.truncated),
        ]:
            if column is not None and len(column) != rows:
                raise PredictionsError(
                    f"{name} must have {counted(rows, 'row')} like ids, not {len(column)}."
                )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def answers(self) -> NDArray[np.int64]:
        """The column of each row's most probable label, ``(rows,)``; -1 for no answer.

        If labels share the highest probability, the first name in sorted order wins, so the order
        of the columns decides nothing.
        """
        order = np.argsort(np.array(self.label_names, dtype=object), kind="stable")
        best = order[np.argmax(self.probabilities[:, order], axis=1)]
        answers: NDArray[np.int64] = np.where(self._has_answer, best, -1)
        return answers

    @property
    def tied(self) -> NDArray[np.bool_]:
        """Which rows have more than one label with the highest probability."""
        highest = self.probabilities.max(axis=1, keepdims=True)
        at_highest: NDArray[np.int64] = np.equal(self.probabilities, highest).sum(axis=1)
        return np.logical_and(self._has_answer, at_highest > 1)

    @property
    def predicted(self) -> tuple[str | None, ...]:
        """The most probable label of each row, as in `answers`; None for no answer."""
        return tuple(
            None if column < 0 else self.label_names[column] for column in self.answers.tolist()
        )

    @property
    def cut_rows(self) -> int | None:
        """How many texts were too long to read whole; None if not known."""
        return None if self.truncated is None else int(self.truncated.sum())

    @property
    def unread_rows(self) -> int:
        """In how many texts the model read no token, or knew none that it read."""
        return int(np.sum(self.tokens == 0))

    @property
    def _has_answer(self) -> NDArray[np.bool_]:
        return np.asarray(np.isfinite(self.probabilities).all(axis=1), np.bool_)

    @property
    def labelled(self) -> "Predictions":
        """The rows whose true label is known; the whole table if that is so of all or none."""
        known = [row for row, label in enumerate(self.gold or ()) if label is not None]
        if self.gold is None or len(known) == len(self):
            return self
        if not known:
            return replace(self, gold=None)
        return Predictions(
            ids=tuple(self.ids[row] for row in known),
            label_names=self.label_names,
            probabilities=self.probabilities[known],
            gold=tuple(self.gold[row] for row in known),
            tokens=self.tokens[known],
            truncated=None if self.truncated is None else self.truncated[known],
            variants={name: table[known] for name, table in self.variants.items()},
        )

    def variant(self, name: str) -> "Predictions":
        """Return the same table with the probabilities of a variant."""
        return Predictions(
            ids=self.ids,
            label_names=self.label_names,
            probabilities=self.variants[name],
            gold=self.gold,
            tokens=self.tokens,
            truncated=self.truncated,
        )

    def write(self, path: Path | str) -> None:
        """Write the table as Parquet; the same table gives the same bytes."""
        columns: dict[str, Any] = {"id": pa.array(self.ids, pa.string())}
        if self.gold is not None:
            columns["gold"] = pa.array(self.gold, pa.string())
        columns |= _probability_columns("", self.label_names, self.probabilities)
        columns["tokens"] = pa.array(self.tokens, pa.int64())
        if self.truncated is not None:
            columns["truncated"] = pa.array(self.truncated, pa.bool_())
        for name, table in self.variants.items():
            columns |= _probability_columns(f"{name}/", self.label_names, table)
        pq.write_table(pa.table(columns), path, compression="zstd")

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read a table from `write` or any other system, to judge it.

        The file is Parquet, CSV, TSV or JSON Lines, as its ending says. Required
        columns: ``id``, and ``probability:LABEL`` for each label. Optional: ``gold``,
        ``tokens``, ``truncated`` and ``VARIANT/probability:LABEL``.

        Raises:
            PredictionsError: a column is missing or holds wrong values, with the row.
        """
        table = read_table(Path(path))
        return cls._of_table(table, Path(path))

    @classmethod
    def _of_table(cls, table: Any, path: Path) -> Self:
        names = tuple(
            name.removeprefix(COLUMN) for name in table.column_names if name.startswith(COLUMN)
        )
        if "id" not in table.column_names or len(names) < 2:
            raise PredictionsError(
                f"A predictions table needs the column id and a column {COLUMN}LABEL for each of "
                f"two labels or more, but {path} has: {', '.join(table.column_names)}."
            )
        found = ForeignColumns(table, path)
        return cls(
            ids=found.names("id"),
            label_names=names,
            probabilities=found.probabilities("", names),
            gold=found.optional_names("gold") if "gold" in table.column_names else None,
            tokens=found.tokens(),
            truncated=found.truncated(),
            variants={
                name: found.probabilities(f"{name}/", names)
                for name in _variant_names(table.column_names)
            },
        )


def _variant_names(columns: Iterable[str]) -> list[str]:
    """Return the names of the variants; a label may hold the very mark that ends them."""
    return list(
        dict.fromkeys(
            name.partition(f"/{COLUMN}")[0]
            for name in columns
            if f"/{COLUMN}" in name and not name.startswith(COLUMN)
        )
    )


def _probability_columns(
    prefix: str, label_names: tuple[str, ...], probabilities: FloatArray
) -> dict[str, Any]:
    return {
        f"{prefix}{COLUMN}{label}": pa.array(probabilities[:, column], pa.float64())
        for column, label in enumerate(label_names)
    }


def ids_sha256(ids: Iterable[str]) -> str:
    """Return the sha256 of the sorted ids, one per line: it identifies a set of rows."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
