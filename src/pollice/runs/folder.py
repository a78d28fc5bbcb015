"""A run's folder: whose it is, what may change in it, and that one command at a time works in it.

Knows nothing about methods: their folders are only found complete or not.
"""

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w
from filelock import FileLock, Timeout

from pollice.data.splits import DRAWING, Split
from pollice.errors import OptionError, RunError
from pollice.judging.results import DataReport
from pollice.system import folders

CLAIM = ("experiment.toml", "data.json")
"""What a folder holds before any method has come to something."""
LATER = ("abstain_below", "canary", "attack")
"""What may change between two runs in one folder: no method is fitted or judged otherwise."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file as plain types."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(
            f"Expected an experiment in TOML, but {path} cannot be opened ({error.strerror}). "
            "Check its name."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(
            f"Expected an experiment in TOML, but {path} cannot be read as such ({error}). "
            "To compare on a file of texts, write --data before its name."
        ) from None


def fixed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may not change in a run's folder."""
    return {key: value for key, value in content.items() if key not in LATER}


def fingerprint(parts: Split) -> dict[str, str]:
    """Return a hash of every part's ids, texts and labels."""
    return {
        f"{name}_sha256": hashlib.sha256(
            json.dumps([part.ids, part.texts, part.labels]).encode()
        ).hexdigest()
        for name, part in [
            ("train", parts.train),
            ("validation", parts.validation),
            ("test", parts.test),
        ]
    }


def check_folder(folder: Path, content: Mapping[str, Any]) -> None:
    """Refuse a folder that holds something else, before any work is done."""
    path = folder / "experiment.toml"
    if path.is_file():
        held = _flat(fixed(read_toml(path)))
        wanted = _flat(fixed(content))
        for key in sorted({*held, *wanted}):
            if held.get(key) != wanted.get(key):
                raise RunError(
                    f"{folder} holds another experiment: {key} is {_said(held, key)} there and "
                    f"{_said(wanted, key)} here. Name another folder with --out, or delete it."
                )
    elif folder.is_dir() and any(folder.iterdir()):
        raise RunError(
            f"Expected a new or empty folder for the run, but {folder} holds something else. "
            "Name another with --out."
        )
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise RunError(
            f"Expected a folder that can be written for the run, but {place} is "
            f"{'not writable' if place.is_dir() else 'a file'}. Name another with --out."
        )


def _said(options: Mapping[str, Any], key: str) -> str:
    return repr(options[key]) if key in options else "not set"


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: list(value) if isinstance(value, tuple) else value}
    return {
        key: item
        for name, inner in value.items()
        for key, item in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }


def claim_folder(folder: Path, content: Mapping[str, Any], data: DataReport, parts: Split) -> None:
    """Write what is compared on what into the folder.

    Raises:
        RunError: the data have changed since the folder was begun.
    """
    facts = {"drawing": DRAWING, **asdict(data), **fingerprint(parts)}
    path = folder / "data.json"
    if path.is_file():
        _check_data(folder, json.loads(path.read_text(encoding="utf-8")), facts)
    folders.write_atomically(
        folder / "experiment.toml",
        lambda temporary: temporary.write_text(tomli_w.dumps(content), encoding="utf-8"),
    )
    folders.write_json(path, facts)


def _check_data(folder: Path, held: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Refuse other rows than a folder was begun with; facts that it does not hold yet may come."""
    changed = [key for key in facts if key in held and held[key] != facts[key]]
    if held.get("drawing", 1) != DRAWING:
        if any(key.endswith("_sha256") for key in changed):
            raise RunError(
                f"{folder} was begun by a version of pollice that drew the rows of a split in "
                "another way, so its finished methods cannot be compared with new ones. Name "
                "another folder with --out, or go on in this one with that version."
            )
        return
    if changed:
        raise RunError(
            f"The data have changed since {folder} was begun ({', '.join(changed)}), so its "
            "finished methods cannot be compared with new ones. Name another folder with --out."
        )


def unclaim_folder(folder: Path, *worthless: str) -> None:
    """Leave no folder behind where not one method came to anything, not even a checkpoint.

    ``worthless``: the names of files that are nothing by themselves.
    """
    if {file.name for file in folder.rglob("*") if file.is_file()} <= {*CLAIM, *worthless}:
        shutil.rmtree(folder)


def _lock(folder: Path) -> FileLock:
    """Return the folder's lock, which lies beside it: the folder holds results only."""
    place = folder.absolute()
    return FileLock(place.with_name(f".{place.name}.lock"))


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work in a folder alone.

    Raises:
        RunError: another command works in it.
    """
    lock = _lock(folder)
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=1)  # the other processes of this command look at it for a moment
    except Timeout:
        raise RunError(
            f"Another command works in {folder} right now. Wait until it has ended, or name "
            "another folder with --out."
        ) from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # still locked: nobody takes it over
        lock.release()


def is_worked_in(folder: Path) -> bool:
    """Tell whether a command works in a folder right now."""
    lock = _lock(folder)
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(blocking=False):
            return False
    except Timeout:
        return True
