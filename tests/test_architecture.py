"""The shape of the source: who may import whom, where the heavy things are, what is never done."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import pollice

ROOT = Path(pollice.__file__).parent
ROWS = (
    {"errors", "progress", "processes", "cost"},
    {"fetching", "folders"},
    {"catalogue", "reading", "cleaning"},
    {"data", "duplicates", "prediction"},
    {"prompts", "method", "splits", "metrics", "comparison", "tables"},
    {"models", "storage", "report"},
    {"methods", "judging", "robustness", "claims", "fitting"},
    {"experiment", "sklearn", "unlabelled"},
    {"listings", "bars", "settings", "arguments", "serve", "scale"},
    {"cli"},
    {"__main__"},
)
HEAVY = {"torch", "transformers", "tokenizers", "accelerate", "gguf", "peft", "trl"}
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
PRINTERS = {"cli", "listings", "report.terminal"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py"
}


def row_of(module: str) -> int:
    (row,) = (number for number, row in enumerate(ROWS) if module.partition(".")[0] in row)
    return row


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file names, wherever in it: a name from a package alone too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    """Return our own modules among a file's imports, each as its longest name."""
    names = {name.removeprefix("pollice.") for name in imports(path) if name.startswith("pollice.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in names}


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_downward_only(module: str) -> None:
    for imported in own_imports(MODULES[module]):
        same_package = imported.partition(".")[0] == module.partition(".")[0]
        if same_package and imported.partition(".")[0] in ("models", "report"):
            continue
        assert row_of(imported) < row_of(module), f"{module} imports {imported}"


def test_every_module_has_its_row() -> None:
    assert {name.partition(".")[0] for name in MODULES} <= set().union(*ROWS)


def test_no_imports_in_a_circle() -> None:
    """Raises CycleError with the modules of the circle."""
    graph = {name: own_imports(path) for name, path in MODULES.items()}
    assert set(TopologicalSorter(graph).static_order()) == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_are_imported_by_models_and_methods_alone(module: str) -> None:
    found = HEAVY & {name.partition(".")[0] for name in imports(MODULES[module])}
    assert module.partition(".")[0] in ("models", "methods", "scale") or not found


@pytest.mark.parametrize("module", sorted(set(MODULES) - PRINTERS))
def test_the_library_does_not_print(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    assert "print" not in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_unpickled(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    assert not UNPICKLERS & {name.partition(".")[0] for name in imports(MODULES[module])}
    for call in (
        "torch.load(",
        "weights_only=False",
        "allow_pickle=True",
        "trust_remote_code=True",
    ):
        assert call not in text
