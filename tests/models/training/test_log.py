"""The log goes on where its checkpoint was written, and its clock with it."""

import json
from pathlib import Path

from pollice.models.training.log import Journal, begin_journal


def steps(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_lines_are_written_at_once(tmp_path: Path) -> None:
    path = begin_journal(tmp_path, None, is_first=True)
    with Journal(path, seconds=100) as journal:
        journal.step(step=1, tokens=50, loss=0.5)
        row = json.loads(path.read_text())
        journal.epoch(step=1, epoch=1, facts={"train_accuracy": 0.25})
        assert journal.seconds > 100
    assert list(row) == ["step", "loss", "seconds", "tokens_per_second"]
    assert 100 < row["seconds"] < 110
    assert row["tokens_per_second"] > 0
    last = json.loads(path.read_text().splitlines()[-1])
    assert last == {"step": 1, "epoch": 1, "train_accuracy": 0.25}


def test_what_was_logged_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    path = begin_journal(tmp_path, None, is_first=True)
    with Journal(path) as journal:
        journal.step(step=1, tokens=1)
        journal.copy(checkpoint)
        journal.step(step=2, tokens=1)
    assert steps(path) == [1, 2]
    assert begin_journal(tmp_path, checkpoint, is_first=True) == path
    with Journal(path) as journal:
        assert steps(path) == [1]
        journal.step(step=2, tokens=1)
    assert steps(path) == [1, 2]
    assert steps(begin_journal(tmp_path, None, is_first=True)) == []


def test_other_processes_write_nowhere(tmp_path: Path) -> None:
    with Journal(begin_journal(tmp_path, None, is_first=False)) as journal:
        journal.step(step=1, tokens=1)
    assert list(tmp_path.iterdir()) == []
