"""The log goes on where its resume point was written, and its clock with it."""

import json
from pathlib import Path

from pollice.models.training.log import TrainingLog, begin_log


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_lines_are_written_at_once(tmp_path: Path) -> None:
    """Seconds go on where the interruption was; what an epoch's end took is no step's."""
    ticks = iter([50, 52, 60, 60.5, 61])
    path = begin_log(tmp_path, None, is_first=True)
    with TrainingLog(path, seconds=100, clock=lambda: next(ticks)) as log:
        log.step(step=1, tokens=50, loss=0.5)
        row = json.loads(path.read_text())
        log.epoch(step=1, epoch=1, facts={"train_accuracy": 0.25})
        _, second = path.read_text().splitlines()
        log.step(step=2, tokens=50)
        assert log.seconds == 111
    assert row == {"step": 1, "loss": 0.5, "seconds": 102, "tokens_per_second": 25}
    assert list(row) == ["step", "loss", "seconds", "tokens_per_second"]
    assert json.loads(second) == {"step": 1, "epoch": 1, "train_accuracy": 0.25}
    assert json.loads(path.read_text().splitlines()[-1])["tokens_per_second"] == 100


def test_what_was_logged_after_the_resume_point_is_forgotten(tmp_path: Path) -> None:
    resume_point = tmp_path / "step-00000001"
    resume_point.mkdir()
    path = begin_log(tmp_path, None, is_first=True)
    with TrainingLog(path) as log:
        log.step(step=1, tokens=1)
        log.copy(resume_point)
        log.step(step=2, tokens=1)
    assert steps(path) == [1, 2]
    assert begin_log(tmp_path, resume_point, is_first=True) == path
    with TrainingLog(path) as log:
        assert steps(path) == [1]
        log.step(step=2, tokens=1)
    assert steps(path) == [1, 2]
    assert steps(begin_log(tmp_path, None, is_first=True)) == []


def test_other_processes_write_nowhere(tmp_path: Path) -> None:
    with TrainingLog(begin_log(tmp_path, None, is_first=False)) as log:
        log.step(step=1, tokens=1)
    assert list(tmp_path.iterdir()) == []
