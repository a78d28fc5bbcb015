"""Texts without labels get labels, probabilities and an order for checking them by hand."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

import tiny
from conftest import Invoke
from pollice.data import Dataset, TextTable
from pollice.errors import DataError, OptionError
from pollice.unlabelled import label_names_of, label_texts, sentence

LABELS = ("negative", "positive")
TEXTS = ("a great film", "an awful film", "a film", "", "so good and so bad")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny.tiny_causal(folder, "llama")
    return str(folder)


def table() -> TextTable:
    return TextTable(ids=tuple("abcde"), texts=TEXTS, gold=None)


def known(rows: int, labels: tuple[str, ...] = LABELS) -> Dataset:
    return Dataset(
        ids=tuple(str(row) for row in range(rows)),
        texts=tuple(f"{('awful', 'great')[row % 2]} thing {row}" for row in range(rows)),
        labels=tuple(labels[row % 2] for row in range(rows)),
        label_names=labels,
    )


def test_every_text_is_labelled_without_labels(checkpoint: str) -> None:
    labelled = label_texts(table(), LABELS, {"checkpoint": checkpoint})
    assert labelled.predictions.ids == tuple("abcde")
    assert labelled.predictions.label_names == LABELS
    assert labelled.facts["calibration"] == "batch"
    assert sentence(labelled, 0) == (
        "Calibrated without labels (batch). Check the first rows in the order of uncertain_first "
        "by hand: from 16 more known labels on, --known FILE calibrates on them."
    )


def test_the_most_uncertain_come_first(checkpoint: str) -> None:
    labelled = label_texts(table(), LABELS, {"checkpoint": checkpoint})
    margins = np.abs(np.diff(labelled.predictions.probabilities, axis=1)).ravel()
    assert (np.diff(margins[labelled.uncertain_first]) >= 0).all()


def test_known_labels_calibrate(checkpoint: str) -> None:
    labelled = label_texts(table(), LABELS, {"checkpoint": checkpoint}, known(20))
    assert labelled.facts["calibration"] == "platt"
    assert sentence(labelled, 20) == "Calibrated on 20 known labels (platt)."


def test_a_known_label_that_is_not_asked_for_is_refused(checkpoint: str) -> None:
    wanted = (
        "Expected the labels negative, positive in the known rows, but found 'bad'. "
        "Name it in --labels, or mend the row."
    )
    with pytest.raises(DataError, match=f"^{re.escape(wanted)}$"):
        label_texts(table(), LABELS, {"checkpoint": checkpoint}, known(20, ("bad", "positive")))


@pytest.mark.parametrize("text", ["positive", "positive,", "positive,positive", ""])
def test_labels_are_two_or_more(text: str) -> None:
    wanted = (
        "Expected two different labels or more, such as --labels negative,positive, "
        f"but found {text!r}."
    )
    with pytest.raises(OptionError, match=f"^{re.escape(wanted)}$"):
        label_names_of(text)


@pytest.mark.parametrize("sorted_", [False, True])
def test_the_command_writes_a_file(
    invoke: Invoke, tmp_path: Path, checkpoint: str, sorted_: bool
) -> None:
    (tmp_path / "in.csv").write_text("review\n" + "\n".join(f"film {i}" for i in range(9)) + "\n")
    options = ["--labels", "negative,positive", "--model", checkpoint, "-o", "out.csv"]
    code, said, _ = invoke("label", "in.csv", *options, *(["--uncertain-first"] * sorted_))
    assert code == 0
    assert said.startswith("9 rows labelled: out.csv\nCalibrated without labels (batch).")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    places = [int(row["uncertain_first"]) for row in rows]
    assert sorted(places) == list(range(1, 10))
    if sorted_:
        assert places == sorted(places)
    else:
        assert [row["id"] for row in rows] == [str(row) for row in range(9)]
    assert {row["label"] for row in rows} <= set(LABELS)
