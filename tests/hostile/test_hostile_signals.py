"""SIGTERM and SIGINT end every command with one sentence, its exit code, and nothing half-written.

No test waits for a clock: a process is sent the signal when a file says how far it is.
"""

import csv
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import sleep

import pytest

from conftest import opinion_rows

SIGNALS = pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"]
)

SLOW = '''
"""A method that stands still where it is told to, and says that it does."""
import os
import time
from pathlib import Path

from pydantic.dataclasses import dataclass

from pollice.method import OPTIONS
from pollice.methods.baseline import BagOfWords, Baseline


def stand_still(place):
    if os.environ.get("STANDS_STILL") == place:
        Path(os.environ["STANDING"]).touch()
        time.sleep(600)


class SlowBag(BagOfWords):
    calls = 0

    def score(self, texts):
        SlowBag.calls += 1
        if SlowBag.calls > 2:
            stand_still("score")
        return super().score(texts)


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Baseline):
    """It is slow."""

    predictor_type = SlowBag

    def fit(self, train, validation, *, workdir):
        stand_still("fit")
        found = super().fit(train, validation, workdir=workdir)
        return SlowBag(found._model, found.label_names)
'''
SLOW_CLICK = """
import os
import time
from pathlib import Path

Path(os.environ["STANDING"]).touch()
time.sleep(600)
"""
SLOW_COPIES = """
import os
import time
from pathlib import Path

from pollice.data import summary

def stand_still(*arguments, **options):
    Path(os.environ["STANDING"]).touch()
    time.sleep(600)

summary.find_duplicates = stand_still
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder with data and, on the module path, a method that stands still."""
    lines = [f"{text},{label}\n" for text, label in opinion_rows(600)]
    (tmp_path / "data.csv").write_text("text,label\n" + "".join(lines))
    site = tmp_path / "site"
    facts = site / "their_slow-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "their_slow.py").write_text(SLOW)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: their-slow\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[pollice.methods]\nslow = their_slow:Theirs\n")
    return tmp_path


Ended = tuple[int, str, str]


def stopped(
    home: Path, number: signal.Signals, arguments: Sequence[str], *, at: str, times: int = 1
) -> Ended:
    """Run a command, send it a signal where it stands still, and return how it ended."""
    standing = home / "standing"
    standing.unlink(missing_ok=True)
    path = os.pathsep.join([str(home / "site"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        arguments,
        cwd=home,
        env={**os.environ, "PYTHONPATH": path, "STANDING": str(standing), "STANDS_STILL": at},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not standing.exists():
        assert process.poll() is None, process.communicate()
        sleep(0.01)
    for _ in range(times):
        process.send_signal(number)
    shown, said = process.communicate()
    standing.unlink()
    return process.returncode, shown, said


def pollice(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pollice", *arguments]


def sentence(number: signal.Signals) -> str:
    return (
        f"{number.name} stopped the command before its end: no file is left half-written, what was "
        "finished is kept, and the same command can be given again."
    )


def partial_files(home: Path) -> list[str]:
    return [str(path) for path in home.rglob("*") if "partial" in path.name]


def assert_ended(ended: Ended, number: signal.Signals, said: str) -> None:
    code, shown, error = ended
    assert code == 128 + number
    assert error.rstrip("\n").splitlines()[-1] == said
    assert "Traceback" not in error
    assert shown == ""


@SIGNALS
def test_while_a_comparison_fits(home: Path, number: signal.Signals) -> None:
    """A method that has finished is kept, and the same command goes on."""
    command = pollice(
        "compare", "--data", "data.csv", "--method", "baseline", "--method", "slow", "-o", "run"
    )
    assert_ended(stopped(home, number, command, at="fit"), number, sentence(number))
    assert (home / "run" / "baseline" / "manifest.json").is_file()
    assert not (home / "run" / "slow").exists()
    assert partial_files(home) == []


@SIGNALS
def test_while_texts_are_judged(home: Path, number: signal.Signals) -> None:
    """The rows that were judged are kept in a file of their own."""
    train = pollice("train", "slow", "--data", "data.csv", "-o", "run", "--test-rows", "40")
    path = os.pathsep.join([str(home / "site"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run(train, cwd=home, env=environment, check=True, capture_output=True)
    command = pollice("predict", "run/slow", "data.csv", "-o", "out.csv")
    said = (
        f"{number.name} stopped the judging; what was finished is kept in out.csv.parts, and the "
        "same command goes on from there."
    )
    assert_ended(stopped(home, number, command, at="score"), number, said)
    (part,) = (home / "out.csv.parts").glob("*.csv")
    with part.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file))) == 256
    assert not (home / "out.csv").exists()
    assert partial_files(home) == []


@SIGNALS
def test_while_data_are_looked_at(home: Path, number: signal.Signals) -> None:
    code = f"{SLOW_COPIES}\nfrom pollice.cli import main\nmain()"
    command = [sys.executable, "-c", code, "data", "data.csv"]
    assert_ended(stopped(home, number, command, at="data"), number, sentence(number))


@SIGNALS
@pytest.mark.parametrize("command", ["--help", "data"])
def test_while_it_is_still_being_imported(home: Path, number: signal.Signals, command: str) -> None:
    (home / "site" / "click").mkdir()
    (home / "site" / "click" / "__init__.py").write_text(SLOW_CLICK)
    ended = stopped(home, number, pollice(command), at="import")
    assert_ended(ended, number, sentence(number))


CALIBRATING = """
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, {tests!r})
from tiny import tiny_causal

tiny_causal(Path("model"), "gemma3")
from pollice.models import calibrating


def stand_still(*arguments, **options):
    Path(os.environ["STANDING"]).touch()
    time.sleep(600)


calibrating.in_chunks = stand_still
from pollice.cli import main

main()
"""


@SIGNALS
def test_while_a_prompt_calibrates(home: Path, number: signal.Signals) -> None:
    code = CALIBRATING.format(tests=str(Path(__file__).parent.parent))
    command = [sys.executable, "-c", code, "label", "data.csv", "--labels", "bad,good"]
    command += ["--model", "model", "-o", "out.csv"]
    assert_ended(stopped(home, number, command, at="label"), number, sentence(number))
    assert not (home / "out.csv").exists()
    assert partial_files(home) == []


def test_a_second_signal_ends_at_once_whatever_is_being_done(home: Path) -> None:
    """The system itself ends the process: work that does not end cannot hold it up."""
    code = (
        "import os, time\nfrom pathlib import Path\nfrom pollice.system import interruption\n"
        "with interruption.raising():\n"
        "    try:\n"
        "        Path(os.environ['STANDING']).touch()\n        time.sleep(600)\n"
        "    except KeyboardInterrupt:\n"
        "        os.kill(os.getpid(), 15)\n        time.sleep(600)\n"
    )
    ended = stopped(home, signal.SIGTERM, [sys.executable, "-c", code], at="")
    assert ended[0] == -signal.SIGTERM
