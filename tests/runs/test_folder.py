"""A run's folder: one command at a time works in it, and what came to nothing leaves none."""

import math
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pollice.errors import RunError
from pollice.runs.claims import lock_folder, unclaim_folder
from pollice.runs.folder import RunFolder, WorkFolder
from pollice.runs.sharing import FirstProcess, leave, wait_for_leaving

HOLDER = """
import sys, time
from pathlib import Path
from pollice.runs.claims import lock_folder

with lock_folder(Path(sys.argv[1])):
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
        with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"), lock_folder(folder):
            pass
        process.communicate("")
    with lock_folder(folder):
        pass


def test_the_lock_lies_beside_the_folder_and_is_gone_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with lock_folder(folder):
        assert not list(folder.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_killed_command_holds_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with holder(folder) as process:
        process.kill()
        process.wait()
    with lock_folder(folder):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_waited_for(tmp_path: Path) -> None:
    """The thread ends only once the file is there."""
    folder = tmp_path / "run"
    folder.mkdir()
    with holder(folder) as process:
        waiting = threading.Thread(target=FirstProcess(folder=folder).wait_for, args=[folder / "x"])
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        (folder / "x").touch()
        waiting.join(60)
        assert not waiting.is_alive()
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
            FirstProcess(folder=folder).wait_for(folder / "done")


def test_nobody_waits_for_ever_for_a_process_that_never_came(tmp_path: Path) -> None:
    first = FirstProcess(folder=tmp_path / "run", late_seconds=0.3)
    with pytest.raises(RunError, match=r"^Process 0 ended before it wrote "):
        first.wait_for(tmp_path / "run" / "done")


def test_a_folder_with_a_claim_and_a_plan_alone_goes(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / ".work" / "finetune").mkdir(parents=True)
    for name in ("experiment.toml", "data.json", ".work/finetune/plan.json"):
        (folder / name).touch()
    unclaim_folder(folder)
    assert not folder.exists()


def test_a_folder_with_a_checkpoint_stays(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run" / ".work" / "finetune" / "checkpoints" / "step-00000004"
    checkpoint.mkdir(parents=True)
    (checkpoint / "manifest.json").touch()
    (tmp_path / "run" / "data.json").touch()
    unclaim_folder(tmp_path / "run")
    assert checkpoint.is_dir()


def test_who_has_begun_and_works_no_more_has_ended(tmp_path: Path) -> None:
    first = FirstProcess(folder=tmp_path / "run", begun=True, late_seconds=math.inf)
    with pytest.raises(RunError, match=r"^Process 0 ended before it wrote "):
        first.wait_for(tmp_path / "run" / "done")


def test_the_first_waits_until_the_others_have_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    work = WorkFolder(tmp_path)
    waiting = threading.Thread(target=wait_for_leaving, args=[work])
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()
    leave(work)
    waiting.join(60)
    assert not waiting.is_alive()


def test_the_first_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    wait_for_leaving(WorkFolder(tmp_path / "where nobody comes"), seconds=0.1)


def test_the_types_of_a_run_need_no_page_and_no_statistics() -> None:
    """What reads a run's folder starts fast: the service does it at its start."""
    code = "import sys, pollice.runs.claims; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ended.stdout.split()}
    assert "pollice" in loaded
    assert not {"jinja2", "rich", "scipy", "sklearn", "torch"} & loaded


def test_one_methods_work_is_removed_and_not_the_others(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for name in ("a", "b"):
        run.work(name).path.mkdir(parents=True)
    run.work("a").remove()
    assert run.work("b").path.is_dir()
    run.work("b").remove()
    assert list(tmp_path.iterdir()) == []
