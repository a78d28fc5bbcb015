"""Predictors as folders: saved completely, with the name of their method, and checked when loaded.

Knows nothing about models and judging, nor how methods are found: whoever loads says that.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pollice.errors import PolliceError, RunError
from pollice.predictions.predictor import Predictor
from pollice.system.folders import MANIFEST, new_folder, read_manifest, write_manifest

_WEIGHTS = (".bin", ".data", ".model", ".onnx", ".pkl", ".pt", ".safetensors")
_READ = (*_WEIGHTS, ".jinja", ".json", ".py", ".txt", ".xml")
"""The names of files that some reader might take for part of a predictor."""
_LONGEST = 60
_FORMAT = 1
"""Of the folder of a predictor; a later version that saves what this one cannot read counts on."""


def save_predictor(
    predictor: Predictor, folder: Path, *, method: str, options: Mapping[str, Any], **more: Any
) -> None:
    """Save a predictor with the name of its method: all of it or nothing.

    ``more`` is put into the manifest as well.
    """
    with new_folder(folder) as temporary:
        predictor.save(temporary)
        write_manifest(
            temporary,
            {
                "format": _FORMAT,
                "method": method,
                "options": options,
                "label_names": list(predictor.label_names),
                **more,
            },
        )


FindType = Callable[[str, Any], "tuple[type[Predictor], bool] | None"]
"""Given a method's name and an exported form, if any, returns the class of such predictors, and
whether the method is one of pollice's own; None: there is no such method or form."""


def load_saved(folder: Path, find_type: FindType) -> Predictor:
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
    saved_format = manifest.get("format", _FORMAT)
    if not isinstance(saved_format, int) or saved_format > _FORMAT:
        raise RunError(
            f"Expected a predictor of format {_FORMAT} or earlier, but {folder} has format "
            f"{_shown(saved_format)}, which a newer pollice saved. Update pollice, or train it "
            "again."
        )
    _refuse_unnamed_files(folder, manifest)
    method = manifest.get("method")
    form = manifest.get("form")
    found = find_type(method, form) if isinstance(method, str) else None
    if found is None:
        saved_by = (
            _shown(method) if form is None else f"{_shown(method)} in the form {_shown(form)}"
        )
        raise RunError(
            f"Expected a predictor of a method that is installed, but {folder} was saved by "
            f"{saved_by}. Install the package that has it, or name another folder."
        )
    with _explained(folder):
        predictor_type, is_own = found
        predictor = predictor_type.load(folder)
        _check_labels(folder, manifest["label_names"], predictor)
        if is_own:  # asking a foreign one may cost money
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
