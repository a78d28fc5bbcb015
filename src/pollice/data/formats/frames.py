"""Tables in Python's memory -> columns: pandas, polars, Arrow and ``datasets``.

Knows nothing about files, texts or labels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import narwhals as nw

from pollice.data.formats.class_labels import ClassNames, names_in_features, names_in_schema
from pollice.data.formats.columns import Choose, Columns
from pollice.errors import DataError

FRAME = Path("the table")
"""Stands where the path of a file stands in a sentence."""


def is_split(table: Any) -> bool:
    """Return whether this is a ``datasets.DatasetDict``: parts, each a table."""
    return isinstance(table, Mapping) and _is_of_datasets(table)


def read_frame(table: Any, choose: Choose) -> Columns:
    """Read columns of a table in memory, with the names of classes that it knows.

    Raises:
        DataError: it is no table, or is not in memory.
    """
    frame, class_names = _frame(table)
    names = {str(name): name for name in frame.columns}
    values = {name: _values(frame.get_column(names[name])) for name in choose(list(names))}
    return Columns(
        path=FRAME,
        values=values,
        numbers=range(1, len(frame) + 1),
        unit="row",
        class_names=class_names,
    )


def _frame(table: Any) -> tuple[Any, ClassNames]:
    class_names: ClassNames = {}
    # `datasets` is not imported for this: most who read a table do not have it.
    if _is_of_datasets(table) and hasattr(table, "with_format") and hasattr(table, "num_rows"):
        class_names = names_in_features(
            {name: {"names": getattr(kind, "names", None)} for name, kind in table.features.items()}
        )
        # By its rows and not by `data`, which does not know of a selection or a shuffle.
        table = table.with_format("arrow")[:]
    try:
        frame = nw.from_native(table, eager_only=True)
        frame.columns  # noqa: B018  # pandas' names are checked when they are asked for
    except nw.exceptions.DuplicateError as error:
        raise DataError(
            "Expected every column's name once, but the table has several of one name. Rename them."
        ) from error
    except (TypeError, ValueError, nw.exceptions.NarwhalsError) as error:
        raise DataError(
            "Expected a path, or a table of pandas, polars, Arrow or datasets in memory, but "
            f"found a {type(table).__module__.partition('.')[0]} {type(table).__name__}. "
            f"Convert it, for example to a pandas.DataFrame. ({_first_line(error)})"
        ) from error
    if not class_names and hasattr(table, "schema"):
        class_names = names_in_schema(table.schema) if hasattr(table.schema, "metadata") else {}
    return frame, class_names


def _is_of_datasets(table: Any) -> bool:
    return any(kind.__module__.partition(".")[0] == "datasets" for kind in type(table).__mro__)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _values(column: Any) -> list[Any]:
    # By the mask: what stands for a missing value differs between the libraries.
    missing: Sequence[bool] = column.is_null().to_list()
    values = column.to_list()
    return [None if gap else _plain(value) for value, gap in zip(values, missing, strict=True)]


def _plain(value: Any) -> Any:
    # NumPy's scalars in a column of objects.
    return value.item() if type(value).__module__ == "numpy" and value.ndim == 0 else value
