"""A language model without labels, its students, the cascade of both, and their average.

    python benchmarks/students.py JUDGED UNLABELLED --texts 1000 --texts 3000 [--answers FOLDER]

JUDGED is a file of labelled texts, UNLABELLED one of texts. The model judges every text once, and
its answers are kept in FOLDER: the same command goes on after a stop. Labels of JUDGED are used to
count what is right, and for nothing else.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pollice.data.columns import ReadOptions
from pollice.data.dataset import Dataset
from pollice.data.duplicates import text_key
from pollice.data.reading import read_dataset, read_texts
from pollice.judging.paired import Discordance
from pollice.methods import REGISTRY
from pollice.methods.prompt import Prompt
from pollice.models.blending import average
from pollice.models.drawn_rows import DrawnRows
from pollice.models.linear_head import label_codes
from pollice.models.parts import MethodSource, Part
from pollice.models.routing import choose_routing, losses_by_slow_answers
from pollice.models.teaching import Judged, Taught, judge_texts, teach

FloatArray = NDArray[np.float64]
_MOST_LOST = 0.005


def main() -> None:
    """Print a table for each number of texts that the student learns from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("judged")
    parser.add_argument("unlabelled")
    parser.add_argument("--texts", type=int, action="append", default=[])
    parser.add_argument("--answers", type=Path, default=None)
    parser.add_argument("--student", action="append", default=[])
    given = parser.parse_args()
    names = {"neg": "negative", "pos": "positive", "0": "negative", "1": "positive"}
    judged = _with_names(read_dataset(given.judged, ReadOptions()), names)
    seen = {text_key(text) for text in judged.texts}
    texts = [text for text in read_texts(given.unlabelled).texts if text_key(text) not in seen]
    answers = given.answers or Path(tempfile.mkdtemp())
    answers.mkdir(exist_ok=True)
    teacher = _Teacher(judged.label_names, texts[:256])
    of_judged = teacher.judge(judged.texts, answers / "judged.safetensors")
    counts = given.texts or [1000, 3000, 6000]
    all_taken = teacher.judge(texts[: max(counts)], answers / "unlabelled.safetensors")
    for count in counts:
        taken = replace(
            all_taken,
            texts=all_taken.texts[:count],
            probabilities=all_taken.probabilities[:count],
        )
        for student in given.student or ["baseline"]:
            _show(_taught(taken, judged.label_names, student), judged, of_judged)


def _with_names(rows: Dataset, names: dict[str, str]) -> Dataset:
    """Return rows of two labels by the names that the model is asked with."""
    labels = tuple(names.get(label, label) for label in rows.labels)
    return Dataset(
        ids=rows.ids, texts=rows.texts, labels=labels, label_names=tuple(sorted(set(labels)))
    )


class _Teacher:
    """The model, opened when it has something to judge."""

    def __init__(self, label_names: tuple[str, ...], texts: list[str]) -> None:
        self._names = label_names
        self._texts = tuple(texts)
        self._part: Part | None = None

    def judge(self, texts: list[str] | tuple[str, ...], store: Path) -> Judged:
        rate = store.with_suffix(".rate")
        if not rate.is_file():
            found = judge_texts(self._open(), texts, self._names, store)
            rate.write_text(str(found.rows_per_second))
        # All is kept by now: nobody is asked.
        kept = judge_texts(_Silent(), texts, self._names, store)  # type: ignore[arg-type]
        return Judged(
            texts=kept.texts,
            probabilities=kept.probabilities,
            rows_per_second=float(rate.read_text()),
        )

    def _open(self) -> Part:
        if self._part is None:
            nobody = Dataset(ids=(), texts=(), labels=(), label_names=self._names)
            rows = DrawnRows(shown=nobody, labelled=nobody, unlabelled=self._texts)
            self._part = Part(method="prompt", predictor=Prompt().build(self._names, rows))
        return self._part


class _Silent:
    """Stands for a model whose answers are all kept."""


def _taught(taken: Judged, names: tuple[str, ...], student: str) -> Taught:
    source = MethodSource(method=REGISTRY.create(student, {}))
    with tempfile.TemporaryDirectory() as workdir:
        return teach(source, taken, names, Path(workdir), seed=0)


def _show(taught: Taught, judged: Dataset, teacher: Judged) -> None:
    codes = label_codes(judged.labels, judged.label_names)
    slow = teacher.probabilities
    began = time.perf_counter()
    fast = taught.student.score(judged.texts, judged.label_names).probabilities
    rate = len(judged) / (time.perf_counter() - began)
    held = taught.judged.probabilities[list(taught.held_out)]
    routing = choose_routing(
        taught.answers.max(axis=1), losses_by_slow_answers(taught.answers, held), _MOST_LOST
    )
    by_student = fast.max(axis=1) >= routing.threshold
    cascade = np.where(by_student[:, None], fast, slow)
    asked = 1 - by_student.mean()
    cascade_rate = 1 / (1 / rate + asked / teacher.rows_per_second)
    blend = average(2, len(judged.label_names)).probabilities(np.stack([slow, fast]))
    tables = {"teacher": slow, "student": fast, "cascade": cascade, "ensemble": blend}
    both = 1 / (1 / rate + 1 / teacher.rows_per_second)
    rates = (teacher.rows_per_second, rate, cascade_rate, both)
    right = {name: table.argmax(axis=1) == codes for name, table in tables.items()}
    agreement = f"{taught.agreement:.3f} of {len(taught.held_out)}"
    print(f"\n{len(taught.judged.texts):,} texts, {taught.student.method}; agreement {agreement}; ")
    print(f"threshold {routing.threshold:.3f}, {1 - asked:.0%} answered by the student\n")
    print("| | accuracy | rows/s | ensemble against it |\n|---|---|---|---|")
    for (name, found), speed in zip(right.items(), rates, strict=True):
        counts = Discordance(
            wins=int((right["ensemble"] & ~found).sum()),
            losses=int((found & ~right["ensemble"]).sum()),
            rows=len(codes),
        )
        against = f"{counts.wins} : {counts.losses}, p {counts.p_value:.4f}"
        print(f"| {name} | {found.mean():.3f} | {speed:,.1f} | {against} |", flush=True)


if __name__ == "__main__":
    main()
