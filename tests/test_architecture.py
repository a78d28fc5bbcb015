"""The shape of the source: who may import whom, where the heavy things are, what is never done."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import pollice

ROOT = Path(pollice.__file__).parent
CONTRIBUTING = Path(__file__).parent.parent / "CONTRIBUTING.md"
HEAVY = {"torch", "transformers", "tokenizers", "accelerate", "gguf", "peft", "trl"}
UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
PRINTERS = {"cli.commands", "cli.listings", "report.terminal"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
    if path != ROOT / "__init__.py"
}


def rules() -> dict[str, set[str]]:
    """Read the table of CONTRIBUTING: for each room, those that it names as its own."""
    lines = CONTRIBUTING.read_text(encoding="utf-8").splitlines()
    rows = (line.split("|")[1:-1] for line in lines if line.startswith("| `"))
    return {room.strip(" `"): set(re.findall("`(.*?)`", below)) for room, _, below in rows}


RULES = rules()


def room_of(module: str) -> str:
    """Return the longest name of a room that holds a module."""
    path = module.replace(".", "/")
    return max((room for room in RULES if f"{path}/".startswith(f"{room}/")), key=len, default="")


def reachable(room: str) -> set[str]:
    """Return the rooms that a room may import: those it names, and what those may import."""
    return {room}.union(*(reachable(below) for below in RULES[room]))


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


def forbidden(module: str, path: Path) -> list[str]:
    """Return the imports of a module that its room may not have; `pollice` alone is above all."""
    if module == "__main__":
        return []
    allowed = reachable(room_of(module))
    found = own_imports(path) - ({"methods"} if module == "methods" else set())
    same = {name for name in found if room_of(name) == "methods" == room_of(module)}
    return sorted(same | {name for name in found if room_of(name) not in allowed})


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_what_the_table_allows(module: str) -> None:
    assert forbidden(module, MODULES[module]) == []


@pytest.mark.parametrize(
    ("module", "planted", "found"),
    [
        ("models.encoder.reader", "from pollice.models.causal import scoring", "causal.scoring"),
        ("models.batching", "from pollice.judging.metrics import evaluate", "judging.metrics"),
        ("models.training.loop", "import pollice.models.hugging_face.sft", "hugging_face.sft"),
        ("report.html", "from pollice.runs.folder import read_toml", "runs.folder"),
        ("judging.metrics", "from pollice.models import calibration", "models.calibration"),
        ("methods.lora", "from pollice.methods.prompt import Prompt", "methods.prompt"),
        ("data.reading", "def read():\n    from pollice.method import Method", "method"),
        ("errors", "from pollice.system import folders", "system.folders"),
    ],
)
def test_a_planted_import_is_found(tmp_path: Path, module: str, planted: str, found: str) -> None:
    """The rule can fail: in `models/`, in `report/`, and within a function."""
    path = tmp_path / "planted.py"
    path.write_text(f"{MODULES[module].read_text(encoding='utf-8')}\n\n{planted}\n")
    assert [name.endswith(found) for name in forbidden(module, path)] == [True]


def test_every_module_is_in_a_room() -> None:
    assert [name for name in MODULES if not room_of(name) and name != "__main__"] == []


def test_every_room_is_there() -> None:
    assert [room for room in RULES if not {*ROOT.glob(room), *ROOT.glob(f"{room}.py")}] == []


def test_the_top_of_the_package_is_read_at_a_glance() -> None:
    entries = {path.name for path in ROOT.iterdir() if not path.name.startswith("__")}
    assert len(entries - {"py.typed"}) <= 15


def test_no_imports_in_a_circle() -> None:
    """Raises CycleError with the modules of the circle."""
    graph = {name: own_imports(path) for name, path in MODULES.items()}
    assert set(TopologicalSorter(graph).static_order()) == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_are_imported_by_models_and_methods_alone(module: str) -> None:
    found = HEAVY & {name.partition(".")[0] for name in imports(MODULES[module])}
    assert module.partition(".")[0] in ("models", "methods") or not found


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
