"""A student answers where it is sure, and asks its teacher for the rest."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from pollice.data.dataset import Dataset
from pollice.memory.footprint import Footprint, Lengths, PlannedMethod, together
from pollice.memory.parts import estimate_source, halve_teacher, lengths_with
from pollice.method import OPTIONS
from pollice.methods import REGISTRY
from pollice.models.linear_head import label_codes
from pollice.models.parts import Part, load_part, load_part_later
from pollice.models.routing import (
    Routing,
    choose_routing,
    losses_by_labels,
    losses_by_slow_answers,
)
from pollice.models.teaching import (
    Judged,
    Taught,
    TeachingOptions,
    judge_texts,
    teach,
    texts_to_judge,
)
from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.saved_files import damaged, read_label_names, read_saved_json

_SETTINGS, _STUDENT, _TEACHER = "cascade.json", "student", "teacher"
_LEAST_LABELS = 200
"""From so many validation rows on, their labels choose: of fewer, a point is not even two rows."""


class CascadePredictor(Predictor):
    """A student, its teacher, and the probability from which on the student answers."""

    def __init__(
        self,
        student: Part,
        teacher: Part,
        threshold: float,
        label_names: tuple[str, ...],
        facts: Mapping[str, Any],
    ) -> None:
        self.label_names = label_names
        self._student = student
        self._teacher = teacher
        self._threshold = threshold
        self._facts = dict(facts)

    @property
    def parameters(self) -> int:
        """The weights of both."""
        return self._student.predictor.parameters + self._teacher.predictor.parameters

    @property
    def facts(self) -> Mapping[str, Any]:
        """The threshold, what it was chosen on, and the share that each part answered there."""
        return self._facts

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts with the student, and those that it is unsure of with the teacher."""
        scores = self._student.score(texts, self.label_names)
        unsure = np.flatnonzero(scores.probabilities.max(axis=1, initial=0.0) < self._threshold)
        if not len(unsure):
            return scores
        asked = self._teacher.score([texts[row] for row in unsure.tolist()], self.label_names)
        probabilities = scores.probabilities.copy()
        tokens, truncated = scores.tokens.copy(), scores.truncated.copy()
        probabilities[unsure] = asked.probabilities
        tokens[unsure], truncated[unsure] = asked.tokens, asked.truncated
        return Scores(probabilities=probabilities, tokens=tokens, truncated=truncated)

    def save(self, folder: Path) -> None:
        """Write both parts and the threshold."""
        self._student.save(folder / _STUDENT)
        self._teacher.save(folder / _TEACHER)
        content = {
            "label_names": self.label_names,
            "threshold": self._threshold,
            "facts": self._facts,
        }
        (folder / _SETTINGS).write_text(json.dumps(content, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the teacher is loaded when it is first asked."""
        path = folder / _SETTINGS
        content = read_saved_json(path, "threshold", "facts")
        names = read_label_names(path, content)
        if not isinstance(content["threshold"], float | int):
            raise damaged(path, "a number as threshold", "it has another thing")
        student = load_part(folder / _STUDENT, REGISTRY, names)
        teacher = load_part_later(folder / _TEACHER, REGISTRY, names)
        return cls(student, teacher, float(content["threshold"]), names, content["facts"])


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Cascade(TeachingOptions, PlannedMethod):
    """A fast student where it is sure, its slow teacher for the rest; the loss is yours to set."""

    predictor_type = CascadePredictor

    most_lost: float = Field(default=1.0, ge=0, le=100)
    """The accuracy in points that may be lost against the teacher, on the rows that choose."""
    choose_on: Literal["validation", "teacher"] = "validation"
    """Whether the threshold is chosen on the labels of validation rows, from 200 on, or on the
    teacher's own answers, which takes no labels."""

    def check(self, train: Dataset) -> None:
        """Refuse what teacher or student refuse, and texts that cannot be read."""
        self.check_teaching(REGISTRY, train)

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> CascadePredictor:
        """Let the teacher judge the texts, fit the student, and choose the threshold."""
        names = train.label_names
        texts, left_out = texts_to_judge(self, train, validation)
        teacher = self.find_teacher(REGISTRY).fit(train, validation, workdir / _TEACHER)
        judged = judge_texts(teacher, texts, names, workdir / "answers.safetensors")
        taught = teach(
            self.find_student(REGISTRY),
            replace(judged, left_out=left_out),
            names,
            workdir / _STUDENT,
            self.seed,
        )
        by_labels = self._uses_validation(validation)
        if by_labels:
            chosen_by = judge_texts(teacher, validation.texts, names)
            routing = self._by_labels(taught, chosen_by, validation)
        else:
            routing = self._by_teacher(taught)
        rows = len(validation) if by_labels else len(taught.held_out)
        facts = _facts(taught, teacher.method, routing, rows, by_labels=by_labels)
        return CascadePredictor(taught.student, teacher, routing.threshold, names, facts)

    def _uses_validation(self, validation: Dataset) -> bool:
        return self.choose_on == "validation" and len(validation) >= _LEAST_LABELS

    def _by_labels(self, taught: Taught, judged: Judged, validation: Dataset) -> Routing:
        names = validation.label_names
        fast = taught.student.score(validation.texts, names).probabilities
        codes = label_codes(validation.labels, names)
        losses = losses_by_labels(fast, judged.probabilities, codes)
        return choose_routing(fast.max(axis=1), losses, self.most_lost / 100)

    def _by_teacher(self, taught: Taught) -> Routing:
        slow = taught.judged.probabilities[list(taught.held_out)]
        losses = losses_by_slow_answers(taught.answers, slow)
        return choose_routing(taught.answers.max(axis=1), losses, self.most_lost / 100)

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return what the teacher uses, and the validation rows where they choose."""
        used = self.find_teacher(REGISTRY).labels_used(train, validation)
        if not self._uses_validation(validation):
            return used
        return min(max(used, len(train) + len(validation)), used + len(validation))

    def uses_more_than_labels(self) -> bool:
        """Return whether the teacher's answers use more than the given labels."""
        return self.find_teacher(REGISTRY).knows_more_than_labels

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what both take: the teacher is kept while the student is fitted."""
        judged = lengths_with(lengths, self.unlabelled)
        teacher = estimate_source(self.find_teacher(REGISTRY), judged)
        return together(teacher, estimate_source(self.find_student(REGISTRY), judged))

    def halve_batch(self, lengths: Lengths) -> Mapping[str, int]:
        """Return half of what goes through the teacher at once, as long as it holds a text."""
        return halve_teacher(self.find_teacher(REGISTRY), lengths)


def _facts(
    taught: Taught, teacher: str, routing: Routing, rows: int, *, by_labels: bool
) -> dict[str, Any]:
    facts = taught.facts(teacher)
    on = "validation rows" if by_labels else "texts that the teacher judged"
    lost = f"{routing.loss * 100:.2f} points".replace("-", "\N{MINUS SIGN}")
    said = "were lost against the teacher" if by_labels else "are lost by the teacher's own answers"
    note = (
        f"The student ({facts['student']}) answered {routing.share:.0%} of {rows:,} {on}, and its "
        f"teacher ({teacher}) the other {1 - routing.share:.0%}; {lost} of accuracy {said} there."
    )
    return {
        **facts,
        "threshold": round(routing.threshold, 6),
        "chosen_on": on,
        "chosen_on_rows": rows,
        "answered_by": {"student": round(routing.share, 4), "teacher": round(1 - routing.share, 4)},
        "lost": round(routing.loss, 6),
        "notes": [note],
    }
