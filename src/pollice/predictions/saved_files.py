"""The files of a saved predictor, as what they must be: JSON tables, and arrays of finite numbers.

Knows nothing about what any predictor keeps in them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pollice.errors import RunError


def damaged(path: Path, expected: str, found: str) -> RunError:
    """Return the error for a saved file; ``expected`` and ``found`` are clauses of its sentence."""
    return RunError(
        f"Expected {expected} in {path}, but {found}. Copy the predictor again from where it was "
        "saved."
    )


def read_saved_json(path: Path, *names: str) -> dict[str, Any]:
    """Read a table that a predictor saved.

    Args:
        path: The file.
        names: What it must have.

    Raises:
        RunError: the file is missing, is no table of JSON, or lacks one of the names.
    """
    expected = "a table of JSON that pollice saved"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise damaged(path, expected, "there is no such file") from None
    except (ValueError, RecursionError):
        raise damaged(path, expected, "it cannot be read as one") from None
    if not isinstance(content, dict):
        raise damaged(path, expected, f"it holds a {type(content).__name__}")
    for name in names:
        if name not in content:
            raise damaged(path, expected, f"it has no {name}")
    return content


def read_saved_arrays(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """Read arrays that a predictor saved as safetensors.

    Args:
        path: The file.
        names: What it must have.

    Raises:
        RunError: the file is missing, is no safetensors, lacks an array, or has numbers that are
            not finite.
    """
    expected = "arrays that pollice saved as safetensors"
    try:
        arrays = load_file(path)
    except FileNotFoundError:
        raise damaged(path, expected, "there is no such file") from None
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise damaged(path, expected, "it cannot be read as such") from None
    for name in names:
        if name not in arrays:
            raise damaged(path, expected, f"it has no {name}")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise damaged(path, "finite numbers", f"{name} holds NaN or infinity")
    return arrays


def read_label_names(path: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the label names of a saved table.

    Raises:
        RunError: they are no list of different names.
    """
    names = content.get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise damaged(path, "a list of label names", "it has none")
    if not names or len(set(names)) < len(names):
        raise damaged(path, "different label names", f"it has {', '.join(names)[:200]!r}")
    return tuple(names)


def check_length(path: Path, what: str, found: int, expected: int) -> None:
    """Refuse a saved part that does not have one entry for each of something.

    Raises:
        RunError: ``found`` is another number than ``expected``.
    """
    if found != expected:
        raise damaged(path, f"{expected:,} {what}", f"it has {found:,}")
