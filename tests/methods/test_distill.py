"""A student learns a teacher's answers to texts without labels, and never to a test text."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import InstallMethod, Invoke, opinion_rows
from pollice.data.dataset import Dataset
from pollice.data.splits import split
from pollice.errors import DataError, OptionError, RunError
from pollice.methods import create_method
from pollice.predictions.table import Predictions
from pollice.runs.experiment import DataSource, Experiment
from pollice.runs.predictors import load_predictor, save_predictor
from pollice.runs.run import run_experiment
from tiny import opinions, tiny_encoder

SPY = '''
from pathlib import Path

import numpy as np
from pydantic.dataclasses import dataclass

from pollice.method import OPTIONS, Method
from pollice.predictions.predictor import Predictor, Scores


class Judge(Predictor):
    """Notes every text that it judges, and knows the words "pos" and "neg" by their letters."""

    def __init__(self, notes, label_names):
        self.notes, self.label_names = notes, label_names

    def score(self, texts):
        with Path(self.notes).open("a", encoding="utf-8") as file:
            file.writelines(text + "\\n" for text in texts)
        sure = np.array([[0.8, 0.2] if len(text) % 2 else [0.3, 0.7] for text in texts])
        counts = np.array([len(text.split()) for text in texts], np.int64)
        return Scores(
            probabilities=sure.reshape(-1, 2), tokens=counts, truncated=counts < 0
        )

    def save(self, folder):
        (folder / "notes.txt").write_text("\\n".join([self.notes, *self.label_names]))

    @classmethod
    def load(cls, folder):
        notes, *names = (folder / "notes.txt").read_text().split("\\n")
        return cls(notes, tuple(names))


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Method):
    """Judges by nothing, and writes down what it judges."""

    predictor_type = Judge

    notes: str
    """The file of the texts that were judged."""
    seed: int = 0
    """Draws nothing."""

    def fit(self, train, validation, *, workdir):
        return Judge(self.notes, train.label_names)

    def labels_used(self, train, validation):
        return 0
'''


def rows() -> tuple[Dataset, Dataset, Dataset]:
    data = opinions(300)
    return data.take(range(120)), data.take(range(120, 160)), data.take(range(160, 300))


def accuracy(predictor: Any, data: Dataset) -> float:
    best = predictor.predict_proba(data.texts).argmax(axis=1)
    found = [predictor.label_names[column] for column in best]
    return float(np.mean([a == b for a, b in zip(found, data.labels, strict=True)]))


def written(path: Path, texts: tuple[str, ...]) -> str:
    path.write_text("text\n" + "\n".join(texts) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", ["distill", "cascade"])
def test_no_test_text_is_judged_by_the_teacher(
    name: str, opinions: Path, tmp_path: Path, install_method: InstallMethod
) -> None:
    """Though the file of unlabelled texts has them all, in other letters too; nor a validation
    text, but where the labels of validation rows choose a threshold."""
    install_method("spy", SPY)
    source = opinions.read_text(encoding="utf-8").splitlines()[1:]
    every = tuple(line.rpartition(",")[0] for line in source)
    shouted = tuple(f"{text.upper()}!" for text in every)
    notes, run = tmp_path / "notes.txt", tmp_path / "run"
    options = {
        "teacher": "spy",
        "teacher_options": {"notes": str(notes)},
        "unlabelled": written(tmp_path / "more.csv", (*every, *shouted)),
    }
    data = DataSource(source=str(opinions))
    if name == "distill":
        run_experiment(Experiment(data=data, methods={name: options}), run)
        judged = Predictions.read(run / name / "predictions.parquet")
        test = {every[int(row)] for row in judged.ids}
    else:  # a cascade asks its teacher when it is judged, so it is fitted alone
        from pollice.data.reading import read_dataset

        parts = split(read_dataset(str(opinions)))
        create_method(name, options).fit(parts.train, parts.validation, workdir=tmp_path)
        test = set(parts.test.texts)
    asked = {text.casefold().rstrip("!") for text in notes.read_text().splitlines()}
    assert len(test) == 24
    assert len(asked) == 84
    assert asked.isdisjoint(test)


def test_the_soft_labels_are_learned(tmp_path: Path, install_method: InstallMethod) -> None:
    """A teacher that is 80 and 70 % sure makes a student that is no surer, on average."""
    install_method("spy", SPY)
    train, validation, test = rows()
    options = {"teacher": "spy", "teacher_options": {"notes": str(tmp_path / "notes.txt")}}
    student = create_method("distill", options).fit(train, validation, workdir=tmp_path)
    mean = student.predict_proba(test.texts).mean(axis=0)
    odd = np.mean([len(text) % 2 for text in train.texts])
    np.testing.assert_allclose(mean[0], 0.8 * odd + 0.3 * (1 - odd), atol=0.1)


@pytest.mark.parametrize("student", ["baseline", "features", "finetune"])
def test_every_student_learns_from_a_teacher(student: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"teacher": "baseline", "student": student}
    if student != "baseline":
        checkpoint = tiny_encoder(tmp_path / "checkpoint", family="bert")
        taught = {"checkpoint": str(checkpoint), "dtype": "float32", "max_tokens": 48}
        if student == "finetune":
            taught |= {"epochs": 4, "learning_rate": 0.003}
        options["student_options"] = taught
    train, validation, test = rows()
    method = create_method("distill", options)
    method.check(train)
    predictor = method.fit(train, validation, workdir=tmp_path)
    assert accuracy(predictor, test) >= 0.85
    facts = predictor.facts
    assert (facts["student"], facts["teacher"]) == (student, "baseline")
    assert facts["judged_texts"] == 120
    assert facts["held_out_texts"] == 12
    assert facts["notes"] == [
        f"The student ({student}) answered every row alone; it agrees with its teacher (baseline) "
        f"on {facts['agreement']:.1%} of 12 texts that it did not learn from."
    ]


def test_a_finished_run_is_a_teacher(finished: Path, tmp_path: Path) -> None:
    """By its method's folder or its predictor's; its labels count, the student's own are none."""
    texts, told = zip(*opinion_rows(), strict=True)
    ids = tuple(map(str, range(len(texts))))
    data = Dataset(ids=ids, texts=texts, labels=told, label_names=("neg", "pos"))
    labels = json.loads((finished / "baseline" / "cost.json").read_text())["labels_used"]
    for folder in (finished / "baseline", finished / "baseline" / "predictor"):
        method = create_method("distill", {"teacher": str(folder)})
        assert method.labels_used(data, data) == labels > 0
        assert method.uses_more_than_labels()
        student = method.fit(data, data.take([]), workdir=tmp_path)
        expected = load_predictor(finished / "baseline" / "predictor").predict_proba(data.texts)
        agreed = student.predict_proba(data.texts).argmax(axis=1) == expected.argmax(axis=1)
        assert agreed.mean() >= 0.8


