"""JSON objects, one a row -> columns.

Knows nothing about texts or labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pollice.data.formats.annotations import read_annotations
from pollice.data.formats.columns import Choose, Columns, empty_table
from pollice.errors import DataError

Record = Mapping[str, Any]
_WRAPPERS = ("data", "fields", "inputs", "row")
"""Objects in which annotation tools and the Hub's viewer keep the columns of a row."""


def columns_of_records(
    path: Path, records: Sequence[Record], numbers: Sequence[int], unit: str, choose: Choose
) -> Columns:
    """Return the chosen columns; a value within an object is the column ``outer.inner``.

    Exports of Label Studio and Argilla get a column for each question that was asked.

    Raises:
        DataError: there are no records.
    """
    if not records:
        raise empty_table(path)
    annotated = read_annotations(records)
    kept = [numbers[row] for row in annotated.rows]
    rows = [unwrapped(record) for record in annotated.records]
    names = list(dict.fromkeys(name for record in rows for name in names_of_record(record)))
    try:
        chosen = choose(names)
    except DataError as error:
        if not annotated.notes:
            raise
        # Such as that no person answered, which is why no column of labels is there.
        raise type(error)(" ".join([str(error), *annotated.notes])) from error
    values = {name: [value_of_record(record, name) for record in rows] for name in chosen}
    return Columns(path=path, values=values, numbers=kept, unit=unit, notes=annotated.notes)


def unwrapped(record: Record) -> Record:
    """Return a record with the columns that an annotation tool keeps in an object within it."""
    for wrapper in _WRAPPERS:
        inner = record.get(wrapper)
        if isinstance(inner, dict):
            record = {**inner, **record}
    return record


def names_of_record(record: Record) -> Iterator[str]:
    """Yield the names of a record's columns; a value within an object is ``outer.inner``."""
    for name, value in record.items():
        yield name
        if isinstance(value, dict):
            yield from (f"{name}.{inner}" for inner in value)


def value_of_record(record: Record, name: str) -> Any:
    """Return the value of a column; None where the record has none."""
    if name in record or "." not in name:
        return record.get(name)
    for outer, value in record.items():
        if isinstance(value, dict) and name.startswith(f"{outer}."):
            return value.get(name.removeprefix(f"{outer}."))
    return None
