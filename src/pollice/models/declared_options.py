"""What a method declares, read from its source: its options and its first line, in milliseconds.

Knows nothing about any one method, and imports none: that takes seconds, as most import torch. So
a wrong option is refused, and the list of methods shown, at once.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_OURS = "pollice."
_ROOT = "Method"  # the class in `pollice.method` from which every method inherits


@dataclass(frozen=True, kw_only=True)
class DeclaredMethod:
    """What the source of a method says."""

    summary: str
    """The first line of its docstring."""
    options: tuple[str, ...]
    """The names of its options, in the order of its dataclass fields."""
    former_options: frozenset[str]
    """The older names of its options, which still work."""
    packages: frozenset[str]
    """The packages of others that its own file imports."""


@cache
def read_declaration(module_name: str) -> DeclaredMethod | None:
    """Read a method's module without importing it; None where there is no source to read."""
    tree = _parse(module_name)
    if tree is None:
        return None
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    (node,) = (node for node in classes if _is_method(_stand_in(module_name, node.name)))
    parents = [*reversed(_stand_in(module_name, node.name).__mro__)]
    options = dict.fromkeys(name for parent in parents for name in vars(parent).get("options", ()))
    former = (name for parent in parents for name in vars(parent).get("former", ()))
    return DeclaredMethod(
        summary=(ast.get_docstring(node) or "").partition("\n")[0],
        options=tuple(options),
        former_options=frozenset(former),
        packages=frozenset(_packages(tree)),
    )


@cache
def _parse(module_name: str) -> ast.Module | None:
    spec = find_spec(module_name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except OSError:  # such as a package within a zip file
        return None


def _is_method(kind: type[Any]) -> bool:
    return any(parent.__name__ == _ROOT for parent in kind.__mro__)


@cache
def _stand_in(module_name: str, name: str) -> type[Any]:
    """Return an empty class with the same parents: Python then orders them as it would ours."""
    tree = _parse(module_name)
    for node in tree.body if tree else ():
        if isinstance(node, ast.ClassDef) and node.name == name:
            named = (base.id for base in node.bases if isinstance(base, ast.Name))
            parents = (_stand_in(module_name, base) for base in named)
            known = tuple(parent for parent in parents if parent is not object)
            fields = [*_fields(node)]
            former = tuple(old for field in fields for old in _former_names(field))
            options = tuple(ast.unparse(field.target) for field in fields)
            return type(name, known, {"options": options, "former": former})
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_OURS):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _stand_in(str(node.module), alias.name)
    return object


def _fields(node: ast.ClassDef) -> Iterator[ast.AnnAssign]:
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and "ClassVar" not in ast.unparse(line.annotation):
            yield line


def _former_names(field: ast.AnnAssign) -> Iterator[str]:
    """Yield the names that `pollice.method.formerly` is given."""
    for node in ast.walk(field):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "formerly":
            yield from (str(ast.literal_eval(name)) for name in node.args)


def _packages(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]
