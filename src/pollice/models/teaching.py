"""A teacher judges texts without labels, and a student learns its probabilities.

Knows nothing about what the answers of the two are used for, nor how methods are found.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as checked_dataclass
from safetensors.numpy import load_file, save_file

from pollice.data.dataset import Dataset
from pollice.data.duplicates import text_key
from pollice.data.reading import read_texts
from pollice.errors import DataError, OptionError
from pollice.method import NO_EFFECT, OPTIONS
from pollice.models.parts import MethodSource, Part, Source, find_source
from pollice.models.registry import Registry
from pollice.system.processes import are_several
from pollice.system.progress import in_chunks, stage

FloatArray = NDArray[np.float64]

_HELD_OUT = 0.1
_MOST_HELD_OUT = 1000
_LEAST_TEXTS = 8
_SAVED_EVERY = 512  # texts: a minute of a small language model, which a stop may cost


@checked_dataclass(frozen=True, kw_only=True, config=OPTIONS)
class TeachingOptions:
    """Who teaches whom, on which texts."""

    teacher: str = "prompt"
    """A method's name, or the folder of a saved predictor or of a run's finished method."""
    teacher_options: Mapping[str, Any] = Field(default_factory=dict)
    """The teacher's options, such as {"checkpoint": "gemma-3-270m"}."""
    student: Literal["baseline", "features", "finetune"] = "baseline"
    """The method that learns the teacher's probabilities."""
    student_options: Mapping[str, Any] = Field(default_factory=dict)
    """The student's options."""
    unlabelled: str | None = None
    """A file of texts for the teacher to judge; none: the training texts without their labels."""
    unlabelled_rows: int = Field(default=6000, ge=_LEAST_TEXTS)
    """The most texts that the teacher judges, drawn at random."""
    teacher_batch_tokens: int | None = Field(default=None, ge=1, json_schema_extra=NO_EFFECT)
    """The most tokens that go through the teacher at once; none: what its own options say."""
    seed: int = Field(default=0, ge=0)
    """Draws the texts and those that are held out; the student's too where it has none."""

    def find_teacher(self, registry: Registry) -> Source:
        """Return where the teacher comes from."""
        options = dict(self.teacher_options)
        if (
            self.teacher_batch_tokens is not None
            and self.teacher in registry.names()
            and has_option(registry, self.teacher, "batch_tokens")
        ):
            options["batch_tokens"] = self.teacher_batch_tokens
        return find_source(registry, self.teacher, options, "teacher")

    def find_student(self, registry: Registry) -> MethodSource:
        """Return the student's method."""
        options = {"seed": self.seed, **self.student_options}
        return MethodSource(method=registry.create(self.student, options))

    def check_teaching(self, registry: Registry, train: Dataset) -> None:
        """Refuse what teacher or student would refuse, and texts that cannot be read."""
        if are_several():
            raise OptionError(
                "Expected one process for a teacher and a student, but several were launched. "
                "Start the command without torchrun or accelerate."
            )
        self.find_teacher(registry).check(train)
        self.find_student(registry).check(train)
        texts_to_judge(self, train, train.take([]))


def has_option(registry: Registry, method: str, option: str) -> bool:
    """Tell whether a method has an option."""
    return option in {field.name for field in fields_of(registry.find(method))}  # type: ignore[arg-type]  # pydantic's dataclass


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Texts without labels, and what a teacher says of them."""

    texts: tuple[str, ...]
    probabilities: FloatArray
    """``(texts, labels)``."""
    rows_per_second: float
    left_out: int = 0
    """Texts that were not judged, as the test or validation rows have them."""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A student, and how it judges texts that it did not learn from."""

    student: Part
    judged: Judged
    held_out: tuple[int, ...]
    """Rows of ``judged`` that the student did not learn from; they chose its regularization."""
    answers: FloatArray
    """What the student says of them."""
    rows_per_second: float

    @property
    def agreement(self) -> float:
        """The share of the held-out texts that both give the same label."""
        mine = self.judged.probabilities[list(self.held_out)].argmax(axis=1)
        return float((mine == self.answers.argmax(axis=1)).mean())

    def facts(self, teacher: str) -> dict[str, Any]:
        """Return the figures of both, by name."""
        return {
            "teacher": teacher,
            "student": self.student.method,
            "judged_texts": len(self.judged.texts),
            "left_out_texts": self.judged.left_out,
            "held_out_texts": len(self.held_out),
            "agreement": round(self.agreement, 4),
            "teacher_rows_per_second": round(self.judged.rows_per_second, 1),
            "student_rows_per_second": round(self.rows_per_second, 1),
        }


