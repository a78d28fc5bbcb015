"""A student learns the answers of a teacher, and judges alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from pydantic.dataclasses import dataclass

from pollice.data.dataset import Dataset
from pollice.memory.footprint import Footprint, Lengths, PlannedMethod, larger
from pollice.memory.parts import estimate_source, halve_teacher, lengths_with
from pollice.method import OPTIONS
from pollice.methods import REGISTRY
from pollice.models.parts import Part, load_part
from pollice.models.teaching import TeachingOptions, judge_texts, teach, texts_to_judge
from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.saved_files import read_label_names, read_saved_json

_SETTINGS, _STUDENT = "distilled.json", "student"


class DistilledPredictor(Predictor):
    """A student; nothing of its teacher is kept."""

    def __init__(
        self, student: Part, label_names: tuple[str, ...], facts: Mapping[str, Any]
    ) -> None:
        self.label_names = label_names
        self._student = student
        self._facts = dict(facts)

    @property
    def parameters(self) -> int:
        """The student's weights."""
        return self._student.predictor.parameters

    @property
    def facts(self) -> Mapping[str, Any]:
        """Who taught whom, on how many texts, and how well the two agree."""
        return self._facts

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts with the student alone."""
        return self._student.score(texts, self.label_names)

    def save(self, folder: Path) -> None:
        """Write the student and the facts."""
        self._student.save(folder / _STUDENT)
        content = {"label_names": self.label_names, "facts": self._facts}
        (folder / _SETTINGS).write_text(json.dumps(content, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        content = read_saved_json(folder / _SETTINGS, "facts")
        names = read_label_names(folder / _SETTINGS, content)
        return cls(load_part(folder / _STUDENT, REGISTRY, names), names, content["facts"])


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Distill(TeachingOptions, PlannedMethod):
    """A fast student of a slow teacher: it learns what the teacher says of texts without labels."""

    predictor_type = DistilledPredictor

    def check(self, train: Dataset) -> None:
        """Refuse what teacher or student refuse, and texts that cannot be read."""
        self.check_teaching(REGISTRY, train)

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> DistilledPredictor:
        """Let the teacher judge the texts, and fit the student on its probabilities."""
        names = train.label_names
        texts, left_out = texts_to_judge(self, train, validation)
        teacher = self.find_teacher(REGISTRY).fit(train, validation, workdir / "teacher")
        judged = judge_texts(teacher, texts, names, workdir / "answers.safetensors")
        told = teacher.method
        del teacher  # its memory is for the student now
        taught = teach(
            self.find_student(REGISTRY),
            replace(judged, left_out=left_out),
            names,
            workdir / _STUDENT,
            self.seed,
        )
        facts = taught.facts(told)
        note = (
            f"The student ({facts['student']}) answered every row alone; it agrees with its "
            f"teacher ({told}) on {taught.agreement:.1%} of {len(taught.held_out):,} texts that it "
            "did not learn from."
        )
        return DistilledPredictor(taught.student, names, {**facts, "notes": [note]})

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return what the teacher uses; the student looks at no label."""
        return self.find_teacher(REGISTRY).labels_used(train, validation)

    def uses_more_than_labels(self) -> bool:
        """Return whether the teacher's answers use more than the given labels."""
        return self.find_teacher(REGISTRY).knows_more_than_labels

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what the larger of the two takes: they work one after the other."""
        judged = lengths_with(lengths, self.unlabelled)
        teacher = estimate_source(self.find_teacher(REGISTRY), judged)
        return larger(teacher, estimate_source(self.find_student(REGISTRY), judged))

    def halve_batch(self, lengths: Lengths) -> Mapping[str, int]:
        """Return half of what goes through the teacher at once, as long as it holds a text."""
        return halve_teacher(self.find_teacher(REGISTRY), lengths)
