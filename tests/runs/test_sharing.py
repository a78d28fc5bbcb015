"""Several processes on one comparison, two comparisons in one folder, and one interrupted."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import opinion_rows

JOINT = '''
import os
import time
from pathlib import Path

from pydantic.dataclasses import dataclass

from pollice.errors import Interrupted
from pollice.method import OPTIONS, Method
from pollice.methods.baseline import BagOfWords, Baseline
from pollice.system import processes


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Method):
    """All processes meet in it; what else happens is in the environment."""

    predictor_type = BagOfWords
    joint = True

    seed: int = 0
    """Draws nothing."""

    def fit(self, train, validation, *, workdir):
        rank = processes.number()
        (workdir / f"rank{rank}").touch()
        if os.environ.get("INTERRUPT") and not (workdir / f"checkpoint{rank}").exists():
            (workdir / f"checkpoint{rank}").touch()
            raise Interrupted("Stopped: give the same command again.", 15)
        if os.environ.get("FAIL") == str(rank):
            raise RuntimeError("out of luck")
        while not all((workdir / f"rank{n}").exists() for n in range(int(os.environ["MEET"]))):
            time.sleep(0.05)
        (Path("fits") / f"{rank}-{os.getpid()}").touch()
        return Baseline(ngrams=1).fit(train, validation, workdir=workdir)
'''

COMMAND = "from pollice.cli.commands import main; main()"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder with opinions and an installed method of someone else's."""
    with (tmp_path / "data.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *opinion_rows()])
    facts = tmp_path / "site" / "their_joint-1.0.dist-info"
    facts.mkdir(parents=True)
    (tmp_path / "fits").mkdir()
    (tmp_path / "site" / "their_joint.py").write_text(JOINT, encoding="utf-8")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: their-joint\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[pollice.methods]\njoint = their_joint:Theirs\n")
    return tmp_path


def compare(home: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a comparison of a baseline and the joint method."""
    options = ["--data", "data.csv", "--method", "baseline", "--method", "joint", "-o", "run"]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "compare", *options, *arguments],
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(home / "site"), "MEET": "1", **environment},
    )


def pair(home: Path, *arguments: str, **environment: str) -> list[subprocess.Popen[str]]:
    """Start two processes of one comparison, as torchrun does."""
    shared = {"WORLD_SIZE": "2", "MEET": "2", **environment}
    return [compare(home, *arguments, RANK=str(rank), **shared) for rank in range(2)]


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, error = process.communicate(timeout=120)
    return process.returncode, output, error


def test_all_fit_what_is_joint_and_the_first_does_the_rest(home: Path) -> None:
    (first_code, first, _), second = (ended(process) for process in pair(home))
    assert first_code == 0
    assert first.splitlines()[-1] == "Report: run/report.html"
    assert second == (0, "", "")
    assert sorted(path.name[:2] for path in (home / "fits").iterdir()) == ["0-", "1-"]
    report = json.loads((home / "run" / "report.json").read_text(encoding="utf-8"))
    assert list(report["methods"]) == ["baseline", "joint"]
    assert not (home / "run" / ".work").exists()
    assert not list(home.glob(".*"))


def test_the_others_join_a_comparison_that_is_finished(home: Path) -> None:
    assert [ended(process)[0] for process in pair(home)] == [0, 0]
    assert [ended(process)[0] for process in pair(home)] == [0, 0]
    assert len(list((home / "fits").iterdir())) == 2


def test_an_error_of_the_first_alone_ends_the_others_too(home: Path) -> None:
    first, second = (ended(process) for process in pair(home, FAIL="0"))
    assert first[0] == 1
    assert "out of luck" in first[2]
    code, output, error = second
    assert (code, output) == (2, "")
    assert error.startswith("Error in process 1: Process 0 ended before it wrote ")


def test_the_canary_is_asked_for_in_one_process(home: Path) -> None:
    first, _ = (ended(process) for process in pair(home, "--canary"))
    assert first[0] == 2
    assert first[2].splitlines()[-1] == (
        "Error: The canary fits joint on one process, but several were launched. Run without "
        "canary first, then add it in a single process: finished methods are kept."
    )
    assert not (home / "run").exists()


def test_two_comparisons_in_one_folder_are_refused(home: Path) -> None:
    waiting = compare(home, MEET="2")
    while not (home / "run" / ".work" / "joint" / "rank0").exists():
        assert waiting.poll() is None
        time.sleep(0.05)
    code, output, error = ended(compare(home))
    assert (code, output) == (2, "")
    assert error.splitlines()[-1] == (
        "Error: Another command works in run right now. Wait until it has ended, or name another "
        "folder with --out."
    )
    (home / "run" / ".work" / "joint" / "rank1").touch()
    assert ended(waiting)[0] == 0


def test_an_interrupted_comparison_ends_with_the_signal_and_goes_on(home: Path) -> None:
    code, output, error = ended(compare(home, INTERRUPT="1"))
    assert (code, output) == (128 + signal.SIGTERM, "")
    assert error.splitlines()[-1] == "Stopped: give the same command again."
    assert (home / "run" / ".work" / "joint" / "checkpoint0").exists()
    assert ended(compare(home, INTERRUPT="1"))[0] == 0
    assert (home / "run" / "report.json").is_file()
    assert not (home / "run" / ".work").exists()


def test_all_processes_end_with_the_signal_and_the_first_says_so(home: Path) -> None:
    first, second = (ended(process) for process in pair(home, INTERRUPT="1"))
    assert first[0] == 143
    assert first[2].splitlines()[-1] == "Stopped: give the same command again."
    assert second == (143, "", "")
