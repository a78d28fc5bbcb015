"""Predictors as folders: saved completely, with the name of their method.

Knows nothing about models, and nothing about judging.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pollice.errors import RunError
from pollice.methods import find_method, method_names
from pollice.predictions.predictor import Predictor
from pollice.system.folders import new_folder, read_manifest, write_manifest


def save_predictor(
    predictor: Predictor, folder: Path, *, method: str, options: Mapping[str, Any]
) -> None:
    """Save a predictor with the name of its method: all of it or nothing."""
    with new_folder(folder) as temporary:
        predictor.save(temporary)
        write_manifest(
            temporary,
            {"method": method, "options": options, "label_names": list(predictor.label_names)},
        )


def load_predictor(folder: Path) -> Predictor:
    """Load a saved predictor, to judge new texts.

    Raises:
        RunError: the folder is incomplete, holds something else, or its method is not installed.
    """
    manifest = read_manifest(folder)
    if "label_names" not in manifest:
        raise RunError(
            f"Expected a predictor's folder, but {folder} is another folder of pollice. "
            "Name a folder such as runs/NAME/METHOD/predictor."
        )
    method = manifest.get("method")
    if not isinstance(method, str) or method not in method_names():
        raise RunError(
            f"Expected a predictor of a method that is installed, but {folder} was saved by "
            f"{method!r}. Install the package that has it, or name another folder."
        )
    return find_method(method).predictor_type.load(folder)
