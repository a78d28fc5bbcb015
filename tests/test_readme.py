"""The README's code runs as it stands, and its commands exist."""

import re
import shutil
from pathlib import Path

import pytest

from pollice.cli.commands import app

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_python_code_runs(
    opinions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    shutil.copy(opinions, tmp_path / "reviews.csv")
    monkeypatch.chdir(tmp_path)
    exec(code, {"workdir": tmp_path})
    low, high = eval(capsys.readouterr().out)
    assert 0 < low < high <= 1


def test_every_command_exists() -> None:
    named = set(re.findall(r"(?:\.venv/bin/|`)pollice (\w+)", README))
    assert named
    assert named <= set(app.commands)
