"""Every code block of README and docs runs as it stands, or at least its commands exist.

A block that begins with a command is of commands alone; any other block without a language shows
output or a listing, and is not run.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollice.cli.commands import app
from pollice.methods import check_declared_options, check_method_name

HOME = Path(__file__).parent.parent
PAGES = [HOME / "README.md", HOME / "CONTRIBUTING.md", *sorted((HOME / "docs").glob("*.md"))]
STARTS = ("pollice ", "make ", "python ", "torchrun ", "accelerate ", "pip ")


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """Yield each page with each of its blocks in a language."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found, block in re.findall(
            r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE
        ):
            if found == language:
                yield page.name, block


def commands() -> Iterator[str]:
    """Yield every command line, without its comment and without the place of the program."""
    for page, block in (*blocks(""), *blocks("bash"), *blocks("sh")):
        lines = [shlex.split(line, comments=True) for line in block.splitlines() if _told(block)]
        for words in lines:
            line = shlex.join(words).replace(".venv/bin/", "")
            assert not line or line.startswith(STARTS), f"{page} has a block of {line!r}"
            if line:
                yield line


def _told(block: str) -> bool:
    return block.removeprefix(".venv/bin/").startswith(STARTS)


COMMANDS = sorted(set(commands()))
OURS = [line for line in COMMANDS if re.search(r"(^|-m )pollice ", line)]
SCRIPTS = [line for line in COMMANDS if line.startswith("python ")]


@pytest.mark.parametrize(("page", "code"), [*blocks("python")])
def test_the_python_code_runs(
    page: str,
    code: str,
    opinions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As it is printed, beside a file reviews.csv."""
    shutil.copy(opinions, tmp_path / "reviews.csv")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, page, "exec"), {})
    printed = capsys.readouterr().out
    if page == "README.md":
        low, high = eval(printed.splitlines()[0])
        assert 0 < low < high <= 1


@pytest.mark.parametrize("line", OURS)
def test_a_command_is_parsed_by_the_command_line_itself(line: str) -> None:
    """Its options exist, with values of their types; its methods and their options exist too."""
    words = [word for word in shlex.split(line) if word != "\N{HORIZONTAL ELLIPSIS}"]
    name, *arguments = words[words.index("pollice") + 1 :]
    given = app.commands[name].make_context(name, arguments).params
    options: dict[str, list[str]] = {}
    for setting in given.get("settings", ()):
        method, _, option = setting.partition("=")[0].partition(".")
        options.setdefault(method, []).append(option)
    named = [*given.get("names", ()), given.get("method"), given.get("name")]
    kinds = {}
    for each in named if name in ("compare", "train", "plan", "methods") else []:
        if each:
            own, _, kind = each.partition("=")
            kinds[own] = kind or own
            check_method_name(kinds[own])
    for own in options:
        check_declared_options(kinds.get(own, own), options[own])


@pytest.mark.parametrize("line", SCRIPTS)
def test_a_script_exists_with_its_options(line: str) -> None:
    _, script, *arguments = shlex.split(line)
    source = (HOME / script).read_text(encoding="utf-8")
    rounds = (HOME / "benchmarks" / "rounds.py").read_text(encoding="utf-8")
    for option in (word for word in arguments if word.startswith("--")):
        assert f'"{option}"' in source + rounds


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("make ")])
def test_a_target_exists(line: str) -> None:
    makefile = (HOME / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{line.split()[1]}:", makefile, re.MULTILINE)


def test_commands_were_found() -> None:
    assert len(OURS) > 20
    assert len(SCRIPTS) > 5


def test_every_command_in_a_sentence_exists() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"`pollice (\w+)", text))
    assert named
    assert named <= set(app.commands)
