"""JSON Lines -> columns.

Knows nothing about texts or labels.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pollice.data.formats.columns import Choose, Columns, TextOptions
from pollice.data.formats.lines import check_memory, read_lines
from pollice.data.formats.records import columns_of_records
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


class _TwiceError(Exception):
    """A name that stands twice in a JSON object, of which Python would keep the last alone."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise _TwiceError(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return record


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line, object_pairs_hook=_once)
    except _TwiceError as error:
        raise DataError(
            f"Expected every name once in an object, but line {number} of {path} has two values "
            f"named {str(error)!r}. Rename one of them."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"Expected one JSON object a line, but line {number} of {path} is not JSON. "
            'Write each row as one line, such as {"text": ..., "label": ...}.'
        ) from error
    if not isinstance(record, dict):
        raise DataError(
            f"Expected one JSON object a line, but line {number} of {path} holds a "
            f"{type(record).__name__}. "
            'Write each row as one line, such as {"text": ..., "label": ...}.'
        )
    return record
