"""Tables of others are refused by file, column and row; odd labels go all the way round."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import Invoke, opinion_rows
from pollice.data.reading import read_dataset
from pollice.errors import PredictionsError
from pollice.predictions.table import Predictions

NAN = float("nan")
NORMALISE = "Normalise each row, or leave it empty where there is no answer."
TOKENS = "Write how many tokens each text has, or leave the column out."
CUT = "Write whether each text was cut, or leave the column out."
BETWEEN = "probabilities between 0 and 1 in the column"

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "tokens-text": (
        {"tokens": ["a", "b"]},
        f"whole numbers in the column tokens of PATH, but found string. {TOKENS}",
    ),
    "tokens-list": (
        {"tokens": [[1], [2]]},
        f"whole numbers in the column tokens of PATH, but found list<element: int64>. {TOKENS}",
    ),
    "tokens-truth": (
        {"tokens": [True, False]},
        f"whole numbers in the column tokens of PATH, but found bool. {TOKENS}",
    ),
    "tokens-nan": (
        {"tokens": [3.0, NAN]},
        f"whole numbers in the column tokens of PATH, but row 2 has nan. {TOKENS}",
    ),
    "tokens-negative": (
        {"tokens": [-3, 4]},
        f"whole numbers in the column tokens of PATH, but row 1 has -3. {TOKENS}",
    ),
    "tokens-half": (
        {"tokens": [3.0, 4.5]},
        f"whole numbers in the column tokens of PATH, but row 2 has 4.5. {TOKENS}",
    ),
    "tokens-infinite": (
        {"tokens": [3.0, float("inf")]},
        f"whole numbers in the column tokens of PATH, but row 2 has inf. {TOKENS}",
    ),
    "truncated-text": (
        {"truncated": ["no", "no"]},
        f"true or false in the column truncated of PATH, but found string. {CUT}",
    ),
    "truncated-number": (
        {"truncated": [2, 0]},
        f"true or false in the column truncated of PATH, but found int64. {CUT}",
    ),
    "truncated-null": (
        {"truncated": [True, None]},
        "true or false in every row of the column truncated of PATH, but row 2 has neither. Leave "
        "the column out where it is not known.",
    ),
    "id-null": (
        {"id": ["a", None]},
        "an id in every row of PATH, but row 2 has none. Give every row an id.",
    ),
    "id-nan": (
        {"id": [1.0, NAN]},
        "an id in every row of PATH, but row 2 has none. Give every row an id.",
    ),
    "id-list": (
        {"id": [["a"], ["b"]]},
        "text or whole numbers in the column id of PATH, but found list<element: string>. Write an "
        "id as text in each row.",
    ),
    "id-bytes": (
        {"id": [b"a", b"b"]},
        "text or whole numbers in the column id of PATH, but found binary. Write an id as text in "
        "each row.",
    ),
    "probability-text": (
        {"probability:up": ["0.1", "0.9"]},
        "numbers in the column probability:up of PATH, but found string. Write them as numbers and "
        "not as text.",
    ),
    "probability-list": (
        {"probability:up": [[0.1], [0.9]]},
        "numbers in the column probability:up of PATH, but found list<element: double>.",
    ),
    "probability-truth": (
        {"probability:up": [True, False]},
        "numbers in the column probability:up of PATH, but found bool.",
    ),
    "probability-null": (
        {"probability:up": [0.1, None]},
        "a probability of every label or of none in every row of PATH, but row 2 has none in the "
        f"column probability:up. {NORMALISE}",
    ),
    "probability-negative": (
        {"probability:up": [-0.5, 0.9]},
        f"{BETWEEN} probability:up of PATH, but row 1 has -0.5. {NORMALISE}",
    ),
    "probability-percent": (
        {"probability:up": [0.1, 90.0]},
        f"{BETWEEN} probability:up of PATH, but row 2 has 90. {NORMALISE}",
    ),
    "probability-infinite": (
        {"probability:up": [0.1, float("inf")]},
        f"{BETWEEN} probability:up of PATH, but row 2 has inf. {NORMALISE}",
    ),
    "probability-sum": (
        {"probability:up": [0.1, 0.5]},
        "probabilities that sum to 1 in every row of PATH, but those of row 2 in the columns "
        f"probability:up, probability:down sum to 0.6. {NORMALISE}",
    ),
    "variant-sum": (
        {"raw/probability:up": [0.1, 0.5], "raw/probability:down": [0.9, 0.9]},
        "probabilities that sum to 1 in every row of PATH, but those of row 2 in the columns "
        f"raw/probability:up, raw/probability:down sum to 1.4. {NORMALISE}",
    ),
}


def write_table(path: Path, **changes: Any) -> Path:
    columns = {
        "id": ["a", "b"],
        "gold": ["down", "up"],
        "probability:up": [0.1, 0.9],
        "probability:down": [0.9, 0.1],
    }
    pq.write_table(pa.table(columns | changes), path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(PredictionsError) as caught:
        Predictions.read(path)
    return str(caught.value)


@pytest.mark.parametrize(("changes", "sentence"), BAD.values(), ids=BAD)
def test_a_wrong_value_is_refused_by_file_column_and_row(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    path = write_table(tmp_path / "theirs.parquet", **changes)
    assert refusal(path) == f"Expected {sentence}".replace("PATH", str(path))


def test_evaluate_says_it_and_nothing_else(invoke: Invoke, tmp_path: Path) -> None:
    write_table(tmp_path / "theirs.parquet", tokens=["a", "b"])
    code, shown, said = invoke("evaluate", "theirs.parquet")
    sentence = BAD["tokens-text"][1].replace("PATH", "theirs.parquet")
    assert (code, shown, said) == (2, "", f"Error: Expected {sentence}\n")


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    columns = [pa.array(["a"]), pa.array(["b"]), pa.array([0.5]), pa.array([0.5])]
    names = ["id", "id", "probability:up", "probability:down"]
    path = tmp_path / "theirs.parquet"
    pq.write_table(pa.Table.from_arrays(columns, names), path)
    assert refusal(path) == (
        f"Expected every column once, but {path} has two columns named id. Rename one of them."
    )


@pytest.mark.parametrize("place", ["/dev/zero", "."], ids=["device", "folder"])
def test_what_is_no_file_is_not_read(place: str) -> None:
    assert refusal(Path(place)) == (
        f"Expected a predictions table, but {place} is no file. Name the predictions.parquet of a "
        "run."
    )


def test_ids_stored_as_floats_are_the_numbers(tmp_path: Path) -> None:
    """As pandas writes a column of numbers that once had a gap."""
    path = write_table(tmp_path / "theirs.parquet", id=[1.0, 2.0])
    assert Predictions.read(path).ids == ("1", "2")


def test_labels_of_a_categorical_column_are_text(tmp_path: Path) -> None:
    gold = pa.array(["down", "up"]).dictionary_encode()
    path = write_table(tmp_path / "theirs.parquet", gold=gold)
    assert Predictions.read(path).gold == ("down", "up")


# --- odd labels, from the data to the report ---

ODD_LABELS = {
    "marker": "a/probability:b",
    "marker-first": "probability:x",
    "slashes": "../../etc/passwd",
    "quotes": "\"yes\", 'no' | `maybe`",
    "line-break": "two\nlines",
    "a-column": "id",
    "pandas-index": "__index__",
    "formula": "=cmd|' /C calc'!A0",
    "plus-one": "+1",
    "minus-one": "-1",
    "apostrophe": "'=1",
    "long": "very " * 80 + "good",
    "escape": "\x1b[31mred",
    "right-to-left": "\u202egood",
    "emoji": "👍🏽",
    "markup": "[bold]good[/]",
    "braces": "{text} {{7*7}}",
    "dot": ".",
}


@pytest.mark.parametrize("odd", ODD_LABELS.values(), ids=ODD_LABELS)
def test_an_odd_label_is_trained_saved_predicted_read_back_and_evaluated(
    invoke: Invoke, tmp_path: Path, odd: str
) -> None:
    names = {"pos": odd, "neg": "plain"}
    rows = [
        {"id": f"={row}", "text": text, "label": names[label]}
        for row, (text, label) in enumerate(opinion_rows(60))
    ]
    lines = [json.dumps(row) + "\n" for row in rows]
    (tmp_path / "data.jsonl").write_text("".join(lines), encoding="utf-8")
    code, shown, said = invoke("train", "baseline", "--data", "data.jsonl", "-o", "run")
    assert code == 0, said
    assert not re.search(r"[\x1b\u202e]", shown + said)
    code, _, said = invoke("predict", "run/baseline", "data.jsonl", "-o", "out.csv")
    assert code == 0, said
    code, shown, said = invoke("evaluate", "run/baseline/predictions.parquet", "--json")
    assert code == 0, said
    assert set(json.loads(shown)["data"]["labels"]) == {odd, "plain"}
    again = read_dataset(str(tmp_path / "out.csv"), options_for_own_table())
    assert again.ids == tuple(row["id"] for row in rows)
    assert set(again.labels) == {odd, "plain"}
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert row["label"] == "-1" or not row["label"].startswith(("=", "+", "-", "@"))
            assert row["id"].startswith("'=")


def options_for_own_table() -> Any:
    """Return how to read what `predict` wrote, which has no texts: the id stands for the text."""
    from pollice.data.reading import ReadOptions

    return ReadOptions(text_column="id", id_column="id", keep_html=True)