def test_the_saved_student_holds_no_teacher(tmp_path: Path) -> None:
    train, validation, test = rows()
    options = {"teacher": "baseline"}
    student = create_method("distill", options).fit(train, validation, workdir=tmp_path / "work")
    save_predictor(student, tmp_path / "saved", method="distill", options=options)
    files = {str(path.relative_to(tmp_path / "saved")) for path in (tmp_path / "saved").rglob("*")}
    assert files == {
        "manifest.json",
        "distilled.json",
        "student",
        *(f"student/{name}" for name in ("part.json", "vocabulary.json", "head.safetensors")),
    }
    loaded = load_predictor(tmp_path / "saved")
    np.testing.assert_array_equal(
        loaded.predict_proba(test.texts), student.predict_proba(test.texts)
    )


def test_a_changed_part_is_refused(tmp_path: Path) -> None:
    train, validation, _ = rows()
    student = create_method("distill", {"teacher": "baseline"}).fit(
        train, validation, workdir=tmp_path / "work"
    )
    save_predictor(student, tmp_path / "saved", method="distill", options={})
    part = tmp_path / "saved" / "student" / "part.json"
    part.write_text(part.read_text().replace("baseline", "features"))
    with pytest.raises(RunError, match=r"student/part\.json was changed since it was saved"):
        load_predictor(tmp_path / "saved")


