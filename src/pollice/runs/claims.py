"""Whose folder a run's folder is: it belongs to one experiment, and one command works in it.

Knows nothing about how methods are fitted, and no file names: those are in `pollice.runs.folder`.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pollice.data.dataset import Dataset
from pollice.data.splits import DRAWING, Split
from pollice.errors import RunError
from pollice.judging.results import DataReport
from pollice.predictions.table import Predictions
from pollice.runs.folder import (
    RunFolder,
    WorkFolder,
    read_optional,
    read_toml,
    without_changeable,
    write_experiment,
)
from pollice.system import folders

Update = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def check_folder(folder: Path, content: Mapping[str, Any], update: Update = dict) -> None:
    """Refuse a folder that holds something else, before any work is done.

    Methods may be added to a folder, and those of the folder need not be asked for again: only the
    options of a method that both have must be the same.

    Args:
        folder: The run's folder.
        content: What decides the experiment's numbers, with every default filled in.
        update: Converts what an older version wrote to the form of this version.

    Raises:
        RunError: the folder holds another experiment or something else, or cannot be written.
    """
    begun = RunFolder(folder).experiment
    if begun.is_file():
        there = update(read_toml(begun))
        both = _methods(there).keys() & _methods(content).keys()
        held, wanted = (_flat(_compared(each, both)) for each in (there, content))
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
    # The folder need not exist yet; then its nearest parent decides whether it can be made.
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise RunError(
            f"Expected a folder that can be written for the run, but {place} is "
            f"{'not writable' if place.is_dir() else 'a file'}. Name another with --out."
        )
    folders.probe_file(place / folder.name if place != folder else folder / "experiment.toml")


def _methods(content: Mapping[str, Any]) -> Mapping[str, Any]:
    methods = content.get("methods")
    return methods if isinstance(methods, Mapping) else {}


def _compared(content: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return what must be the same in one folder, of the methods named alone."""
    methods = {name: options for name, options in _methods(content).items() if name in names}
    return {**without_changeable(content), "methods": methods}


def _said(options: Mapping[str, Any], key: str) -> str:
    return repr(options[key]) if key in options else "not set"


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        # TOML gives back a list where an option has a tuple: they must count as equal.
        return {prefix: list(value) if isinstance(value, tuple) else value}
    return {
        key: item
        for name, inner in value.items()
        for key, item in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }


def claim_folder(folder: Path, content: Mapping[str, Any], data: DataReport, parts: Split) -> None:
    """Write the experiment and the data's facts into the folder.

    Raises:
        RunError: the data have changed since the folder was begun.
    """
    facts = {"drawing": DRAWING, **asdict(data), **hash_parts(parts)}
    run = RunFolder(folder)
    if run.data.is_file():
        _check_data(folder, json.loads(run.data.read_text(encoding="utf-8")), facts)
    # Before data.json: a stop between both leaves a folder that the next run knows as its own.
    # With data.json alone, `check_folder` would refuse it as somebody else's.
    write_experiment(run, content)
    folders.write_json(run.data, facts)


def was_drawn_before(run: RunFolder) -> bool:
    """Tell whether an older version drew the folder's rows in another way."""
    held = read_optional(run.data, dict[str, Any])
    # A folder that does not name its drawing counts as the first.
    return held is not None and held.get("drawing", 1) != DRAWING


def rows_judged_in(run: RunFolder, dataset: Dataset, names: Iterable[str]) -> Dataset:
    """Return the rows of a data set on which the folder's methods were judged.

    Raises:
        RunError: the data set lacks them, or has other labels for them.
    """
    held = Predictions.read(run.method(next(iter(names))).predictions)
    row_of = {row_id: row for row, row_id in enumerate(dataset.ids)}
    if row_of.keys() >= set(held.ids):
        rows = dataset.take([row_of[row_id] for row_id in held.ids])
        if rows.labels == held.gold:
            return rows
    raise RunError(
        f"The data have changed since {run.path} was begun: its test rows are not in them, or have "
        "other labels. Name another folder with --out."
    )


def _check_data(folder: Path, held: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Refuse rows that differ from those of the folder; new facts may be added."""
    # Facts that an older version did not write yet are no change. Nor are its sentences, and its
    # count of rows that nobody judged: the hashes tell of every row that is.
    compared = [key for key in facts if key in held and key not in ("notes", "dropped")]
    changed = [key for key in compared if held[key] != facts[key]]
    if held.get("drawing", 1) != DRAWING:
        # Another version may count copies in another way; only other rows spoil a comparison.
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


def hash_parts(parts: Split) -> dict[str, str]:
    """Return a hash of the ids, texts and labels of each part."""
    return {
        f"{name}_sha256": hashlib.sha256(
            # JSON and not a plain join: no separator within a text can make two parts look alike.
            json.dumps([part.ids, part.texts, part.labels]).encode()
        ).hexdigest()
        for name, part in [
            ("train", parts.train),
            ("validation", parts.validation),
            ("test", parts.test),
        ]
    }


def unclaim_folder(folder: Path) -> None:
    """Delete the folder if no method left any result or resume point."""
    if _is_worthless(folder):
        shutil.rmtree(folder)


def _is_worthless(folder: Path) -> bool:
    """Tell whether a folder holds only what every run writes before it has any result."""
    # `work` only lends the names of its files: the work folders themselves lie deeper.
    run, work = RunFolder(folder), WorkFolder(folder)
    worthless = {
        run.experiment.name,
        run.data.name,
        work.plan.name,
        work.shared.name,
        work.sessions.name,
    }
    # At any depth: a single other file, such as a checkpoint, keeps the whole folder.
    return {file.name for file in folder.rglob("*") if file.is_file()} <= worthless


def forget_methods(run: RunFolder, names: Collection[str]) -> None:
    """Take methods that left no file out of the folder's experiment.

    So a method that was added with a wrong option can be added again with the right one.
    """
    if not run.experiment.is_file():
        return
    content = read_toml(run.experiment)
    left = {
        name
        for name in names
        if run.method(name).path.exists() or not _is_worthless(run.work(name).path)
    }
    kept = {
        name: options
        for name, options in content["methods"].items()
        if name not in names or name in left
    }
    if kept and kept.keys() != content["methods"].keys():
        write_experiment(run, {**content, "methods": kept})


def _lock(folder: Path) -> FileLock:
    """Return the folder's lock; it is next to the folder, which holds only results."""
    place = folder.absolute()
    return FileLock(place.with_name(f".{place.name}.lock"))


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder, so that no other command works in it.

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
    """Tell whether a command is working in a folder now."""
    lock = _lock(folder)
    # Acquiring would make the file: a mere look must leave nothing beside the folder.
    if not Path(lock.lock_file).exists():
        return False
    try:
        with lock.acquire(blocking=False):
            return False
    except Timeout:
        return True
