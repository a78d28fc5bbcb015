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

from pollice.errors import PredictionsError
from pollice.predictions.predictor import FloatArray

_COLUMN = "probability:"


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
                raise PredictionsError(f"{name} must have {rows} rows like ids, not {len(column)}.")

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

    def write(self, path: Path) -> None:
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
    def read(cls, path: Path) -> Self:
        """Read a table from `write` or any other system, to judge it.

        Required columns: ``id``, and ``probability:LABEL`` for each label. Optional: ``gold``,
        ``tokens``, ``truncated`` and ``VARIANT/probability:LABEL``.

        Raises:
            PredictionsError: a column is missing or holds wrong values.
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
        variants = dict.fromkeys(
            name.partition("/")[0] for name in table.column_names if f"/{_COLUMN}" in name
        )
        return cls(
            ids=_ids(table, path),
            label_names=names,
            probabilities=_probabilities(table, path, "", names),
            gold=_gold(table, path) if "gold" in table.column_names else None,
            tokens=_tokens(table, path),
            truncated=_truncated(table, path),
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


def _ids(table: Any, path: Path) -> tuple[str, ...]:
    ids = _names(table, path, "id")
    if None in ids:
        raise PredictionsError(
            f"Expected an id in every row of {path}, but row {ids.index(None) + 1} has none. "
            "Give every row an id."
        )
    return tuple(str(value) for value in ids)


def _gold(table: Any, path: Path) -> tuple[str | None, ...]:
    """Return the true labels; None for a row without one."""
    return _names(table, path, "gold")


def _names(table: Any, path: Path, name: str) -> tuple[str | None, ...]:
    """Return the ids or the gold labels as text."""
    column, what = table[name], {"id": "an id", "gold": "a gold label"}[name]
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        raise PredictionsError(
            f"Expected text or whole numbers in the column {name} of {path}, but found "
            f"{column.type}. Write {what} as text in each row."
        )
    return tuple(None if value is None else str(value) for value in column.to_pylist())


def _tokens(table: Any, path: Path) -> NDArray[np.int64]:
    """Return the tokens of each row; 0 if not known."""
    if "tokens" not in table.column_names:
        return np.zeros(table.num_rows, np.int64)
    column = table["tokens"]
    try:
        whole = column.cast(pa.int64())  # 12.0 is whole; NaN and 12.5 are not
    except pa.ArrowException as error:
        found = "others" if pa.types.is_floating(column.type) else column.type
        raise PredictionsError(
            f"Expected whole numbers in the column tokens of {path}, but found {found}. "
            "Write how many tokens each text has, or leave the column out."
        ) from error
    counts: NDArray[np.int64] = whole.fill_null(0).to_numpy().astype(np.int64)
    return counts


def _truncated(table: Any, path: Path) -> NDArray[np.bool_] | None:
    if "truncated" not in table.column_names:
        return None
    column = table["truncated"]
    if not pa.types.is_boolean(column.type):
        raise PredictionsError(
            f"Expected true or false in the column truncated of {path}, but found {column.type}. "
            "Write whether each text was cut, or leave the column out."
        )
    if column.null_count:
        raise PredictionsError(
            f"Expected true or false in every row of the column truncated of {path}, but "
            f"{column.null_count} rows have neither. Leave the column out where it is not known."
        )
    cut: NDArray[np.bool_] = column.to_numpy().astype(np.bool_)
    return cut


def ids_sha256(ids: Iterable[str]) -> str:
    """Return the sha256 of the sorted ids, one per line: it identifies a set of rows."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
