"""A checkpoint or predictor of somebody else's runs nothing, not even when the terminal says y."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Invoke, opinion_rows
from foreign_code import (
    CHECKPOINTS,
    MARKER,
    with_foreign_architecture,
    with_foreign_tokenizer,
)
from pollice.system.folders import read_manifest, write_manifest

COMMAND = "from pollice.cli.commands import main; main()"
SAVED = Path(__file__).parent.parent / "saved" / "run"
SENTENCE = (
    "Error: The checkpoint {} needs Python code of its own (auto_map), and pollice never runs code "
    "that comes with a checkpoint. Use one whose architecture and tokenizer transformers has "
    "itself."
)


@pytest.fixture
def agreeing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer whatever is asked on the terminal with yes."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 20))


def write_rows(home: Path) -> None:
    lines = [f"{text},{label}\n" for text, label in opinion_rows(40)]
    (home / "data.csv").write_text("text,label\n" + "".join(lines), encoding="utf-8")


def taken_over(home: Path, name: str) -> Path:
    """Return a saved predictor whose checkpoint somebody has changed, and its manifest too."""
    folder = home / "predictor"
    shutil.copytree(SAVED / name / "predictor", folder)
    told = read_manifest(folder)
    with_foreign_tokenizer(folder / "checkpoint")
    write_manifest(folder, {key: value for key, value in told.items() if key != "files"})
    return folder


def rewrite(folder: Path, **entries: Any) -> None:
    """Set entries of a predictor's manifest."""
    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_text(json.dumps({**content, **entries}), encoding="utf-8")


def pollice(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Run pollice as a process of its own, with yes on its standard input."""
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=home,
        input="y\n" * 20,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def refused(answer: tuple[int, str, str], folder: Path | str) -> None:
    code, output, error = answer
    assert (code, output) == (2, "")
    assert error.splitlines()[-1] == SENTENCE.format(folder)
    assert "Traceback" not in error
    assert "[y/N]" not in error


def test_inspect_as_a_process_runs_no_code(tmp_path: Path) -> None:
    folder = with_foreign_architecture(CHECKPOINTS["prompt"](tmp_path / "theirs"))
    refused(pollice(tmp_path, "inspect", str(folder)), folder)
    assert not (tmp_path / MARKER).exists()


def test_predict_as_a_process_runs_no_code(tmp_path: Path) -> None:
    write_rows(tmp_path)
    folder = taken_over(tmp_path, "prompt")
    answer = pollice(tmp_path, "predict", "predictor", "data.csv", "-o", "out.csv")
    refused(answer, "predictor/checkpoint")
    assert not (folder / MARKER).exists()
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.usefixtures("agreeing")
@pytest.mark.parametrize("method", CHECKPOINTS)
def test_compare_runs_no_code(invoke: Invoke, tmp_path: Path, method: str) -> None:
    write_rows(tmp_path)
    folder = with_foreign_architecture(CHECKPOINTS[method](tmp_path / "theirs"))
    options = ["--method", method, "--set", f"{method}.checkpoint={folder}", "-o", "run"]
    refused(invoke("compare", "--data", "data.csv", *options), folder)
    assert not (tmp_path / MARKER).exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("agreeing")
@pytest.mark.parametrize("method", CHECKPOINTS)
def test_predict_runs_no_code(invoke: Invoke, tmp_path: Path, method: str) -> None:
    write_rows(tmp_path)
    folder = taken_over(tmp_path, method)
    refused(
        invoke("predict", "predictor", "data.csv", "-o", "out.csv"), Path("predictor/checkpoint")
    )
    assert not (folder / MARKER).exists()


@pytest.mark.parametrize(
    "method", ["../../theirs", "os", "", "__init__", "baseline.Baseline", ["baseline"], None, 3]
)
def test_a_predictor_of_no_installed_method_is_refused(
    invoke: Invoke, tmp_path: Path, method: Any
) -> None:
    write_rows(tmp_path)
    shutil.copytree(SAVED / "baseline" / "predictor", tmp_path / "predictor")
    rewrite(tmp_path / "predictor", method=method)
    code, output, error = invoke("predict", "predictor", "data.csv", "-o", "out.csv")
    assert (code, output) == (2, "")
    assert error.splitlines()[-1] == (
        "Error: Expected a predictor of a method that is installed, but predictor was saved by "
        f"{method!r}. Install the package that has it, or name another folder."
    )
