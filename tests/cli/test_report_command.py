"""The command report, and what --open does: the page comes to the browser that there is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Invoke


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_browser")
def test_where_no_browser_is_the_path_is_printed(invoke: Invoke, finished: Path) -> None:
    code, said, told = invoke("report", str(finished))
    assert code == 0
    assert said == f"Report: {finished / 'report.html'}\n"
    if sys.platform == "linux":
        assert told == "No browser was found: open this page yourself.\n"


@pytest.mark.parametrize("command", ["report", "compare"])
def test_the_page_comes_to_the_browser(finished: Path, tmp_path: Path, command: str) -> None:
    browser, asked = tmp_path / "browser", tmp_path / "asked"
    browser.write_text(f'#!/bin/sh\necho "$1" > {asked}\n')
    browser.chmod(0o755)
    arguments = [str(finished)]
    if command == "compare":
        arguments = [str(finished / "experiment.toml"), "-o", str(finished), "--open"]
    ended = subprocess.run(
        [sys.executable, "-m", "pollice", command, *arguments],
        env={**os.environ, "BROWSER": f"{browser} %s"},
        cwd=finished.parent,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert asked.read_text().strip() == (finished / "report.html").resolve().as_uri()


def test_nothing_is_opened_where_that_is_not_wanted(
    invoke: Invoke, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER", "/nowhere/browser %s")
    code, said, told = invoke("report", str(finished / "report.html"), "--no-open")
    assert (code, said, told) == (0, f"Report: {finished / 'report.html'}\n", "")


def test_a_folder_without_a_report_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    code, _, said = invoke("report", "nothing")
    assert code == 2
    assert (
        "Expected the folder of a finished comparison, but there is no nothing/report.html. Name "
        "a folder such as runs/NAME, or run `pollice compare` again to finish it."
    ) in " ".join(said.split())
