"""The names that others build on, and how little it costs to look at them."""

import ast
from pathlib import Path

import pytest

import pollice
from conftest import imported_after


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


def test_dir_shows_the_public_names() -> None:
    """Though each is imported only when it is used."""
    code = "import pollice; assert {'compare', 'read_dataset'} <= set(dir(pollice))"
    assert "pydantic" not in imported_after(code)
    assert set(pollice.__all__) <= set(dir(pollice))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'pollice' has no attribute 'predcit'$"):
        pollice.predcit  # noqa: B018  # the access is what is tested


def test_the_package_alone_imports_nothing_heavy() -> None:
    heavy = {"numpy", "pyarrow", "pydantic", "sklearn", "scipy", "torch", "transformers", "rich"}
    assert not heavy & imported_after("import pollice")


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = {"numpy", "pyarrow", "pydantic", "sklearn", "scipy", "torch", "transformers"}
    code = f"from pollice.cli.commands import app\napp.main({arguments}, standalone_mode=False)"
    assert not heavy & imported_after(code)


def test_a_comparison_without_models_imports_no_torch(opinions: Path, tmp_path: Path) -> None:
    code = (
        "import pollice\n"
        f"data = pollice.DataSource(source={str(opinions)!r})\n"
        "experiment = pollice.Experiment(data=data, methods={'baseline': {}})\n"
        "from pathlib import Path\n"
        f"pollice.run_experiment(experiment, Path({str(tmp_path / 'run')!r}))"
    )
    found = imported_after(code)
    assert "numpy" in found
    assert not {"torch", "transformers"} & found


def test_folders_and_files_may_be_named_by_strings(opinions: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "run")
    experiment = pollice.Experiment(
        data=pollice.DataSource(source=str(opinions)), methods={"baseline": {}}
    )
    report = pollice.run_experiment(experiment, place)
    predictor = pollice.load_predictor(f"{place}/baseline/predictor")
    again = str(tmp_path / "again")
    pollice.save_predictor(predictor, again, method="baseline", options={})
    judged = pollice.predict_file(again, str(opinions))
    judged.write(f"{place}/judged.parquet")
    assert pollice.Predictions.read(f"{place}/judged.parquet").ids == judged.ids
    pollice.write_report(report, place)
