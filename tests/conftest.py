"""What all tests stand on: no network, opinions to learn from, and methods of third parties."""

import csv
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pollice.cli.commands import main
from pollice.methods import find_method, method_names
from pollice.runs.experiment import DataSource, Experiment
from pollice.runs.run import run_experiment

os.environ["HF_HUB_OFFLINE"] = "1"

WORDS = {
    "pos": ["great", "lovely", "superb", "fine", "warm", "clever", "moving", "bright"],
    "neg": ["dull", "awful", "weak", "boring", "cold", "silly", "stale", "grim"],
}
FILLING = [
    "film",
    "story",
    "actor",
    "scene",
    "music",
    "plot",
    "light",
    "camera",
    "city",
    "night",
    "river",
    "road",
    "king",
]

InstallMethod = Callable[[str, str], None]
Invoke = Callable[..., tuple[int, str, str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not Path(os.environ.get("POLLICE_IMDB") or "/nowhere").exists():
        reason = pytest.mark.skip(reason="POLLICE_IMDB names no file of IMDB reviews")
        for item in items:
            if item.get_closest_marker("imdb"):
                item.add_marker(reason)


def opinion_rows(rows: int = 120) -> list[tuple[str, str]]:
    """Return texts of 12 words with their labels; 2 of the words tell, and some mislead."""
    draw = random.Random(7)
    pairs = []
    for row in range(rows):
        label = ("neg", "pos")[row % 2]
        telling = label if draw.random() < 0.9 else ("pos", "neg")[row % 2]
        words = [*draw.choices(FILLING, k=10), *draw.choices(WORDS[telling], k=2)]
        draw.shuffle(words)
        pairs.append((" ".join(words), label))
    return pairs


def imported_after(code: str) -> set[str]:
    """Return the top-level packages that a fresh Python has imported after ``code``."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n' + ' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in ended.stdout.splitlines()[-1].split()}


@pytest.fixture
def opinions(tmp_path: Path) -> Path:
    """Write a CSV of opinions that a baseline learns well, but not wholly."""
    path = tmp_path / "opinions.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *opinion_rows()])
    return path


@pytest.fixture
def install_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InstallMethod]:
    """Install a distribution of someone else's: its class `Theirs` becomes a method."""
    modules: list[str] = []

    def install(name: str, source: str) -> None:
        site = tmp_path / f"site-{name}"
        facts = site / f"their_{name}-1.0.dist-info"
        facts.mkdir(parents=True)
        (site / f"their_{name}.py").write_text(source, encoding="utf-8")
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: their-{name}\nVersion: 1\n")
        (facts / "entry_points.txt").write_text(
            f"[pollice.methods]\n{name} = their_{name}:Theirs\n"
        )
        monkeypatch.syspath_prepend(str(site))
        modules.append(f"their_{name}")
        forget_methods()

    yield install
    for module in modules:
        sys.modules.pop(module, None)
    monkeypatch.undo()
    forget_methods()


def forget_methods() -> None:
    method_names.cache_clear()
    find_method.cache_clear()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder whose data lie beside it; a test that changes it takes a copy."""
    home = tmp_path_factory.mktemp("finished")
    lines = [f"{text},{label}\n" for text, label in opinion_rows()]
    (home / "data.csv").write_text("text,label\n" + "".join(lines))
    run_experiment(
        Experiment(
            data=DataSource(source=str(home / "data.csv")),
            methods={"baseline": {}, "words": {"method": "baseline", "ngrams": 1}},
        ),
        home / "run",
    )
    return home / "run"


@pytest.fixture
def invoke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Invoke:
    """Run `pollice` in an own folder; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pollice", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run
