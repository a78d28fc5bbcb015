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
from pollice.runs.labelling import label_names_of, label_texts, meaning_of, notes, sentence

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
        "Calibrated without labels (batch). The file has only 8 rows: check all of them by hand, "
        "since --known FILE learns from 16 labels on."
    )
    assert sorted(labelled.to_check.values()) == ["random"] * 4 + ["uncertain"] * 4


def test_the_most_uncertain_come_first(checkpoint: str) -> None:
    labelled = label_texts(table(), LABELS, {"checkpoint": checkpoint})
    margins = np.abs(np.diff(labelled.predictions.probabilities, axis=1)).ravel()
    in_order = margins[labelled.uncertain_first]
    assert (np.diff(in_order[:-1]) >= 0).all()
    # The empty text has no answer: it is last, and nobody is asked to check it.
    assert (labelled.uncertain_first[-1], labelled.labels[3], labelled.given_by(3)) == (3, None, "")
    assert 3 not in labelled.to_check


def test_what_known_labels_decided_is_said(checkpoint: str) -> None:
    labelled = label_texts(table(), LABELS, {"checkpoint": checkpoint}, known(20))
    step, reason = (labelled.facts[name] for name in ("calibration", "calibration_reason"))
    assert (
        sentence(labelled, 20) == f"Calibrated by {step}, with 20 known labels at hand: {reason}."
    )
    assert "of the 20 labelled rows, judged without having been learned from" in reason


def test_a_label_given_by_hand_is_kept(checkpoint: str) -> None:
    mine = Dataset(
        ids=("x", "y"), texts=TEXTS[:2], labels=("negative", "positive"), label_names=LABELS
    )
    labelled = label_texts(table(), LABELS, {"checkpoint": checkpoint}, mine)
    assert labelled.labels[:2] == ("negative", "positive")
    assert labelled.labels[2:] == labelled.predictions.predicted[2:]
    assert set(labelled.by_hand) == {0, 1}


def test_random_and_uncertain_rows_are_named_for_checking(checkpoint: str) -> None:
    rows = tiny.opinions(60)
    texts = TextTable(ids=rows.ids, texts=rows.texts, gold=None)
    labelled = label_texts(texts, LABELS, {"checkpoint": checkpoint}, rows.take(range(5)))
    assert sentence(labelled, 15) == (
        "Calibrated without labels (batch). Check by hand the rows that the column check names, "
        "random and uncertain ones, and save them as a file: from 1 more known label on, --known "
        "FILE learns from them where that is better."
    )
    named = labelled.to_check
    assert sorted(named.values()) == ["random"] * 10 + ["uncertain"] * 10
    assert not set(named) & set(labelled.by_hand)
    random = {row for row, why in named.items() if why == "random"}
    best = [row for row in labelled.uncertain_first if row not in {*random, *labelled.by_hand}]
    assert {row for row, why in named.items() if why == "uncertain"} == set(best[:10])


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_expected_shares_are_obeyed(checkpoint: str, share: float) -> None:
    rows = tiny.opinions(60)
    texts = TextTable(ids=rows.ids, texts=rows.texts, gold=None)
    options = {"checkpoint": checkpoint, "prior": {"positive": share}}
    predicted = label_texts(texts, LABELS, options).predictions.predicted
    assert predicted.count("positive") / 60 == pytest.approx(share, abs=0.04)


def test_the_question_and_the_warnings_are_printed(checkpoint: str) -> None:
    labelled = label_texts(table(), ("1", "5"), {"checkpoint": checkpoint})
    said = notes(labelled, 0)
    assert said[0] == (
        "Three general questions on opinions were asked, which are made for these labels: 1 and 5 "
        "were read as a scale from the worst opinion to the best."
    )
    assert said[1] == "Asked, of the first text; the answers' words stand in brackets:"
    assert said[2].endswith(
        "a great film\n    Overall, the author's opinion of it is [negative | positive]"
    )
    assert any(line.startswith("Warning: The labels are bare numbers") for line in said)


def test_five_steps_are_labelled_without_labels(checkpoint: str) -> None:
    names = ("very bad", "bad", "okay", "good", "very good")
    labelled = label_texts(table(), names, {"checkpoint": checkpoint})
    assert labelled.predictions.probabilities.shape == (8, 5)
    assert labelled.facts["thresholds"].startswith("slope 2.00, thresholds ")


def test_meaning_is_read_from_the_command_line() -> None:
    assert meaning_of(["bug=it is broken"], ["bug=0.25"]) == {
        "descriptions": {"bug": "it is broken"},
        "prior": {"bug": 0.25},
    }
    assert meaning_of([], []) == {}


@pytest.mark.parametrize(
    ("descriptions", "shares", "wanted"),
    [
        (["bug"], [], "Expected --describe LABEL=MEANING, but found 'bug'."),
        ([], ["=0.5"], "Expected --expect LABEL=SHARE, but found '=0.5'."),
        (
            [],
            ["bug=many"],
            "Expected a share between 0 and 1 in --expect, such as bug=0.9, but found 'many'.",
        ),
    ],
)
def test_meaning_that_cannot_be_read_is_refused(
    descriptions: list[str], shares: list[str], wanted: str
) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(wanted)}$"):
        meaning_of(descriptions, shares)


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
        "Not calibrated: that takes 8 different texts or more. Check by hand the rows"
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


@pytest.mark.parametrize("text", ["positive", "positive,", ",,", ""])
def test_labels_are_two_or_more(text: str) -> None:
    wanted = (
        "Expected two different labels or more, such as --labels negative,positive, "
        f"but found {text!r}."
    )
    with pytest.raises(OptionError, match=f"^{re.escape(wanted)}$"):
        label_names_of(text)


def test_a_label_named_twice_is_said() -> None:
    wanted = (
        "Expected every label once in --labels, but 'good,bad,good' names 'good' twice. Leave one "
        "out."
    )
    with pytest.raises(OptionError, match=f"^{re.escape(wanted)}$"):
        label_names_of("good,bad,good")


@pytest.mark.parametrize("sorted_", [False, True])
def test_the_command_writes_a_file(
    invoke: Invoke, tmp_path: Path, checkpoint: str, sorted_: bool
) -> None:
    (tmp_path / "in.csv").write_text("review\n" + "\n".join(f"film {i}" for i in range(9)) + "\n")
    options = ["--labels", "negative,positive", "--model", checkpoint, "-o", "out.csv"]
    code, said, _ = invoke("label", "in.csv", *options, *(["--uncertain-first"] * sorted_))
    assert code == 0
    assert said.startswith("9 rows labelled: out.csv\nThree general questions on opinions")
    assert "\nCalibrated without labels (batch). Check by hand" in said
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    places = [int(row["uncertain_first"]) for row in rows]
    assert sorted(places) == list(range(1, 10))
    if sorted_:
        assert places == sorted(places)
    else:
        assert [row["id"] for row in rows] == [str(row) for row in range(9)]
    assert {row["label"] for row in rows} <= set(LABELS)
    assert {row["check"] for row in rows} <= {"random", "uncertain"}
    assert {row["labelled_by"] for row in rows} == {"prompt"}


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
    assert said.startswith("10 rows labelled: out.csv\n")
    assert "with 20 known labels at hand: platt was " in said
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
