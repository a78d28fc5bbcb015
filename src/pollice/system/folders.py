"""Files and folders that are whole or not there: written aside, synced, renamed; a manifest last.

Knows nothing about what they hold.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pollice.errors import RunError

MANIFEST = "manifest.json"
"""Written last: a folder without it is not a result."""


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary sibling that replaces ``folder`` when the block ends without an error."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        _publish(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, folder: Path) -> None:
    for path in temporary.rglob("*"):
        if path.is_file():
            _sync(path)
    if folder.exists():
        replaced = folder.with_name(f".{folder.name}.{os.getpid()}.replaced")
        folder.rename(replaced)
        temporary.rename(folder)
        shutil.rmtree(replaced)
    else:
        temporary.rename(folder)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the manifest: ``content``, and the size and sha256 of every file in the folder."""
    files = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    write_json(folder / MANIFEST, {**content, "files": files})


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a folder's manifest and check that every file is there in its full size."""
    path = folder / MANIFEST
    if not path.is_file():
        raise RunError(
            f"Expected a complete folder with a {MANIFEST}, but {folder} has none. "
            "Name a folder that pollice saved, such as runs/NAME/METHOD/predictor."
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files: dict[str, dict[str, Any]] = manifest["files"]
    except (ValueError, TypeError, KeyError):
        raise RunError(
            f"Expected a manifest that pollice wrote, but {path} is damaged or of something else. "
            "Name a folder that pollice saved, such as runs/NAME/METHOD/predictor."
        ) from None
    for name, facts in files.items():
        file = folder / name
        found = file.stat().st_size if file.is_file() else None
        if found != facts["bytes"]:
            raise RunError(
                f"{file} should have {facts['bytes']} bytes by its manifest, but "
                f"{'is missing' if found is None else f'has {found}'}. Save or copy it again."
            )
    return manifest


def is_complete(folder: Path) -> bool:
    """Tell whether a folder has its manifest, that is, was written to its end."""
    return (folder / MANIFEST).is_file()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON to a temporary name and rename it."""
    write_atomically(
        path, lambda temporary: temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    )


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary sibling of ``path``, then rename it to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(temporary)
        _sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
