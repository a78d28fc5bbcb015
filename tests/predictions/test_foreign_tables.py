"""Predictions as CSV and JSON Lines: the same table as in Parquet."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pollice.errors import PredictionsError
from pollice.predictions.table import Predictions

ROWS: list[dict[str, Any]] = [
    {"id": "007", "gold": "1", "probability:0": 0.25, "probability:1": 0.75, "truncated": True},
    {"id": "008", "gold": "NA", "probability:0": None, "probability:1": None, "truncated": False},
    {"id": "a, b\nc\u2028", "gold": "0", "probability:0": 0.5, "probability:1": 0.5,
     "truncated": False},
]  # fmt: skip


def write_separated(path: Path, separator: str, mark: str = "") -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(mark)
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(ROWS)


@pytest.mark.parametrize("name", ["a.csv", "b.csv", "c.tsv", "d.jsonl", "e.NDJSON"])
def test_the_same_columns_give_the_same_table(tmp_path: Path, name: str) -> None:
    """Ids and labels are text, whatever they look like; an empty probability is no answer."""
    path = tmp_path / name
    match name[0]:
        case "a":
            write_separated(path, ",", "\ufeff")
        case "b":
            write_separated(path, ";")
        case "c":
            write_separated(path, "\t")
        case _:
            lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
            path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    table = Predictions.read(path)
    assert table.ids == ("007", "008", "a, b\nc\u2028")
    assert table.gold == ("1", "NA", "0")
    assert table.label_names == ("0", "1")
    assert table.predicted == ("1", None, "0")
    assert np.isnan(table.probabilities[1]).all()
    assert table.cut_rows == 1


@pytest.mark.parametrize(
    ("name", "content", "form", "error"),
    [
        ("a.csv", b"id,probability:a\n1,2,3\n", "CSV", "ArrowInvalid"),
        ("a.csv", b"\xff\xfe\x00", "CSV", "UnicodeDecodeError"),
        ("a.tsv", b"", "CSV", "ArrowInvalid"),
        ("a.jsonl", b"{", "JSON Lines", "JSONDecodeError"),
        ("a.jsonl", b"[1]\n", "JSON Lines", "AttributeError"),
        ("a.jsonl", b"1\n", "JSON Lines", "TypeError"),
        ("a.jsonl", b'{"id": 1}\n{"id": "b"}\n', "JSON Lines", "ArrowInvalid"),
    ],
)
def test_what_is_no_such_table_is_refused(
    tmp_path: Path, name: str, content: bytes, form: str, error: str
) -> None:
    (tmp_path / name).write_bytes(content)
    sentence = (
        f"Expected a {form} predictions table, but {tmp_path / name} cannot be read as one "
        f"({error}). Write it again as {form} in UTF-8, with the columns id and probability:LABEL."
    )
    with pytest.raises(PredictionsError, match=f"^{re.escape(sentence)}$"):
        Predictions.read(tmp_path / name)
