"""Predictions as files for people."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pollice.errors import PredictionsError
from pollice.predictions.files import check_output
from pollice.predictions.table import Predictions
from written_answers import write_answers

ROWS = Predictions(
    ids=("a", 'ü,\n"b"', "c"),
    label_names=("neg", "pos"),
    probabilities=np.array([[0.25, 0.75], [0.9, 0.1], [1 / 3, 2 / 3]]),
    tokens=np.array([3, 0, 8]),
    truncated=np.array([False, False, True]),
)


def test_csv_names_the_label_and_its_probability(tmp_path: Path) -> None:
    write_answers(ROWS, tmp_path / "out", ".csv")
    with (tmp_path / "out").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == list(ROWS.ids)
    assert [row["label"] for row in rows] == ["pos", "neg", "pos"]
    assert rows[2] == {
        "id": "c",
        "label": "pos",
        "probability": "0.666667",
        "probability:neg": "0.333333",
        "probability:pos": "0.666667",
        "tokens": "8",
        "truncated": "True",
        "status": "judged",
    }


def test_labels_that_are_given_stand_instead_of_the_predicted(tmp_path: Path) -> None:
    write_answers(ROWS, tmp_path / "out", ".csv", ["pos", None, "pos"])
    with (tmp_path / "out").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["pos", "", "pos"]
    assert rows[1]["probability"] == "0.9"


def test_known_labels_are_written_so_that_the_file_can_be_evaluated(tmp_path: Path) -> None:
    """A row without a known label has an empty cell."""
    known = replace(ROWS, gold=("pos", None, "neg"))
    write_answers(known, tmp_path / "out.csv", ".csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["gold"] for row in rows] == ["pos", "", "neg"]
    read = Predictions.read(tmp_path / "out.csv")
    assert read.gold == ("pos", None, "neg")
    assert read.ids == ROWS.ids


def test_json_lines_hold_one_row_each(tmp_path: Path) -> None:
    write_answers(ROWS, tmp_path / "out", ".jsonl")
    lines = (tmp_path / "out").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(ROWS.ids)
    assert json.loads(lines[0]) == {
        "id": "a",
        "label": "pos",
        "probability": 0.75,
        "probability:neg": 0.25,
        "probability:pos": 0.75,
        "tokens": 3,
        "truncated": False,
        "status": "judged",
    }


def test_parquet_is_the_table_itself(tmp_path: Path) -> None:
    write_answers(ROWS, tmp_path / "out.parquet", ".parquet")
    again = Predictions.read(tmp_path / "out.parquet")
    assert again.ids == ROWS.ids
    assert np.array_equal(again.probabilities, ROWS.probabilities)


def test_a_row_without_an_answer_has_no_label(tmp_path: Path) -> None:
    silent = Predictions(
        ids=("a",),
        label_names=("neg", "pos"),
        probabilities=np.full((1, 2), np.nan),
        tokens=np.zeros(1, np.int64),
        truncated=np.zeros(1, np.bool_),
    )
    write_answers(silent, tmp_path / "out.jsonl", ".jsonl")
    write_answers(silent, tmp_path / "out.csv", ".csv")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    row = json.loads((tmp_path / "out.jsonl").read_text(), parse_constant=refuse)
    assert row["label"] is None
    assert row["probability"] is None
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == "a,,,,,0,False,no text"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "out.xlsx",
            "Expected an output that ends in .parquet, .csv, .jsonl, but found 'out.xlsx'. "
            "Name the format by its ending.",
        ),
        (
            "nowhere/out.csv",
            "Expected a folder for the output 'out.csv', but there is no {folder}/nowhere. "
            "Create it first.",
        ),
        (
            "dir.csv",
            "Expected a file as output, but {folder}/dir.csv is a folder. Name a file in it.",
        ),
    ],
)
def test_an_output_that_cannot_be_written_is_refused(
    tmp_path: Path, name: str, sentence: str
) -> None:
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(PredictionsError, match=f"^{re.escape(sentence.format(folder=tmp_path))}$"):
        check_output(tmp_path / name)
