"""How a method is made to fit: planned from the parts, written down, taken up again."""

import json
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic.dataclasses import dataclass

from pollice.data.dataset import Dataset
from pollice.data.splits import Split, split
from pollice.errors import MemoryPlanError
from pollice.memory.footprint import MIB
from pollice.memory.planner import plan_memory
from pollice.method import OPTIONS, Method
from pollice.methods import create_method
from pollice.predictions.predictor import Predictor
from pollice.runs.fitting import (
    Fitting,
    as_finished,
    begin_session,
    lengths_of,
    plan_fitting,
    start_fitting,
    with_saved_changes,
)
from pollice.runs.folder import MethodFolder, WorkFolder
from pollice.system.measuring import resident_bytes
from tiny import opinions


def parts_of(rows: int = 60) -> Split:
    return split(opinions(rows))


def finetune(**options: Any) -> Method:
    return create_method("finetune", {"device": "cpu", "dtype": "float32", **options})


def longer(part: Dataset, times: int) -> Dataset:
    return replace(part, texts=tuple(text * times for text in part.texts))


def test_the_longest_text_may_be_a_test_row() -> None:
    parts = parts_of()
    lengths = lengths_of(replace(parts, test=longer(parts.test, 100)))
    assert lengths.longest > 10 * lengths_of(parts).longest
    assert lengths.characters == sum(map(len, parts.train.texts))
    assert lengths.labels == 2


def test_what_fits_is_not_changed(tmp_path: Path) -> None:
    method = finetune()
    fitting = plan_fitting("mine", method, parts_of(), WorkFolder(tmp_path), 2**40)
    assert (fitting.method, fitting.changes) == (method, {})


def budget_below(method: Method, parts: Split) -> int:
    """Return a budget that the method as asked does not fit, but a smaller micro-batch does."""
    plan = plan_memory(method, lengths_of(parts), 2**40)
    assert plan is not None
    return (plan.candidates[0].bytes + plan.candidates[2].bytes) // 2


def test_a_run_is_changed_where_its_numbers_stay_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parts = parts_of()
    parts = replace(parts, train=longer(parts.train, 30))
    method = finetune(micro_batch_tokens=8192)
    with caplog.at_level(logging.INFO, "pollice"):
        fitting = plan_fitting(
            "mine", method, parts, WorkFolder(tmp_path), budget_below(method, parts)
        )
    (option,) = fitting.changes
    assert option == "micro_batch_tokens"
    assert fitting.changes[option] < 8192
    assert fitting.method == replace(method, **fitting.changes)  # type: ignore[type-var]
    (line,) = caplog.messages
    assert line.startswith("mine needs ")
    assert line.endswith(
        f"(as --memory says): --set mine.micro_batch_tokens={fitting.changes[option]}, which "
        "leaves its numbers as they are."
    )


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MemoryPlanError, match=r"^mine needs .* may use 200 MiB of memory "):
        plan_fitting("mine", finetune(), parts_of(), WorkFolder(tmp_path), 200 * MIB)


def test_an_interrupted_method_is_taken_up_as_it_was_begun(tmp_path: Path) -> None:
    """Also where there is more memory now: its checkpoints are those of that micro-batch."""
    work = WorkFolder(tmp_path)
    start_fitting(Fitting(method=finetune(), changes={"micro_batch_tokens": 1024}), work)
    assert json.loads(work.plan.read_text()) == {"micro_batch_tokens": 1024}
    fitting = plan_fitting("mine", finetune(), parts_of(), WorkFolder(tmp_path), 2**40)
    assert fitting.changes == {"micro_batch_tokens": 1024}
    assert (
        fitting.method == finetune(micro_batch_tokens=1024) == with_saved_changes(finetune(), work)
    )
    assert with_saved_changes(finetune(), WorkFolder(tmp_path / "other")) == finetune()


def test_the_prediction_is_for_the_whole_process(tmp_path: Path) -> None:
    fitting = plan_fitting("mine", finetune(), parts_of(), WorkFolder(tmp_path), 2**40)
    assert fitting.candidate is not None
    growth = fitting.candidate.bytes - fitting.candidate.parts["libraries"]
    assert fitting.predicted_mib() == pytest.approx((growth + resident_bytes()) / MIB, rel=0.05)


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Method):
    """A method of someone else's, which says nothing of its memory."""

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> Predictor:
        raise NotImplementedError


def test_a_method_of_others_is_not_planned(tmp_path: Path) -> None:
    method = Theirs()
    fitting = plan_fitting("mine", method, parts_of(), WorkFolder(tmp_path), 1)
    assert (fitting.method, fitting.predicted_mib()) == (method, None)


def test_a_finished_method_is_fitted_again_as_it_was(tmp_path: Path) -> None:
    """The canary needs no more memory than the fit before it."""
    (tmp_path / "cost.json").write_text('{"memory_changes": {"micro_batch_tokens": 512}}')
    assert as_finished(finetune(), MethodFolder(tmp_path)) == finetune(micro_batch_tokens=512)
    (tmp_path / "cost.json").write_text("{}")
    assert as_finished(finetune(), MethodFolder(tmp_path)) == finetune()


def test_the_time_to_fit_holds_the_sessions_before_an_interruption(tmp_path: Path) -> None:
    """A killed session lasted until its last file was written; the clock is the files' own."""
    work = WorkFolder(tmp_path)
    assert begin_session(work) == 0
    for seconds_before, lasted in ((0.0, 7.0), (7.0, 5.0)):
        began = json.loads(work.sessions.read_text())["began"]
        work.sessions.write_text(json.dumps({"seconds_before": seconds_before, "began": began}))
        work.log.touch()
        os.utime(work.sessions, (began, began))
        os.utime(work.log, (began + lasted, began + lasted))
        assert begin_session(work) == pytest.approx(seconds_before + lasted)
