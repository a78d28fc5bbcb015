"""A run's folder: one command at a time works in it, and what came to nothing leaves none."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pollice.errors import RunError
from pollice.runs import folder
from pollice.runs.folder import unclaim_folder, working_in
from pollice.runs.sharing import FirstProcess, leave, wait_for_leaving

HOLDER = """
import sys, time
from pathlib import Path
from pollice.runs.folder import working_in

with working_in(Path(sys.argv[1])):
    print("working", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Start a process that works in a folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    return process


def test_two_commands_in_one_folder_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with holder(folder) as process:
        sentence = (
            f"Another command works in {folder} right now. Wait until it has ended, or name "
            "another folder with --out."
        )
        with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"), working_in(folder):
            pass
        process.communicate("")
    with working_in(folder):
        pass


def test_the_lock_lies_beside_the_folder_and_is_gone_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with working_in(folder):
        assert not list(folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_killed_command_holds_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with holder(folder) as process:
        process.kill()
        process.wait()
    with working_in(folder):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with holder(folder) as process:
        threading.Timer(0.5, (folder / "done").touch).start()
        start = time.monotonic()
        FirstProcess(folder).wait_for(folder / "done")
        assert time.monotonic() - start > 0.4
        process.communicate("")


def test_nobody_waits_for_a_process_that_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with holder(folder) as process:
        threading.Timer(0.5, process.kill).start()
        sentence = (
            f"Process 0 ended before it wrote {folder}/done, so this process ends too. What "
            "process 0 said tells why."
        )
        with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
            FirstProcess(folder).wait_for(folder / "done")


def test_nobody_waits_for_ever_for_a_process_that_never_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_START_SECONDS", 0.3)
    with pytest.raises(RunError, match=r"^Process 0 ended before it wrote "):
        FirstProcess(tmp_path / "run").wait_for(tmp_path / "run" / "done")


def test_a_folder_with_a_claim_and_a_plan_alone_goes(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / ".work" / "finetune").mkdir(parents=True)
    for name in ("experiment.toml", "data.json", ".work/finetune/plan.json"):
        (folder / name).touch()
    unclaim_folder(folder, "plan.json")
    assert not folder.exists()


def test_a_folder_with_a_checkpoint_stays(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run" / ".work" / "finetune" / "checkpoints" / "step-00000004"
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").touch()
    (tmp_path / "run" / "data.json").touch()
    unclaim_folder(tmp_path / "run", "plan.json")
    assert checkpoint.is_dir()


def test_who_has_begun_and_works_no_more_has_ended(tmp_path: Path) -> None:
    first = FirstProcess(tmp_path / "run")
    first.begun = True
    start = time.monotonic()
    with pytest.raises(RunError, match=r"^Process 0 ended before it wrote "):
        first.wait_for(tmp_path / "run" / "done")
    assert time.monotonic() - start < 5


def test_the_first_waits_until_the_others_have_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    threading.Timer(0.3, leave, [tmp_path]).start()
    start = time.monotonic()
    wait_for_leaving(tmp_path)
    assert 0.2 < time.monotonic() - start < 30
    monkeypatch.setattr(folder, "_LEAVE_SECONDS", 0.1)
    wait_for_leaving(tmp_path / "where nobody comes")
