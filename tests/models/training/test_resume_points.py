"""The newest complete resume point is found whatever happened to the others."""

import errno
import logging
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from killing import killed_at_change
from pollice.models.training.resume_points import ResumePointStore

IDENTITY: Mapping[str, Any] = {"rows": "abc", "batch_size": 16}


def writing(step: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "weights").write_text(f"weights of {step}")
        (folder / "state").mkdir()
        (folder / "state" / "optimizer").write_text(f"optimizer of {step}")

    return write


def publish(store: ResumePointStore, step: int) -> Path:
    folder = store.publish(step, writing(step), identity=IDENTITY, facts={"epoch": step / 2})
    assert folder is not None
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "pollice"]


def test_what_was_published_is_found(tmp_path: Path) -> None:
    folder = publish(ResumePointStore(tmp_path / "checkpoints"), 12)
    found = ResumePointStore(tmp_path / "checkpoints").latest()
    assert found is not None
    assert (found.folder, found.step, found.identity) == (folder, 12, IDENTITY)
    assert found.facts == {"epoch": 6.0}
    assert folder.name == "step-00000012"
    assert (folder / "state" / "optimizer").read_text() == "optimizer of 12"


def test_without_resume_points_there_is_none(tmp_path: Path) -> None:
    assert ResumePointStore(tmp_path / "checkpoints").latest() is None
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("keep", [1, 2])
def test_the_newest_are_kept(tmp_path: Path, keep: int) -> None:
    store = ResumePointStore(tmp_path, keep=keep)
    for step in (2, 9, 10, 200_000_000):
        publish(store, step)
    assert names(tmp_path) == ["step-00000010", "step-200000000"][-keep:]


def test_older_ones_are_deleted_after_the_new_one_is_there(tmp_path: Path) -> None:
    store = ResumePointStore(tmp_path)
    publish(store, 1)

    def write(folder: Path) -> None:
        assert (tmp_path / "step-00000001" / "weights").is_file()
        writing(2)(folder)

    store.publish(2, write, identity=IDENTITY)
    assert names(tmp_path) == ["step-00000002"]


def test_a_step_can_be_published_again(tmp_path: Path) -> None:
    """Names rise, so that the newest is the last even when the ones before it are gone."""
    store = ResumePointStore(tmp_path)
    for content in range(4):
        again = store.publish(3, writing(content), identity=IDENTITY)
        found = store.latest()
        assert found is not None
        assert found.folder == again
        assert (found.folder / "weights").read_text() == f"weights of {content}"
    assert names(tmp_path) == ["step-00000003-3"]


def shorten(folder: Path) -> None:
    (folder / "weights").write_text("weig")


def alter(folder: Path) -> None:
    (folder / "weights").write_text("WEIGHTS of 2")


def remove_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def shorten_manifest(folder: Path) -> None:
    content = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (shorten, "lacks a file or part of one"),
        (alter, "has a damaged weights"),
        (remove_manifest, "lacks a file or part of one"),
        (shorten_manifest, "lacks a file or part of one"),
    ],
)
def test_a_damaged_resume_point_is_passed_over_and_named(
    damage: Callable[[Path], None], fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ResumePointStore(tmp_path, keep=2)
    publish(store, 1)
    damage(publish(store, 2))
    found = store.latest()
    assert found is not None
    assert found.step == 1
    assert said(caplog) == [
        f"In {tmp_path} step-00000002 {fault}: deleted; training goes on from step-00000001."
    ]
    assert names(tmp_path) == ["step-00000001"]


def test_a_leftover_is_deleted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    leftover = tmp_path / ".step-00000002.77.partial"
    leftover.mkdir()
    (leftover / "weights").write_text("half of it")
    assert ResumePointStore(tmp_path).latest() is None
    assert said(caplog) == [
        f"In {tmp_path} .step-00000002.77.partial was never finished: deleted; "
        "training goes on from the beginning."
    ]
    assert names(tmp_path) == []


@pytest.mark.parametrize("older", [True, False])
def test_a_full_disk_leaves_the_older_resume_point(
    older: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ResumePointStore(tmp_path)
    if older:
        publish(store, 1)

    def write(folder: Path) -> None:
        writing(2)(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    assert store.publish(2, write, identity=IDENTITY) is None
    assert names(tmp_path) == (["step-00000001"] if older else [])
    kept = "step-00000001 is kept" if older else "there is none before it"
    assert said(caplog) == [
        f"The disk is full: the resume point of step 2 could not be written, and {kept}. "
        f"Training goes on; free some space in {tmp_path}."
    ]
    publish(store, 3)
    assert names(tmp_path) == ["step-00000003"]


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    with pytest.raises(PermissionError):
        ResumePointStore(tmp_path).publish(1, write, identity=IDENTITY)
    assert names(tmp_path) == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_save_killed_at_any_moment_leaves_a_complete_resume_point(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "pollice")
    found_steps: list[int] = []
    killed = True
    while killed:
        folder = tmp_path / "checkpoints"
        store = ResumePointStore(folder)
        publish(store, 1)
        killed = killed_at_change(len(found_steps) + 1, partial(publish, store, 2))
        found = store.latest()
        assert found is not None
        assert (found.folder / "weights").read_text() == f"weights of {found.step}"
        assert (found.folder / "state" / "optimizer").read_text() == f"optimizer of {found.step}"
        assert all(not name.startswith(".") for name in names(folder))
        found_steps.append(found.step)
        shutil.rmtree(folder)
    assert found_steps == sorted(found_steps)
    assert found_steps.count(1) >= 6
    assert found_steps.count(2) >= 4
