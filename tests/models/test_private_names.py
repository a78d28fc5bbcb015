"""Names of other libraries that they may change without a word: each is still there.

A name goes in here, with the reason, when no public one does the work. Then an update of the
library that renames it fails here, by name, and not somewhere in a fitted model.
"""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import pollice

SOURCES = Path(pollice.__file__).parent / "models"
READ = ("causal", "encoder", "pretrained/devices.py")
"""The rooms and modules whose every private name must stand in the table."""

PRIVATE_NAMES: dict[tuple[str, str], str] = {
    ("torch.ops.mkldnn", "_linear_pointwise"): (
        "causal/onednn: no public operator multiplies float32 by oneDNN"
    ),
    ("torch.cpu", "_is_avx512_bf16_supported"): (
        "pretrained/devices: the public get_capabilities is not in the oldest torch allowed"
    ),
}
"""(module or class, attribute) -> who needs it, and why no public name does."""


@pytest.mark.parametrize(("holder", "name"), PRIVATE_NAMES, ids=".".join)
def test_a_private_name_of_another_library_is_still_there(holder: str, name: str) -> None:
    assert hasattr(find(holder), name), (
        f"{holder} has no {name} any more, which pollice needs: {PRIVATE_NAMES[holder, name]}."
    )


def find(holder: str) -> object:
    """Return the module, or the class in a module, of a dotted name."""
    path = holder.split(".")
    parts: list[str] = []
    while path:
        try:
            found: object = import_module(".".join(path))
        except ModuleNotFoundError:
            parts.insert(0, path.pop())
        else:
            for part in parts:
                found = getattr(found, part)
            return found
    raise AssertionError(f"There is no module {holder}.")


def private_names(source: str) -> Iterator[str]:
    """Yield the private names that a source takes from anything but itself."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield node.attr
        elif isinstance(node, ast.ImportFrom):
            names = [*str(node.module).split("."), *(alias.name for alias in node.names)]
            yield from filter(is_private, names)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


@pytest.mark.parametrize("where", READ)
def test_every_private_name_that_is_used_stands_in_the_table(where: str) -> None:
    place = SOURCES / where
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    assert files
    listed = {name for _, name in PRIVATE_NAMES}
    for file in files:
        unlisted = set(private_names(file.read_text(encoding="utf-8"))) - listed
        assert not unlisted, f"{file} uses {sorted(unlisted)}, which no row explains"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("model._supports_backend", ["_supports_backend"]),
        ("from peft.utils import _helper", ["_helper"]),
        ("from peft._private import helper", ["_private"]),
        ("self._own + cls._own + model.__class__ + model.public", []),
    ],
)
def test_a_private_name_is_found(source: str, found: list[str]) -> None:
    assert list(private_names(source)) == found
