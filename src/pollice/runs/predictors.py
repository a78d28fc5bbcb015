"""Predictors as folders: saved completely, with the name of their method, and checked when loaded.

Knows nothing about models, and nothing about judging.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from pollice.data.columns import ReadOptions
from pollice.errors import OptionError, PolliceError, RunError
from pollice.methods import find_method, is_own_method, method_names
from pollice.predictions.predictor import Predictor
from pollice.system.folders import MANIFEST, new_folder, read_manifest, write_manifest

_READ = (".bin", ".jinja", ".json", ".model", ".pkl", ".pt", ".py", ".safetensors", ".txt")
"""The names of files that some reader might take for part of a predictor."""
_LONGEST = 60


def save_predictor(
    predictor: Predictor,
    folder: Path,
    *,
    method: str,
    options: Mapping[str, Any],
    reading: ReadOptions | None = None,
) -> None:
    """Save a predictor with the name of its method: all of it or nothing.

    ``reading`` is how its training texts were read, as `Dataset.reading` says.
    """
    with new_folder(folder) as temporary:
        predictor.save(temporary)
        write_manifest(
            temporary,
            {
                "method": method,
                "options": options,
                "label_names": list(predictor.label_names),
                **({} if reading is None else {"reading": _remembered(reading)}),
            },
        )


_REMEMBERED = (
    "text_column",
    "label_column",
    "label_names",
    "merge_labels",
    "rating_bins",
    "several_labels",
    "drop_labels",
    "keep_html",
)
"""What a predictor's new texts and labels must share with those that it learned from."""


def _remembered(reading: ReadOptions) -> dict[str, Any]:
    options = asdict(reading)
    return {name: options[name] for name in _REMEMBERED}


def load_reading(folder: Path) -> ReadOptions | None:
    """Return how the training texts of a saved predictor were read; None where it does not say.

    Raises:
        RunError: the folder is incomplete, or what it says cannot be read.
    """
    said = read_manifest(folder).get("reading")
    if said is None:
        return None
    try:
        known = {name: value for name, value in said.items() if name in _REMEMBERED}
        return TypeAdapter(ReadOptions).validate_python(known)
    except (AttributeError, ValidationError, OptionError) as error:
        raise RunError(
            f"Expected a predictor that says how its texts were read, but the manifest of {folder} "
            "is damaged there. Copy the folder again."
        ) from error


def load_predictor(folder: Path) -> Predictor:
    """Load a saved predictor, to judge new texts; every file must be the one that was saved.

    Raises:
        RunError: the folder is incomplete, changed or holds something else, or its method is not
            installed.
        CheckpointError: its checkpoint or adapter cannot be used.
    """
    manifest = read_manifest(folder)
    if "label_names" not in manifest:
        raise RunError(
            f"Expected a predictor's folder, but {folder} is another folder of pollice. "
            "Name a folder such as runs/NAME/METHOD/predictor."
        )
    _refuse_unnamed_files(folder, manifest)
    method = manifest.get("method")
    if not isinstance(method, str) or method not in method_names():
        raise RunError(
            f"Expected a predictor of a method that is installed, but {folder} was saved by "
            f"{_shown(method)}. Install the package that has it, or name another folder."
        )
    with _explained(folder):
        predictor = find_method(method).predictor_type.load(folder)
        _check_labels(folder, manifest["label_names"], predictor)
        if is_own_method(method):  # asking a foreign one may cost money
            _check_answer(folder, predictor)
    return predictor


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _refuse_unnamed_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse files that were added since: what a reader takes must have been saved."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix in _READ and path.name != MANIFEST and name not in manifest["files"]:
            raise RunError(
                f"Expected the files that were saved in {folder}, but {name[:200]!r} was added "
                "since. Take it away, or copy the predictor again from where it was saved."
            )


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say as a RunError whatever else is raised by a folder whose content makes no sense."""
    try:
        yield
    except PolliceError:
        raise
    # A file can be changed together with its hash: there is no list of what follows from that.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
        raise RunError(
            f"Expected a predictor that can be used in {folder}, but it cannot ({reason}). Copy it "
            "again from where it was saved."
        ) from error


def _check_labels(folder: Path, named: Any, predictor: Predictor) -> None:
    if named != list(predictor.label_names):
        raise RunError(
            f"Expected the labels that {folder / MANIFEST} names ({_shown(named)}), but the "
            f"predictor's own are {_shown(list(predictor.label_names))}. Copy it again from where "
            "it was saved."
        )


def _check_answer(folder: Path, predictor: Predictor) -> None:
    """Ask for one text: what does not fit together, or is no number, is seen before judging."""
    found = predictor.predict_proba(("a",))
    if found.shape != (1, len(predictor.label_names)) or not np.isfinite(found).all():
        raise RunError(
            f"Expected a finite probability for each label, but the predictor in {folder} gives "
            f"{_shown(found.tolist())}. Copy it again from where it was saved."
        )
