"""One JSON value -> columns: arrays, objects around them, and pandas' orientations."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest

from pollice.data.formats.columns import Columns
from pollice.data.tables import read_columns
from pollice.errors import DataError

OTHER_ENCODING = (
    "Save it again as UTF-8, or name its encoding with --encoding, such as cp1252 or latin-1 "
    "(Western), cp1251 (Cyrillic), gb18030 (Chinese), shift_jis (Japanese)."
)

ROWS = [{"text": "warm, soup", "label": 1}, {"text": "cold: [soup]", "label": 0}]


def everything(names: Sequence[str]) -> Sequence[str]:
    return names


def read(path: Path, content: str) -> Columns:
    path.write_text(content, encoding="utf-8")
    return read_columns(path, everything)


def fails(path: Path, content: str, sentence: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(sentence.format(path=path))}$"):
        read(path, content)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson"])
@pytest.mark.parametrize(("mark", "indent"), [("", None), ("\ufeff", 2)])
def test_an_array_is_read_whatever_the_ending(
    tmp_path: Path, name: str, mark: str, indent: int | None
) -> None:
    columns = read(tmp_path / name, mark + json.dumps(ROWS, indent=indent))
    assert columns.values == {"text": ["warm, soup", "cold: [soup]"], "label": [1, 0]}
    assert columns.place(1) == "row 2"


def test_lines_are_read_whatever_the_ending(tmp_path: Path) -> None:
    columns = read(tmp_path / "a.json", "\n".join(map(json.dumps, ROWS)))
    assert columns.values["label"] == [1, 0]
    assert columns.place(1) == "line 2"


@pytest.mark.parametrize("orient", ["records", "columns", "index", "split", "table"])
@pytest.mark.parametrize("rows", [2, 5])
def test_what_pandas_writes(
    tmp_path: Path, orient: Literal["records", "columns", "index", "split", "table"], rows: int
) -> None:
    frame = pd.DataFrame({"text": [f"soup {row}" for row in range(rows)], "label": range(rows)})
    frame.to_json(tmp_path / "a.json", orient=orient)
    columns = read_columns(tmp_path / "a.json", lambda names: ["text", "label"])
    assert columns.values == {"text": list(frame["text"]), "label": list(range(rows))}


@pytest.mark.parametrize(
    "document",
    [
        {"text": ["warm, soup", "cold: [soup]"], "label": [1, 0]},
        {"version": 1, "rows": ROWS, "authors": ["A", "B"]},
        {"rows": [{"row_idx": 0, "row": ROWS[0]}, {"row_idx": 1, "row": ROWS[1]}]},
    ],
)
def test_an_object_around_the_rows(tmp_path: Path, document: dict[str, Any]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(document))
    columns = read_columns(tmp_path / "a.json", lambda names: ["text", "label"])
    assert columns.values == {"text": ["warm, soup", "cold: [soup]"], "label": [1, 0]}


def test_a_value_within_an_object_is_a_column(tmp_path: Path) -> None:
    """Only objects that tools put around a row are opened: an inner id is not the row's."""
    rows = [{"data": {"text": "a"}, "user": {"id": 7}, "x.y": 1}, {"text": "b", "user": None}]
    columns = read(tmp_path / "a.json", json.dumps(rows))
    assert columns.values["text"] == ["a", "b"]
    assert columns.values["user.id"] == [7, None]
    assert columns.values["x.y"] == [1, None]
    assert "id" not in columns.values


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[]", "Expected a table, but {path} is empty. Name a file with at least one row."),
        (
            '[{"text": "a"},\n {"text": }]',
            "Expected JSON, but line 2 of {path} is not, at column 11 (Expecting value). "
            'Write an array of rows, such as [{{"text": ..., "label": ...}}], or JSON Lines.',
        ),
        (" \n", "Expected a table, but {path} is empty. Name a file with at least one row."),
        (
            '[{"text": "a"},\n {"text": "b"},]',
            "Expected JSON, but line 2 of {path} is not, at column 16 (Expecting value): take the "
            "comma before it away. "
            'Write an array of rows, such as [{{"text": ..., "label": ...}}], or JSON Lines.',
        ),
        (
            "[{'text': 'a'}]",
            "Expected JSON, but line 1 of {path} is not, at column 3 (Expecting property name "
            "enclosed in double quotes): Python's way of writing is not JSON's. "
            'Write an array of rows, such as [{{"text": ..., "label": ...}}], or JSON Lines.',
        ),
        (
            '[{"text": "a", "text": "b"}]',
            "Expected every name once in an object, but one in {path} has two values named "
            "'text'. Rename one of them.",
        ),
        (
            '{"a":' * 150_000,
            "Expected JSON, but {path} is nested too deeply. "
            'Write an array of rows, such as [{{"text": ..., "label": ...}}], or JSON Lines.',
        ),
        (
            '["a", "b"]',
            "Expected an array of JSON objects, but {path} holds a string. "
            'Write each row as an object, such as {{"text": ..., "label": ...}}.',
        ),
        (
            "3",
            "Expected an array of JSON objects, but {path} is a number. "
            'Write each row as an object, such as {{"text": ..., "label": ...}}.',
        ),
        (
            '{"train": [{"text": "a"}], "test": [{"text": "b"}]}',
            "Expected one array of rows in {path}, but found train, test. "
            "Save one of them as a file of its own.",
        ),
        (
            '{"text": ["a"], "label": [1, 2]}',
            "Expected columns of one length in {path}, but found text with 1, label with 2. "
            "Write one value in each column for each row.",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    fails(tmp_path / "a.json", content, sentence)


def test_bytes_that_are_no_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'[{"text": "a"},\n{"text": "\xe9"}]')
    sentence = (
        f"Expected UTF-8, but line 2 of {path} holds the byte 0xe9 at column 11. {OTHER_ENCODING}"
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        read_columns(path, everything)
