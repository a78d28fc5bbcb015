"""JSON Lines -> columns.

Knows nothing about texts or labels.
"""

import json
from pathlib import Path
from typing import Any

from pollice.data.formats.columns import Choose, Columns
from pollice.data.formats.lines import read_lines
from pollice.data.formats.records import columns_of_records
from pollice.errors import DataError


def read_json_lines(path: Path, choose: Choose) -> Columns:
    """Read one JSON object a line.

    Raises:
        DataError: the file is empty, or a line is no JSON object.
    """
    records: list[dict[str, Any]] = []
    numbers = []
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            records.append(_json_object(path, number, line))
            numbers.append(number)
    return columns_of_records(path, records, numbers, "line", choose)


def _json_object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
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