def texts_to_judge(
    options: TeachingOptions, train: Dataset, validation: Dataset
) -> tuple[tuple[str, ...], int]:
    """Return different texts for the teacher, and how many the test or validation rows have.

    No text of those is among them: neither an exact copy, nor a near one that the data set had.

    Raises:
        DataError: fewer than 8 are left.
    """
    source = train.texts if options.unlabelled is None else read_texts(options.unlabelled).texts
    forbidden = train.withheld | {text_key(text) for text in validation.texts}
    found: dict[bytes, str] = {}
    left_out = 0
    for text in source:
        key = text_key(text)
        if key in forbidden:
            left_out += 1
        elif text.strip():
            found.setdefault(key, text)
    if len(found) < _LEAST_TEXTS:
        raise DataError(
            f"Expected {_LEAST_TEXTS} different texts or more for the teacher to judge, but found "
            f"{len(found)}, and {left_out} that are test or validation texts. Name a file of "
            "others with the option unlabelled."
        )
    texts = tuple(found.values())
    order = np.random.default_rng(options.seed).permutation(len(texts))
    return tuple(texts[row] for row in order[: options.unlabelled_rows]), left_out


def judge_texts(
    teacher: Part, texts: Sequence[str], label_names: Sequence[str], store: Path | None = None
) -> Judged:
    """Let a teacher judge texts; what ``store`` has of them is not judged again.

    Args:
        teacher: Who judges.
        texts: What is judged.
        label_names: The order of the columns.
        store: A file of answers, for going on after a stop; None: they are not kept.
    """
    identity = hashlib.sha256("\0".join((*label_names, *texts)).encode("utf-8", "surrogatepass"))
    name = f"answers.{identity.hexdigest()[:16]}"
    kept = load_file(store).get(name) if store is not None and store.is_file() else None
    tables = [np.zeros((0, len(label_names))) if kept is None else kept]
    start = len(tables[0])
    began, unsaved = time.perf_counter(), 0
    with stage("asking the teacher", total=len(texts)) as advance:
        advance(start)
        for chunk in in_chunks(texts[start:], advance):
            tables.append(teacher.score(chunk, label_names).probabilities)
            unsaved += len(chunk)
            if store is not None and unsaved >= _SAVED_EVERY:
                _keep(store, name, tables)
                unsaved = 0
    seconds = time.perf_counter() - began
    if store is not None:
        _keep(store, name, tables)
    return Judged(
        texts=tuple(texts),
        probabilities=np.concatenate(tables),
        rows_per_second=(len(texts) - start) / max(seconds, 1e-9),
    )


def _keep(store: Path, name: str, tables: Sequence[FloatArray]) -> None:
    temporary = store.with_suffix(".partial")
    save_file({name: np.concatenate(tables)}, temporary)
    temporary.replace(store)


def teach(
    student: MethodSource, judged: Judged, label_names: tuple[str, ...], workdir: Path, seed: int
) -> Taught:
    """Fit a student on a teacher's probabilities; a tenth of the texts is held out."""
    draw = np.random.default_rng((seed, 1))
    count = min(_MOST_HELD_OUT, max(1, round(_HELD_OUT * len(judged.texts))))
    order = draw.permutation(len(judged.texts))
    held, taken = sorted(order[:count].tolist()), sorted(order[count:].tolist())
    table = judged.probabilities
    best = table.argmax(axis=1)
    # Labels drawn at the teacher's probabilities: their log loss is that against the probabilities,
    # on average. The teacher's best labels would ask for a student that is surer than it.
    drawn = (table.cumsum(axis=1) > draw.random((len(table), 1))).argmax(axis=1)
    train = _rows(judged, taken, best, label_names, soft=True)
    held_out = _rows(judged, held, drawn, label_names, soft=False)
    part = student.fit(train, held_out, workdir)
    began = time.perf_counter()
    answers = part.score(held_out.texts, label_names).probabilities
    seconds = time.perf_counter() - began
    return Taught(
        student=part,
        judged=judged,
        held_out=tuple(held),
        answers=answers,
        rows_per_second=len(held) / max(seconds, 1e-9),
    )


def _rows(
    judged: Judged,
    rows: Sequence[int],
    columns: NDArray[np.int64],
    label_names: tuple[str, ...],
    *,
    soft: bool,
) -> Dataset:
    return Dataset(
        ids=tuple(map(str, rows)),
        texts=tuple(judged.texts[row] for row in rows),
        labels=tuple(label_names[columns[row]] for row in rows),
        label_names=label_names,
        soft_labels=(
            tuple(tuple(judged.probabilities[row].tolist()) for row in rows) if soft else None
        ),
    )
