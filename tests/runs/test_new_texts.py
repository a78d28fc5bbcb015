"""A saved predictor reads new texts as it read those that it learned from."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pollice.data.columns import ReadOptions
from pollice.data.reading import read_dataset
from pollice.errors import OptionError, RunError
from pollice.predictions.answers import Answer, Tally
from pollice.predictions.table import Predictions
from pollice.runs.experiment import read_experiment
from pollice.runs.new_texts import predict_file, read_new_texts, say_known
from pollice.runs.predictors import load_reading
from pollice.runs.run import run_experiment
from pollice.system.folders import read_manifest, write_manifest


def rated(rows: int = 60) -> str:
    """Opinions told by their tags alone, in a column that is not the first of usual names."""
    lines = [
        f"same,<{'b' if row % 2 else 'i'}>film number {row}</{'b' if row % 2 else 'i'}>,{row % 2}"
        for row in range(rows)
    ]
    return "text,words,mark\n" + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a predictor that learned from texts with their tags, in the column ``words``."""
    home = tmp_path_factory.mktemp("home")
    (home / "data.csv").write_text(rated())
    content = {
        "data": {
            "source": str(home / "data.csv"),
            "read": {
                "text_column": "words",
                "label_column": "mark",
                "keep_html": True,
                "label_names": {"0": "neg", "1": "pos"},
            },
        },
        "methods": {"baseline": {}},
    }
    run_experiment(read_experiment(content, "a test"), home / "run")
    return home / "run" / "baseline" / "predictor"


def test_how_texts_were_read_is_saved(saved: Path) -> None:
    assert load_reading(saved) == ReadOptions(
        text_column="words",
        label_column="mark",
        keep_html=True,
        label_names={"0": "neg", "1": "pos"},
    )


def test_new_texts_are_read_alike(saved: Path, tmp_path: Path) -> None:
    """The column, the tags and the names of label codes are those of training."""
    (tmp_path / "new.csv").write_text(rated(20))
    table = read_new_texts(saved, str(tmp_path / "new.csv"), {})
    assert table.texts[0] == "<i>film number 0</i>"
    assert table.gold == ("neg", "pos") * 10
    predictions = predict_file(saved, str(tmp_path / "new.csv"))
    assert predictions.predicted == table.gold
    assert say_known(20, right=20, silent=0, others=0) == (
        "20 rows with a known label, 20 answered so (100.0%)."
    )


def test_what_differs_is_said(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text("text,label\n<b>film</b>,2\n,1\n")
    table = read_new_texts(saved, str(path), {"keep_html": False})
    assert (table.texts, table.gold) == (("film", ""), (None, "pos"))
    assert (table.notes[0], *table.notes[2:]) == (
        "The predictor learned from texts with their HTML kept, but here it is cleaned. To judge "
        "as it learned: --keep-html.",
        f"The predictor learned from the column 'words', but {path} has none: 'text' is judged. "
        "Name another with --text-column.",
        f"The label '2' (1 row) in {path} is not among the labels neg, pos: such rows are "
        "judged, but not compared. Name them with --label-names CODE=NAME.",
    )


def test_a_given_column_counts_more(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(rated(4))
    table = read_new_texts(saved, str(tmp_path / "new.csv"), {"text_column": "text"})
    assert set(table.texts) == {"same"}


def test_given_bins_take_the_place_of_remembered_names(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("words,mark\na,1\nb,9\n")
    table = read_new_texts(saved, str(tmp_path / "new.csv"), {"rating_bins": "neg<5<=pos"})
    assert table.gold == ("neg", "pos")


def test_an_unknown_option_is_refused(saved: Path) -> None:
    options: dict[str, Any] = {"text_colum": "words"}
    with pytest.raises(
        OptionError,
        match=r"^Expected an option of reading, but found 'text_colum'. Did you mean 'text_column'",
    ):
        predict_file(saved, "new.csv", **options)


def test_a_predictor_saved_before_remembers_nothing(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"method": "baseline", "label_names": ["1.0", "0.0"]})
    (tmp_path / "new.csv").write_text("text,label\na,1\nb,0\n")
    assert load_reading(tmp_path) is None
    table = read_new_texts(tmp_path, str(tmp_path / "new.csv"), {})
    assert (table.gold, table.notes[1:]) == (("1.0", "0.0"), ())


@pytest.mark.parametrize("said", [["a"], {"keep_html": "perhaps"}, {"rating_bins": "a<"}])
def test_a_damaged_memory_is_refused(tmp_path: Path, said: object) -> None:
    write_manifest(tmp_path, {"method": "baseline", "label_names": ["a", "b"], "reading": said})
    sentence = (
        f"Expected a predictor that says how its texts were read, but the manifest of {tmp_path} "
        "is damaged there. Copy the folder again."
    )
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        load_reading(tmp_path)


def test_options_that_came_later_leave_an_experiment_as_it_was(saved: Path) -> None:
    """At their defaults they are not written, so that folders of before are the same."""
    written = (saved.parent.parent / "experiment.toml").read_text()
    assert "drop_labels" not in written
    assert "drop_conflicts" not in written
    assert read_manifest(saved)["reading"]["drop_labels"] == []


def test_a_test_source_is_spelled_as_the_training_rows(tmp_path: Path) -> None:
    rows = [
        f"a {('dull', 'fine')[row % 2]} film {row},{('Neg', 'Pos')[row % 2]}" for row in range(40)
    ]
    (tmp_path / "train.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    others = [row.replace("film", "play").replace(",Pos", ",POS") for row in rows]
    (tmp_path / "other.csv").write_text("text,label\n" + "\n".join(others) + "\n")
    content = {
        "data": {
            "source": str(tmp_path / "train.csv"),
            "test": str(tmp_path / "other.csv"),
            "read": {"merge_labels": "case"},
        },
        "split": {"near_duplicates": False},
        "methods": {"baseline": {}},
    }
    report = run_experiment(read_experiment(content, "a test"), tmp_path / "run")
    assert set(report.data.labels) == {"Neg", "Pos"}
    again = read_dataset(str(tmp_path / "train.csv"))
    assert set(again.label_names) == {"Neg", "Pos"}


def test_rows_without_a_label_are_counted() -> None:
    """So are rows that have one and no answer, by the same counts that `predict` keeps."""
    answers = [Answer(label, (0.5, 0.5), 1, False) for label in ("neg", "pos", "neg")]
    tally = Tally()
    tally.add(answers, {}, ("neg", None, "pos"))
    counts = {"right": tally.known_right, "silent": tally.known_silent}
    assert say_known(tally.known, **counts, others=tally.rows - tally.known) == (
        "2 rows with a known label, 1 answered so (50.0%), 1 without one are not counted."
    )
    silent = Tally()
    silent.add([*answers[:2], replace(answers[2], label=None)], {}, ("neg", None, "pos"))
    counts = {"right": silent.known_right, "silent": silent.known_silent}
    assert say_known(silent.known, **counts, others=silent.rows - silent.known) == (
        "2 rows with a known label, 1 answered so (50.0%), 1 not answered, 1 without one are not "
        "counted."
    )
    table = Predictions(
        ids=("a", "b", "c"),
        label_names=("neg", "pos"),
        probabilities=np.full((3, 2), 0.5),
        gold=("neg", None, "pos"),
        tokens=np.zeros(3, np.int64),
        truncated=None,
    )
    assert table.labelled.ids == ("a", "c")
