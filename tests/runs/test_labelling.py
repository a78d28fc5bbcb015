"""Texts without labels get labels, probabilities and an order for checking them by hand."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

import tiny
from conftest import Invoke
from pollice.data.dataset import Dataset, TextTable
from pollice.errors import DataError, OptionError
from pollice.runs.labelling import label_names_of, label_texts, sentence

LABELS = ("negative", "positive")
TEXTS = (
    *("a great film", "an awful film", "a film", "", "so good and so bad"),
    *("it was long", "I slept", "he sang"),
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny.tiny_causal(folder, "llama")
    return str(folder)


def table() -> TextTable:
    return TextTable(ids=tuple("abcdefgh"), texts=TEXTS, gold=None)


def known(rows: int, labels: tuple[str, ...] = LABELS) -> Dataset:
    return Dataset(
        ids=tuple(str(row) for row in range(rows)),
        texts=tuple(f"{('awful', 'great')[row % 2]} thing {row}" for row in range(rows)),
        labels=tuple(labels[row % 2] for row in range(rows)),
        label_names=labels,
    )


def test_every_text_is_labelled_without_labels(checkpoint: str) -> None:
    labelled = label_texts(table(), LABELS, {"checkpoint": checkpoint})
    assert labelled.predictions.ids == tuple("abcdefgh")
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


@pytest.mark.parametrize("names", [LABELS, LABELS[::-1], ("mixed", *LABELS)])
def test_known_labels_may_stand_in_any_order(checkpoint: str, names: tuple[str, ...]) -> None:
    rows = tiny.opinions(160)
    texts = rows.take(range(100, 160))
    labelled = label_texts(
        TextTable(ids=texts.ids, texts=texts.texts, gold=None),
        names,
        {"checkpoint": checkpoint, "dtype": "float32"},
        rows.take(range(100)),
    )
    assert labelled.predictions.label_names == names
    right = np.mean(np.array(labelled.predictions.predicted) == np.array(texts.labels))
    assert right > 0.8


@pytest.mark.parametrize("texts", [TEXTS[:1], TEXTS[:1] * 12, TEXTS[:7]])
def test_too_few_different_texts_leave_scores_as_they_are(
    checkpoint: str, texts: tuple[str, ...]
) -> None:
    ids = tuple(str(row) for row in range(len(texts)))
    few = TextTable(ids=ids, texts=texts, gold=None)
    labelled = label_texts(few, LABELS, {"checkpoint": checkpoint})
    assert labelled.facts["calibration"] == "raw"
    assert sentence(labelled, 0).startswith(
        "Not calibrated: that takes 8 different texts or more. Check the first rows"
    )


@pytest.mark.parametrize("option", ["shots", "labels", "order_draws"])
def test_options_that_need_training_rows_are_refused(checkpoint: str, option: str) -> None:
    wanted = (
        f"Expected no prompt.{option} here, since there are no training rows to draw from, "
        "but found 2. Leave it out: what is known calibrates."
    )
    with pytest.raises(OptionError, match=f"^{re.escape(wanted)}$"):
        label_texts(table(), LABELS, {"checkpoint": checkpoint, option: 2})


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


def test_the_command_takes_known_rows_and_options(
    invoke: Invoke, tmp_path: Path, checkpoint: str
) -> None:
    rows = tiny.opinions(30)
    lines = [f"{text},{label}" for text, label in zip(rows.texts, rows.labels, strict=True)]
    (tmp_path / "known.csv").write_text("text,verdict\n" + "\n".join(lines[:20]) + "\n")
    (tmp_path / "new.csv").write_text("text\n" + "\n".join(rows.texts[20:]) + "\n")
    usual = ["label", "new.csv", "--labels", "positive,negative", "--model", checkpoint]
    known = ["--known", "known.csv", "--label-column", "verdict"]
    words = '{"negative": ["bad", "awful"], "positive": ["good"]}'
    code, said, _ = invoke(*usual, *known, "--set", f"prompt.label_words={words}", "-o", "out.csv")
    assert code == 0
    assert said == "10 rows labelled: out.csv\nCalibrated on 20 known labels (platt).\n"
    code, _, error = invoke(*usual, "--set", 'prompt.label_words={"good": ["x"]}', "-o", "out.csv")
    assert code == 2
    assert "Label words are given for 'good'" in error


@pytest.mark.parametrize("name", ["new.csv", "known.csv"])
def test_the_command_does_not_write_over_what_it_reads(
    invoke: Invoke, tmp_path: Path, name: str
) -> None:
    for file in ("new.csv", "known.csv"):
        (tmp_path / file).write_text("text,label\nfilm,positive\n")
    code, _, error = invoke(
        "label", "new.csv", "--labels", "positive,negative", "--known", "known.csv", "-o", name
    )
    assert code == 2
    assert error == (
        f"Error: Expected an output besides the texts, but {name} is the file of texts itself. "
        "Name another output.\n"
    )
    assert (tmp_path / name).read_text() == "text,label\nfilm,positive\n"
