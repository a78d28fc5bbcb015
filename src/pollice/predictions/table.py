"""Predictor and the predictions table: the waist between learning and judging.

Knows nothing about models, and nothing about metrics.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pollice.errors import PredictionsError
from pollice.predictions.predictor import FloatArray

_COLUMN = "probability:"


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The predictions table: one row a text. A row whose probabilities are NaN has no answer."""

    ids: tuple[str, ...]
    label_names: tuple[str, ...]
    probabilities: FloatArray
    """``(texts, labels)``."""
    gold: tuple[str, ...] | None = None
    """The true labels, where they are known."""
    tokens: NDArray[np.int64]
    truncated: NDArray[np.bool_]
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
                raise PredictionsError(f"{name} must have {rows} rows like ids, not {len(column)}.")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> tuple[str | None, ...]:
        """The most probable label of each row; None where there is no answer."""
        return tuple(
            self.label_names[int(np.argmax(row))] if np.isfinite(row).all() else None
            for row in self.probabilities
        )

    def variant(self, name: str) -> "Predictions":
        """Return the same table with a variant's probabilities as its own."""
        return Predictions(
            ids=self.ids,
            label_names=self.label_names,
            probabilities=self.variants[name],
            gold=self.gold,
            tokens=self.tokens,
            truncated=self.truncated,
        )

    def write(self, path: Path) -> None:
        """Write the table as Parquet: the same table gives the same bytes."""
        columns: dict[str, Any] = {"id": pa.array(self.ids, pa.string())}
        if self.gold is not None:
            columns["gold"] = pa.array(self.gold, pa.string())
        columns |= _probability_columns("", self.label_names, self.probabilities)
        columns["tokens"] = pa.array(self.tokens, pa.int64())
        columns["truncated"] = pa.array(self.truncated, pa.bool_())
        for name, table in self.variants.items():
            columns |= _probability_columns(f"{name}/", self.label_names, table)
        pq.write_table(pa.table(columns), path, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a table that `write` or any outside system wrote.

        Needed are the columns ``id`` and one ``probability:LABEL`` a label; ``gold``,
        ``tokens``, ``truncated`` and ``VARIANT/probability:LABEL`` may be there.
        """
        try:
            table = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise PredictionsError(
                f"Expected a Parquet predictions table, but {path} cannot be read as one "
                f"({type(error).__name__}). Name the predictions.parquet of a run."
            ) from error
        return cls._of_table(table, path)

    @classmethod
    def _of_table(cls, table: Any, path: Path) -> Self:
        names = tuple(
            name.removeprefix(_COLUMN) for name in table.column_names if name.startswith(_COLUMN)
        )
        if "id" not in table.column_names or len(names) < 2:
            raise PredictionsError(
                f"A predictions table needs the column id and a column {_COLUMN}LABEL for each of "
                f"two labels or more, but {path} has: {', '.join(table.column_names)}."
            )
        rows = table.num_rows
        variants = dict.fromkeys(
            name.partition("/")[0] for name in table.column_names if f"/{_COLUMN}" in name
        )
        return cls(
            ids=tuple(str(value) for value in table["id"].to_pylist()),
            label_names=names,
            probabilities=_probabilities(table, path, "", names),
            gold=_gold(table, path),
            tokens=_column(table, "tokens", np.zeros(rows, np.int64)),
            truncated=_column(table, "truncated", np.zeros(rows, np.bool_)),
            variants={name: _probabilities(table, path, f"{name}/", names) for name in variants},
        )


def _probability_columns(
    prefix: str, label_names: tuple[str, ...], probabilities: FloatArray
) -> dict[str, Any]:
    return {
        f"{prefix}{_COLUMN}{label}": pa.array(probabilities[:, column], pa.float64())
        for column, label in enumerate(label_names)
    }


def _probabilities(table: Any, path: Path, prefix: str, label_names: tuple[str, ...]) -> FloatArray:
    columns = []
    for label in label_names:
        name = f"{prefix}{_COLUMN}{label}"
        if name not in table.column_names:
            raise PredictionsError(f"Expected a column {name} in {path}, but there is none.")
        try:
            columns.append(table[name].cast(pa.float64()).to_numpy())
        except pa.ArrowException as error:
            raise PredictionsError(
                f"Expected numbers in the column {name} of {path}, but found {table[name].type}."
            ) from error
    return np.stack(columns, axis=1)


def _gold(table: Any, path: Path) -> tuple[str, ...] | None:
    if "gold" not in table.column_names:
        return None
    values = table["gold"].to_pylist()
    if None in values:
        raise PredictionsError(
            f"Expected a gold label in every row of {path}, but row {values.index(None) + 1} has "
            "none. Leave the column out where labels are not known."
        )
    return tuple(str(value) for value in values)


def _column(table: Any, name: str, default: NDArray[Any]) -> NDArray[Any]:
    if name not in table.column_names:
        return default
    values: NDArray[Any] = table[name].fill_null(default.dtype.type(0).item()).to_numpy()
    return values.astype(default.dtype)


def ids_sha256(ids: Iterable[str]) -> str:
    """Return the sha256 of the sorted ids, one a line: the name of a set of rows."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