def test_what_is_judged_is_not_judged_again(tmp_path: Path, install_method: InstallMethod) -> None:
    """A second fit in the same work folder, as after a stop, asks the teacher nothing."""
    install_method("spy", SPY)
    notes = tmp_path / "notes.txt"
    method = create_method("distill", {"teacher": "spy", "teacher_options": {"notes": str(notes)}})
    train, validation, test = rows()
    first = method.fit(train, validation, workdir=tmp_path / "work")
    assert len(notes.read_text().splitlines()) == 120
    second = method.fit(train, validation, workdir=tmp_path / "work")
    assert len(notes.read_text().splitlines()) == 120
    np.testing.assert_array_equal(first.predict_proba(test.texts), second.predict_proba(test.texts))


def test_few_texts_are_refused(tmp_path: Path) -> None:
    train, validation, _ = rows()
    file = written(tmp_path / "few.csv", ("one text", "One text!", *validation.texts))
    method = create_method("distill", {"teacher": "baseline", "unlabelled": file})
    sentence = (
        "Expected 8 different texts or more for the teacher to judge, but found 1, and 40 that are "
        "test or validation texts. Name a file of others with the option unlabelled."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        method.fit(train, validation, workdir=tmp_path)


def test_an_unknown_teacher_is_refused() -> None:
    with pytest.raises(
        OptionError,
        match=(
            r"^Expected the name of a method or the folder of a saved predictor for teacher, but "
            r"found 'basline'\. Did you mean 'baseline'\? The methods are: baseline, cascade, .*\. "
            r"A folder is one such as runs/NAME/METHOD\.$"
        ),
    ):
        create_method("distill", {"teacher": "basline"}).labels_used(*rows()[:2])


def test_a_teacher_of_other_labels_is_refused(finished: Path) -> None:
    folder = finished / "baseline" / "predictor"
    sentence = (
        f"Expected a predictor of the labels negative, positive, but that in {folder} has "
        "['neg', 'pos']. Name one that was fitted on the same labels."
    )
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        create_method("distill", {"teacher": str(folder)}).check(rows()[0])


def test_options_of_a_finished_teacher_are_refused(finished: Path) -> None:
    folder = finished / "baseline"
    sentence = (
        f"Expected no options for teacher, since {folder} is fitted already, but found ngrams. "
        "Leave them out."
    )
    method = create_method("distill", {"teacher": str(folder), "teacher_options": {"ngrams": 1}})
    with pytest.raises(OptionError, match=f"^{re.escape(sentence)}$"):
        method.check(rows()[0])


def test_the_canary_applies_where_the_teacher_knows_labels_only() -> None:
    assert not create_method("distill", {"teacher": "baseline"}).uses_more_than_labels()
    assert create_method("distill", {}).uses_more_than_labels()


def test_unlabelled_texts_are_named_on_the_command_line(
    invoke: Invoke, opinions: Path, tmp_path: Path
) -> None:
    more = written(tmp_path / "more.csv", tuple(f"a fine good plot {row}" for row in range(40)))
    arguments = ["--data", str(opinions), "--unlabelled", more, "-o", "run"]
    teacher = ["--method", "distill", "--set", "distill.teacher=baseline"]
    code, output, error = invoke("compare", *arguments, *teacher)
    assert code == 0, error
    facts = json.loads((tmp_path / "run" / "distill" / "facts.json").read_text())
    assert facts["judged_texts"] == 40
    assert "distill: The student (baseline) answered every row alone" in " ".join(output.split())
    code, _, error = invoke("compare", *arguments, "--method", "baseline")
    assert code == 2
    assert " ".join(error.split()) == (
        "Error: Expected a method that learns from unlabelled texts for --unlabelled, but found "
        "baseline. Add --method distill or --method cascade."
    )
