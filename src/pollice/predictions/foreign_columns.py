"""The columns of a predictions table of any origin, each value checked before it counts.

Knows nothing about what the table is judged for. Every sentence names the file, the column and,
where it is one row's fault, the row, from 1 on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pollice.errors import PredictionsError
from pollice.predictions.predictor import FloatArray

COLUMN = "probability:"
"""How the name of a column begins that holds the probability of the label named after it."""

RANGE_TOLERANCE = 1e-6
SUM_TOLERANCE = 1e-3

_TOKENS = "Write how many tokens each text has, or leave the column out."
_CUT = "Write whether each text was cut, or leave the column out."
_NORMALISE = "Normalise each row, or leave it empty where there is no answer."
_WHAT = {"id": "an id", "gold": "a gold label"}


@dataclass(frozen=True)
class ForeignColumns:
    """A table as it was read, and the file that it came from.

    Raises:
        PredictionsError: two columns have one name.
    """

    table: Any
    path: Path

    def __post_init__(self) -> None:
        names = self.table.column_names
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise PredictionsError(
                f"Expected every column once, but {self.path} has two columns named {twice}. "
                "Rename one of them."
            )

    def names(self, column: str) -> tuple[str, ...]:
        """Return the ids as text; every row must have one."""
        found = self.optional_names(column)
        for row, value in enumerate(found, start=1):
            if value is None:
                raise PredictionsError(
                    f"Expected {_WHAT[column]} in every row of {self.path}, but row {row} has "
                    "none. Give every row an id."
                )
        return tuple(value for value in found if value is not None)

    def optional_names(self, column: str) -> tuple[str | None, ...]:
        """Return the ids or the gold labels as text; None for a row without one."""
        found, what = self.table[column], _WHAT[column]
        kind = _value_type(found.type)
        if pa.types.is_nested(kind) or _is_binary(kind):
            raise PredictionsError(
                f"Expected text or whole numbers in the column {column} of {self.path}, but found "
                f"{kind}. Write {what} as text in each row."
            )
        try:
            values = found.to_pylist()
        except UnicodeDecodeError as error:
            raise PredictionsError(
                f"Expected UTF-8 in the column {column} of {self.path}, but found the byte "
                f"0x{error.object[error.start]:02x}. Write {what} as UTF-8 text in each row."
            ) from error
        # NaN is the one value that differs from itself
        return tuple(None if value is None or value != value else _text(value) for value in values)

    def probabilities(self, prefix: str, label_names: tuple[str, ...]) -> FloatArray:
        """Return probabilities ``(rows, labels)``; a row without any is NaN."""
        names = [f"{prefix}{COLUMN}{label}" for label in label_names]
        found = np.stack([self._numbers(name) for name in names], axis=1)
        self._check_probabilities(found, names)
        return found

    def _numbers(self, name: str) -> FloatArray:
        if name not in self.table.column_names:
            raise PredictionsError(f"Expected a column {name} in {self.path}, but there is none.")
        column = self.table[name]
        if not _is_number(column.type):
            raise PredictionsError(
                f"Expected numbers in the column {name} of {self.path}, but found {column.type}."
                f"{' Write them as numbers and not as text.' if _is_text(column.type) else ''}"
            )
        numbers: FloatArray = column.cast(pa.float64()).to_numpy().astype(np.float64)
        return numbers

    def _check_probabilities(self, found: FloatArray, names: list[str]) -> None:
        missing = np.isnan(found)
        partly = np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1))
        if len(partly):
            row = int(partly[0])
            name = names[int(np.flatnonzero(missing[row])[0])]
            raise PredictionsError(
                f"Expected a probability of every label or of none in every row of {self.path}, "
                f"but row {row + 1} has none in the column {name}. {_NORMALISE}"
            )
        outside = (found < -RANGE_TOLERANCE) | (found > 1 + RANGE_TOLERANCE)
        if outside.any():
            row, place = (int(index) for index in np.argwhere(outside)[0])
            raise PredictionsError(
                f"Expected probabilities between 0 and 1 in the column {names[place]} of "
                f"{self.path}, but row {row + 1} has {found[row, place]:g}. {_NORMALISE}"
            )
        sums = found.sum(axis=1)
        unsound = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)  # never a row of NaN
        if len(unsound):
            row = int(unsound[0])
            raise PredictionsError(
                f"Expected probabilities that sum to 1 in every row of {self.path}, but those of "
                f"row {row + 1} in the columns {', '.join(names)} sum to {sums[row]:g}. "
                f"{_NORMALISE}"
            )

    def tokens(self) -> NDArray[np.int64]:
        """Return the tokens of each row; 0 if not known."""
        if "tokens" not in self.table.column_names:
            return np.zeros(self.table.num_rows, np.int64)
        column = self.table["tokens"]
        if not _is_number(column.type):
            raise PredictionsError(
                f"Expected whole numbers in the column tokens of {self.path}, but found "
                f"{column.type}. {_TOKENS}"
            )
        counts = column.cast(pa.float64()).to_numpy().astype(np.float64)
        known = np.array([value is not None for value in column.to_pylist()], np.bool_)
        # 12.0 is whole; NaN, infinity and 12.5 are not.
        whole = (np.mod(np.where(np.isfinite(counts), counts, 0.5), 1) == 0) & (counts >= 0)
        unsound = np.flatnonzero(known & ~whole)
        if len(unsound):
            row = int(unsound[0])
            raise PredictionsError(
                f"Expected whole numbers in the column tokens of {self.path}, but row {row + 1} "
                f"has {counts[row]:g}. {_TOKENS}"
            )
        tokens: NDArray[np.int64] = np.where(known, np.nan_to_num(counts), 0).astype(np.int64)
        return tokens

    def truncated(self) -> NDArray[np.bool_] | None:
        """Return whether each text was cut; None where the table does not say."""
        if "truncated" not in self.table.column_names:
            return None
        column = self.table["truncated"]
        if not pa.types.is_boolean(column.type):
            raise PredictionsError(
                f"Expected true or false in the column truncated of {self.path}, but found "
                f"{column.type}. {_CUT}"
            )
        values = column.to_pylist()
        if None in values:
            raise PredictionsError(
                f"Expected true or false in every row of the column truncated of {self.path}, but "
                f"row {values.index(None) + 1} has neither. Leave the column out where it is not "
                "known."
            )
        return np.array(values, np.bool_)


def _text(value: Any) -> str:
    """Return a value as text; a whole number that was stored as a float is the number."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _value_type(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_number(kind: Any) -> bool:
    types = pa.types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_null(kind)
    )


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_binary(kind: Any) -> bool:
    types = pa.types
    return bool(
        types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    )
