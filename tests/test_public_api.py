"""The names that others build on, and how little it costs to look at them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pollice


def imported_by(code: str) -> set[str]:
    """Return the top-level packages that a fresh Python has imported after ``code``."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('\\n' + ' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in ended.stdout.splitlines()[-1].split()}


def test_all_is_sorted() -> None:
    assert pollice.__all__ == sorted(pollice.__all__)


@pytest.mark.parametrize("name", pollice.__all__)
def test_every_public_name_exists_and_says_what_it_is(name: str) -> None:
    assert (getattr(pollice, name).__doc__ or "").strip()


def test_type_checkers_see_the_same_names() -> None:
    """The names of the TYPE_CHECKING block come from the modules that they are loaded from."""
    tree = ast.parse(Path(pollice.__file__).read_text(encoding="utf-8"))
    declared = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pollice.")
        for alias in node.names
    }
    assert declared == {name: f"pollice.{home}" for name, home in pollice._HOMES.items()}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'pollice' has no attribute 'predcit'$"):
        pollice.predcit  # noqa: B018  # the access is what is tested


def test_the_package_alone_imports_nothing_heavy() -> None:
    heavy = {"numpy", "pyarrow", "pydantic", "sklearn", "scipy", "torch", "transformers", "rich"}
    assert not heavy & imported_by("import pollice")


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = {"numpy", "pyarrow", "pydantic", "sklearn", "scipy", "torch", "transformers"}
    code = f"from pollice.cli.commands import app\napp.main({arguments}, standalone_mode=False)"
    assert not heavy & imported_by(code)


def test_a_comparison_without_models_imports_no_torch(opinions: Path, tmp_path: Path) -> None:
    code = (
        "import pollice\n"
        f"data = pollice.DataSource(source={str(opinions)!r})\n"
        "experiment = pollice.Experiment(data=data, methods={'baseline': {}})\n"
        "from pathlib import Path\n"
        f"pollice.run_experiment(experiment, Path({str(tmp_path / 'run')!r}))"
    )
    found = imported_by(code)
    assert "numpy" in found
    assert not {"torch", "transformers"} & found
