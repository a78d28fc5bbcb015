"""A file that is one JSON value -> columns: an array of objects, or what pandas writes.

Knows nothing about texts or labels.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pollice.data.formats.bounds import BYTES_A_VALUE, check_fits
from pollice.data.formats.columns import (
    USUAL_TEXT,
    Choose,
    Columns,
    TextOptions,
    empty_table,
    kind_of,
)
from pollice.data.formats.contents import read_whole
from pollice.data.formats.json_lines import NameTwiceError, explain, once, read_json_lines
from pollice.data.formats.lines import open_file, open_text
from pollice.data.formats.records import columns_of_records
from pollice.errors import DataError

_BYTES_A_CONTAINER = 240  # an object of one key
_BYTES_A_CHARACTER = 5  # one in the file and up to four in Python's string, if one is an emoji
_SHOWN = 5


def begins_as_array(path: Path) -> bool:
    """Return whether the first character of a file opens a JSON array."""
    with open_file(path) as file:
        try:
            return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["
        except Exception:  # damage is explained by what reads the file
            return False


def read_json(path: Path, choose: Choose, text: TextOptions = USUAL_TEXT) -> Columns:
    """Read an array of objects, one within an object, or pandas' columns, index, split, list.

    A file of several values is read as JSON Lines.

    Raises:
        DataError: the file is no JSON, holds no rows, or is larger than the memory.
    """
    content = read_whole(path)
    commas = content.count(b",") + content.count(b":")
    containers = content.count(b"[") + content.count(b"{")
    needed = _BYTES_A_CHARACTER * len(content)
    check_fits(path, needed + BYTES_A_VALUE * commas + _BYTES_A_CONTAINER * containers)
    with open_text(path, text.encoding) as opened:
        whole = "".join([opened.head, *opened.rest])
    if not whole.strip():
        raise empty_table(path)
    try:
        document = json.loads(whole, object_pairs_hook=once)
    except NameTwiceError as error:
        raise DataError(
            f"Expected every name once in an object, but one in {path} has two values named "
            f"{str(error)!r}. Rename one of them."
        ) from error
    except json.JSONDecodeError as error:
        if error.msg.startswith("Extra data"):  # several values
            return read_json_lines(path, choose, text)
        found = f"line {error.lineno} of {path} is not, at column {error.colno} ({error.msg})"
        raise _not_json(path, found + explain(whole, error.pos)) from error
    except (ValueError, RecursionError) as error:
        too = "is nested too deeply" if isinstance(error, RecursionError) else "has huge numbers"
        raise _not_json(path, f"{path} {too}") from error
    records = _records(path, document)
    return columns_of_records(path, records, range(1, len(records) + 1), "row", choose)


def _not_json(path: Path, found: str) -> DataError:
    return DataError(
        f"Expected JSON, but {found}. "
        'Write an array of rows, such as [{"text": ..., "label": ...}], or JSON Lines.'
    )


def _records(path: Path, document: Any) -> Sequence[dict[str, Any]]:
    if isinstance(document, dict):
        document = _rows_of_object(path, document)
    listed = isinstance(document, list)
    wrong = [row for row in document if not isinstance(row, dict)] if listed else [document]
    if wrong:
        raise DataError(
            f"Expected an array of JSON objects, but {path} {'holds' if listed else 'is'} "
            f"{kind_of(wrong[0])}. "
            'Write each row as an object, such as {"text": ..., "label": ...}.'
        )
    rows: list[dict[str, Any]] = document
    return rows


def _rows_of_object(path: Path, document: dict[str, Any]) -> Any:
    """Return the rows of an object: within it, or in one of pandas' orientations."""
    names, rows = document.get("columns"), document.get("data")
    if isinstance(names, list) and isinstance(rows, list):
        return [dict(zip(map(str, names), row, strict=False)) for row in rows if _is_list(row)]
    arrays = {
        name: value
        for name, value in document.items()
        if _is_list(value) and value and all(isinstance(row, dict) for row in value)
    }
    if len(arrays) > 1:
        raise DataError(
            f"Expected one array of rows in {path}, but found {', '.join([*arrays][:_SHOWN])}. "
            "Save one of them as a file of its own."
        )
    if arrays:
        return next(iter(arrays.values()))
    columns = list(document.values())
    if columns and all(isinstance(column, dict) for column in columns):
        return _rows_of_objects(document)
    if columns and all(_is_list(column) for column in columns):
        if len(set(map(len, columns))) > 1:
            raise DataError(
                f"Expected columns of one length in {path}, but found "
                f"{', '.join(f'{name} with {len(rows):,}' for name, rows in document.items())}. "
                "Write one value in each column for each row."
            )
        return [dict(zip(document, row, strict=True)) for row in zip(*columns, strict=True)]
    return [document]


def _rows_of_objects(document: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of pandas' orientation columns, ``{column: {row: value}}``, or index."""
    inner = dict.fromkeys(name for column in document.values() for name in column)
    numbered = [all(name.isdecimal() for name in names) for names in (document, inner)]
    # Rows are numbered as a rule; else there are more rows than columns.
    by_row = numbered[0] if numbered[0] != numbered[1] else len(document) > len(inner)
    if by_row:
        return list(document.values())
    return [{name: column.get(row) for name, column in document.items()} for row in inner]


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
