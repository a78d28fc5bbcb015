"""JSON Lines -> columns.

Knows nothing about texts or labels.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pollice.data.formats.columns import Choose, Columns, TextOptions, empty_table, kind_of
from pollice.data.formats.lines import check_memory, read_lines
from pollice.data.formats.records import (
    columns_of_records,
    names_of_record,
    unwrapped,
    value_of_record,
)
from pollice.data.formats.streamed import StreamedTable, TableBatch, ValueCounts
from pollice.errors import DataError
from pollice.system.measuring import free_bytes

_BYTES_A_RECORD = 300  # an empty object of Python's, its line's number, and its place in a list
_BYTES_A_VALUE = 120  # its name, which each record has for itself, and the value


def read_json_lines(path: Path, choose: Choose, text: TextOptions) -> Columns:
    """Read one JSON object a line.

    Raises:
        DataError: the file is empty or too large, or a line is no JSON object.
    """
    kept, free = 0, free_bytes()
    records: list[dict[str, Any]] = []
    numbers = []
    for number, line in enumerate(read_lines(path, text.encoding), start=1):
        if line.strip():
            records.append(_json_object(path, number, line))
            numbers.append(number)
            kept += _BYTES_A_RECORD + _BYTES_A_VALUE * len(records[-1]) + len(line)
            check_memory(path, kept, free, number)
    return columns_of_records(path, records, numbers, "line", choose)


_MOST_COLUMNS = 10_000
_COUNTED_AT_ONCE = 1024


def stream_json_lines(path: Path, choose: Choose, text: TextOptions) -> StreamedTable:
    """Read a file once to know its columns, so that it can be read again row by row.

    A line that is no JSON object is a bad row. ``choose`` picks the columns whose values are
    counted.

    Raises:
        DataError: no line is a JSON object, or there are too many columns.
    """
    names: dict[str, None] = {}
    rows = good = 0
    for _, record, _ in _records(path, text):
        rows += 1
        if record is not None:
            good += 1
            names.update(dict.fromkeys(names_of_record(unwrapped(record))))
        if len(names) > _MOST_COLUMNS:
            raise DataError(
                f"Expected at most {_MOST_COLUMNS:,} columns, but the objects of {path} have more "
                "names. Check that every line is a row of one table."
            )
    if not good:
        for number, line in enumerate(read_lines(path, text.encoding), start=1):
            if line.strip():
                _json_object(path, number, line)
        raise empty_table(path)
    chosen = choose(tuple(names))
    counts = ValueCounts()
    read = partial(_batches, path, text, tuple(names))
    if chosen:
        for batch in read(_COUNTED_AT_ONCE):
            for name in chosen:
                counts.add(path, batch.columns[name])
    return StreamedTable(path=path, names=tuple(names), rows=rows, counts=counts.found, read=read)


def _records(path: Path, text: TextOptions) -> Iterator[tuple[int, dict[str, Any] | None, str]]:
    for number, line in enumerate(read_lines(path, text.encoding), start=1):
        if line.strip():
            try:
                yield number, _json_object(path, number, line), line
            except DataError:
                yield number, None, line


def _batches(
    path: Path, text: TextOptions, names: tuple[str, ...], rows: int
) -> Iterator[TableBatch]:
    records: list[Mapping[str, Any]] = []
    problems: dict[int, str] = {}

    def batch() -> TableBatch:
        return TableBatch(
            columns={name: [value_of_record(record, name) for record in records] for name in names},
            problems=problems,
        )

    for number, record, line in _records(path, text):
        if record is None:
            problems[len(records)] = f"line {number} is no JSON object"
            record = {names[0]: line.rstrip("\r\n")}
        records.append(unwrapped(record))
        if len(records) == rows:
            yield batch()
            records, problems = [], {}
    if records:
        yield batch()


class NameTwiceError(Exception):
    """A name that is twice in a JSON object, of which Python would keep the last alone."""


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object's values by their names.

    Raises:
        NameTwiceError: two have one name.
    """
    record = dict(pairs)
    if len(record) < len(pairs):
        raise NameTwiceError(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return record


def explain(text: str, place: int) -> str:
    """Return what is often wrong where JSON cannot be read, as a sentence; none if unknown."""
    before, after = text[:place].rstrip(), text[place:].lstrip()
    if before.endswith(",") and (not after or after[0] in "]}"):
        return ": take the comma before it away"
    if after.startswith(("'", "None", "True", "False")):
        return ": Python's way of writing is not JSON's"
    return ""


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line, object_pairs_hook=once)
    except NameTwiceError as error:
        raise DataError(
            f"Expected every name once in an object, but line {number} of {path} has two values "
            f"named {str(error)!r}. Rename one of them."
        ) from error
    except (ValueError, RecursionError) as error:
        comma = " since it ends in a comma" if _is_json(line.rstrip().removesuffix(",")) else ""
        raise DataError(
            f"Expected one JSON object a line, but line {number} of {path} is not JSON{comma}. "
            'Write each row as one line, such as {"text": ..., "label": ...}.'
        ) from error
    if not isinstance(record, dict):
        raise DataError(
            f"Expected one JSON object a line, but line {number} of {path} holds "
            f"{kind_of(record)}. "
            'Write each row as one line, such as {"text": ..., "label": ...}.'
        )
    return record


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
