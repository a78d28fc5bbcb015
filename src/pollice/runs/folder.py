"""The layout of a run's folder: the only module that knows its file names.

It also checks that a folder belongs to this experiment, and locks it. Knows nothing about how
methods are fitted: their folders are only found complete or not.
"""

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from pollice.data.splits import Split
from pollice.errors import OptionError, RunError
from pollice.judging.results import REPORT_FILES, Attack, Canary, Cost, DataReport, FinishedMethod
from pollice.method import TRAINING_LOG
from pollice.predictions.table import Predictions
from pollice.system import folders

T = TypeVar("T")
Update = Callable[[Mapping[str, Any]], Mapping[str, Any]]

CHANGEABLE = ("abstain_below", "canary", "attack")
"""What may change between two runs in one folder: no method is fitted or judged otherwise."""


@dataclass(frozen=True)
class MethodFolder:
    """Where one method of a run leaves what it has come to; complete once it has its manifest."""

    path: Path

    @property
    def name(self) -> str:
        """The method's name in the run."""
        return self.path.name

    @property
    def predictions(self) -> Path:
        """The predictions table of the test rows."""
        return self.path / "predictions.parquet"

    @property
    def predictor(self) -> Path:
        """The folder of the saved predictor."""
        return self.path / "predictor"

    @property
    def cost(self) -> Path:
        """Seconds, memory and labels."""
        return self.path / "cost.json"

    @property
    def facts(self) -> Path:
        """What fitting decided."""
        return self.path / "facts.json"

    @property
    def log(self) -> Path:
        """The training log, where there was a training step by step."""
        return self.path / TRAINING_LOG

    @property
    def draws(self) -> Path:
        """The folder of the predictions of other draws."""
        return self.path / "draws"

    def draw(self, number: int) -> Path:
        """Return the predictions table of the ``number``-th other draw, from 1."""
        return self.draws / f"{number}.parquet"

    @property
    def canary(self) -> Path:
        """What was reached after shuffled labels."""
        return self.path / "canary.json"

    @property
    def attack(self) -> Path:
        """What injected sentences did."""
        return self.path / "attack.json"

    @property
    def is_complete(self) -> bool:
        """Whether the method has finished: its manifest is there."""
        return folders.is_complete(self.path)


@dataclass(frozen=True)
class WorkFolder:
    """Where a method leaves what its fit may go on from; it is gone when the fit has ended."""

    path: Path

    @property
    def plan(self) -> Path:
        """The options that were changed so that the method fits into memory."""
        return self.path / "plan.json"

    @property
    def sessions(self) -> Path:
        """The seconds of fitting before an interruption."""
        return self.path / "sessions.json"

    @property
    def log(self) -> Path:
        """The training log so far."""
        return self.path / TRAINING_LOG

    def left_by(self, process: int) -> Path:
        """Return the file by which a process says that it needs the folder no more."""
        return self.path / f"left-{process}"

    def remove(self) -> None:
        """Delete this folder, and the folder of all work when no other method's is in it."""
        shutil.rmtree(self.path)
        with suppress(OSError):  # not empty: another method has its work there
            self.path.parent.rmdir()


@dataclass(frozen=True)
class RunFolder:
    """A run's folder: what is compared on what, a folder for each method, and the report."""

    path: Path

    @property
    def experiment(self) -> Path:
        """Every option that decides a number, as TOML."""
        return self.path / "experiment.toml"

    @property
    def data(self) -> Path:
        """What the data held, and the hashes of the parts."""
        return self.path / "data.json"

    def method(self, name: str) -> MethodFolder:
        """Return the folder of a method."""
        return MethodFolder(self.path / name)

    def work(self, name: str) -> WorkFolder:
        """Return the folder in which a method, or something of it, is being fitted."""
        return WorkFolder(self.path / ".work" / name)


RESERVED_NAMES = frozenset({"experiment.toml", "data.json", *REPORT_FILES})
"""What no method of a run may be called: these files lie beside the methods' folders."""


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


def without_changeable(content: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the options that may differ between two runs in one folder.

    No method is fitted differently because of them.
    """
    return {key: value for key, value in content.items() if key not in CHANGEABLE}


def hash_parts(parts: Split) -> dict[str, str]:
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


def check_folder(folder: Path, content: Mapping[str, Any], update: Update = dict) -> None:
    """Refuse a folder that holds something else, before any work is done.

    ``update`` returns what an older version wrote as this version writes it.
    """
    begun = RunFolder(folder).experiment
    if begun.is_file():
        held = _flat(without_changeable(update(read_toml(begun))))
        wanted = _flat(without_changeable(content))
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
    facts = {**asdict(data), **hash_parts(parts)}
    run = RunFolder(folder)
    if run.data.is_file():
        held = json.loads(run.data.read_text(encoding="utf-8"))
        changed = [key for key in facts if held.get(key) != facts[key]]
        if changed:
            raise RunError(
                f"The data have changed since {folder} was begun ({', '.join(changed)}), so its "
                "finished methods cannot be compared with new ones. Name another folder with --out."
            )
    folders.write_text(run.experiment, tomli_w.dumps(content))
    folders.write_json(run.data, facts)


def write_cost(folder: MethodFolder, cost: Cost, *, labels_used: int) -> None:
    """Write what a method took, labels included."""
    folders.write_json(folder.cost, {**asdict(cost), "labels_used": labels_used})


def read_finished(folder: MethodFolder, options: Mapping[str, Any]) -> FinishedMethod:
    """Read all that a method has come to; ``options`` are those of experiment.toml."""
    cost = json.loads(folder.cost.read_text(encoding="utf-8"))
    labels_used = cost.pop("labels_used")
    lines = folder.log.read_text(encoding="utf-8").splitlines() if folder.log.is_file() else []
    return FinishedMethod(
        name=folder.name,
        method=options["method"],
        options={key: value for key, value in options.items() if key != "method"},
        labels_used=labels_used,
        predictions=Predictions.read(folder.predictions),
        cost=Cost(**cost),
        training=tuple(json.loads(line) for line in lines),
        facts=read_optional(folder.facts, dict[str, Any]) or {},
        draws=tuple(Predictions.read(path) for path in sorted(folder.draws.glob("*.parquet"))),
        canary=read_optional(folder.canary, Canary),
        attack=read_optional(folder.attack, Attack),
    )


def read_optional(path: Path, kind: type[T]) -> T | None:
    """Parse a JSON file, or return None if it does not exist."""
    return TypeAdapter(kind).validate_json(path.read_bytes()) if path.is_file() else None


def unclaim_folder(folder: Path) -> None:
    """Delete the folder where not one method came to anything, not even a resume point."""
    run, work = RunFolder(folder), WorkFolder(folder)
    worthless = {run.experiment.name, run.data.name, work.plan.name, work.sessions.name}
    if {file.name for file in folder.rglob("*") if file.is_file()} <= worthless:
        shutil.rmtree(folder)


def _lock(folder: Path) -> FileLock:
    """Return the folder's lock, which lies beside it: the folder holds results only."""
    place = folder.absolute()
    return FileLock(place.with_name(f".{place.name}.lock"))


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
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
