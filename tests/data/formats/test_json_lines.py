"""JSON Lines as tools write them, and lines that are no rows."""

from pathlib import Path

import pytest

from pollice.data.tables import read_columns, stream_table
from pollice.errors import DataError


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_marks(tmp_path: Path, mark: str, end: str) -> None:
    path = tmp_path / "a.jsonl"
    lines = ['{"text": "a\\u2028b", "label": 1}', "", '{"text": "c"}', ""]
    path.write_bytes((mark + end.join(lines)).encode())
    columns = read_columns(path, lambda names: names)
    assert columns.values == {"text": ["a\u2028b", "c"], "label": [1, None]}
    assert list(columns.numbers) == [1, 3]


def test_a_name_that_stands_twice(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b", "text": "c"}\n')
    with pytest.raises(DataError) as raised:
        read_columns(path, lambda names: names)
    assert str(raised.value) == (
        f"Expected every name once in an object, but line 2 of {path} has two values named "
        "'text'. Rename one of them."
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('{"text": "a"},', "is not JSON since it ends in a comma"),
        ('{"text": "a', "is not JSON"),
        ('"a"', "holds a string"),
        ("null", "holds null"),
        ("1.5", "holds a number"),
        ("true", "holds true or false"),
    ],
)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: str, found: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "a"}}\n{line}\n')
    with pytest.raises(DataError) as raised:
        read_columns(path, lambda names: names)
    assert str(raised.value) == (
        f"Expected one JSON object a line, but line 2 of {path} {found}. "
        'Write each row as one line, such as {"text": ..., "label": ...}.'
    )


def test_values_within_objects_are_columns_of_a_stream_too(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"data": {"text": "a"}, "user": {"age": 7}}\n{"text": "b"}\n')
    table = stream_table(path, lambda names: [])
    rows = [dict(batch.columns) for batch in table.read(1)]
    assert [(row["text"], row["user.age"]) for row in rows] == [(["a"], [7]), (["b"], [None])]
