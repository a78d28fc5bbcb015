"""No test row is learned from: a spy in the place of a method writes down all that it is given."""

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import InstallMethod
from pollice.data.splits import SplitOptions
from pollice.predictions.table import Predictions
from pollice.runs.experiment import DataSource, Experiment
from pollice.runs.run import run_experiment

SPY = '''
import json
from pathlib import Path

from pydantic.dataclasses import dataclass

from pollice.method import OPTIONS, Method
from pollice.methods.baseline import BagOfWords, Baseline


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Method):
    """Writes down what it is given, and learns like a baseline."""

    predictor_type = BagOfWords

    notes: str
    """The file that one line is added to by each fit."""
    draw: int = 0
    """Which repetition this is."""
    seed: int = 0
    """Draws nothing."""

    def fit(self, train, validation, *, workdir):
        parts = {"train": train, "validation": validation}
        note = {name: [part.ids, part.texts, part.labels] for name, part in parts.items()}
        with Path(self.notes).open("a", encoding="utf-8") as file:
            file.write(json.dumps(note) + "\\n")
        return Baseline(ngrams=1).fit(train, validation, workdir=workdir)

    def repetitions(self):
        return () if self.draw else (Theirs(notes=self.notes, draw=1),)
'''


def spied_on(
    source: DataSource, tmp_path: Path, install_method: InstallMethod, **options: Any
) -> tuple[list[dict[str, Any]], Predictions]:
    """Run the spy; return what each of its fits was given, and the judged test rows."""
    install_method("spy", SPY)
    notes = tmp_path / "notes.jsonl"
    experiment = Experiment(data=source, methods={"spy": {"notes": str(notes)}}, **options)
    run_experiment(experiment, tmp_path / "run")
    judged = Predictions.read(tmp_path / "run" / "spy" / "predictions.parquet")
    return [json.loads(line) for line in notes.read_text().splitlines()], judged


def texts_of(path: Path) -> dict[str, tuple[str, str]]:
    """Return text and label of each row of a CSV by its id, the row's number."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return {str(row): (line.split(",")[0], line.split(",")[1]) for row, line in enumerate(lines)}


@pytest.mark.parametrize("canary", [False, True])
def test_no_fit_is_given_a_test_row(
    opinions: Path, tmp_path: Path, install_method: InstallMethod, canary: bool
) -> None:
    """Nor a validation row, by id or by text; nor in a repetition or in the canary."""
    fits, judged = spied_on(
        DataSource(source=str(opinions)), tmp_path, install_method, canary=canary
    )
    rows = texts_of(opinions)
    test_ids, test_texts = set(judged.ids), {rows[row_id][0] for row_id in judged.ids}
    assert len(test_ids) == 24
    assert len(fits) >= (3 if canary else 2), "fit, its repetition, and perhaps the canary"
    for fit in fits:
        for part in ("train", "validation"):
            ids, texts, _ = fit[part]
            assert ids, part
            assert test_ids.isdisjoint(ids), part
            assert test_texts.isdisjoint(texts), part


def test_the_three_parts_are_all_rows_once(
    opinions: Path, tmp_path: Path, install_method: InstallMethod
) -> None:
    """So validation is no part of training either, and each row has its own text and label."""
    fits, judged = spied_on(DataSource(source=str(opinions)), tmp_path, install_method)
    train, validation = fits[0]["train"], fits[0]["validation"]
    assert sorted([*train[0], *validation[0], *judged.ids], key=int) == list(texts_of(opinions))
    rows = texts_of(opinions)
    for ids, texts, labels in (train, validation):
        assert [rows[row_id] for row_id in ids] == list(zip(texts, labels, strict=True))
    assert len(validation[0]) == 12
    assert judged.gold == tuple(rows[row_id][1] for row_id in judged.ids)


def test_the_canary_is_given_the_same_rows_with_other_labels(
    opinions: Path, tmp_path: Path, install_method: InstallMethod
) -> None:
    fits, _ = spied_on(DataSource(source=str(opinions)), tmp_path, install_method, canary=True)
    honest, shuffled = fits[0], fits[2]
    for part in ("train", "validation"):
        assert shuffled[part][:2] == honest[part][:2]
        assert shuffled[part][2] != honest[part][2]


def test_a_copy_of_a_test_text_is_not_learned_from(
    opinions: Path, tmp_path: Path, install_method: InstallMethod
) -> None:
    """Where the test rows come from a source of their own, their copies leave the other one."""
    copied = opinions.read_text(encoding="utf-8").splitlines()[1:21]
    test = tmp_path / "test.csv"
    test.write_text("text,label\n" + "\n".join(copied) + "\n", encoding="utf-8")
    fits, judged = spied_on(
        DataSource(source=str(opinions), test=str(test)),
        tmp_path,
        install_method,
        split=SplitOptions(train=0.8, validation=0.2, test=0),
    )
    assert len(judged) == 20
    learned = {text for part in ("train", "validation") for text in fits[0][part][1]}
    assert learned.isdisjoint(line.split(",")[0] for line in copied)
