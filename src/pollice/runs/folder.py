"""The layout of a run's folder: the only module that knows its file names.

It also checks that a folder belongs to this experiment, and locks it. Knows nothing about how
methods are fitted, only whether their folders are complete.
"""

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from pollice.data.dataset import Dataset
from pollice.data.splits import DRAWING, Split
from pollice.errors import OptionError, RunError
from pollice.judging.results import REPORT_FILES, Attack, Canary, Cost, DataReport, FinishedMethod
from pollice.method import TRAINING_LOG
from pollice.predictions.table import Predictions
from pollice.system import folders

T = TypeVar("T")
Update = Callable[[Mapping[str, Any]], Mapping[str, Any]]

CHANGEABLE = ("abstain_below", "canary", "attack")
"""Options that may change in one folder: no method is fitted differently."""


@dataclass(frozen=True)
class MethodFolder:
    """The folder of one method's results; it is complete when it has its manifest."""

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
        """The training log, if the method trains in steps."""
        return self.path / TRAINING_LOG

    @property
    def draws(self) -> Path:
        """The folder with the predictions of other draws."""
        return self.path / "draws"

    @property
    def draws_done(self) -> int:
        """How many other draws were judged."""
        return len(list(self.draws.glob("*.parquet")))

    def draw(self, number: int) -> Path:
        """Return the predictions table of the ``number``-th other draw, from 1."""
        return self.draws / f"{number}.parquet"

    @property
    def canary(self) -> Path:
        """The result with shuffled labels."""
        return self.path / "canary.json"

    @property
    def attack(self) -> Path:
        """The result of the attack."""
        return self.path / "attack.json"

    @property
    def is_complete(self) -> bool:
        """Whether the method has finished: its manifest is there."""
        return folders.is_complete(self.path)


@dataclass(frozen=True)
class WorkFolder:
    """The folder from which an interrupted fit goes on; deleted when the fit ends."""

    path: Path

    @property
    def plan(self) -> Path:
        """The options changed to fit the method into memory."""
        return self.path / "plan.json"

    @property
    def shared(self) -> Path:
        """The same options, for the other processes of this session."""
        return self.path / "shared.json"

    @property
    def sessions(self) -> Path:
        """The seconds of fitting before interruptions."""
        return self.path / "sessions.json"

    @property
    def log(self) -> Path:
        """The training log so far."""
        return self.path / TRAINING_LOG

    def left_by(self, process: int) -> Path:
        """Return the file that says a process no longer needs the folder."""
        return self.path / f"left-{process}"

    def remove(self) -> None:
        """Delete this folder, and its parent if it holds no other method's work."""
        shutil.rmtree(self.path)
        with suppress(OSError):  # not empty: another method has its work there
            self.path.parent.rmdir()


@dataclass(frozen=True)
class RunFolder:
    """A run's folder: the experiment, a folder for each method, and the report."""

    path: Path

    @property
    def experiment(self) -> Path:
        """Every option that decides a number, as TOML."""
        return self.path / "experiment.toml"

    @property
    def data(self) -> Path:
        """Facts about the data, and the hashes of its parts."""
        return self.path / "data.json"

    def method(self, name: str) -> MethodFolder:
        """Return the folder of a method."""
        return MethodFolder(self.path / name)

    def work(self, name: str) -> WorkFolder:
        """Return the work folder for fitting a method, or a variant of it."""
        return WorkFolder(self.path / ".work" / name)


RESERVED_NAMES = frozenset({"experiment.toml", "data.json", *REPORT_FILES})
"""Names that no method may have: files next to the methods' folders use them."""


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
    """Leave out the options that may differ between two runs in one folder.

    They do not change how a method is fitted.
    """
    return {key: value for key, value in content.items() if key not in CHANGEABLE}


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


def check_folder(folder: Path, content: Mapping[str, Any], update: Update = dict) -> None:
    """Refuse a folder that holds something else, before any work is done.

    ``update`` converts what an older version wrote to the form of this version.
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
    # The folder need not exist yet; then its nearest parent decides whether it can be made.
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise RunError(
            f"Expected a folder that can be written for the run, but {place} is "
            f"{'not writable' if place.is_dir() else 'a file'}. Name another with --out."
        )
    folders.probe_file(place / folder.name if place != folder else folder / "experiment.toml")


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


def write_experiment(run: RunFolder, content: Mapping[str, Any]) -> None:
    """Write the experiment, with every default filled in."""
    folders.write_text(run.experiment, tomli_w.dumps(content))


def was_drawn_before(run: RunFolder) -> bool:
    """Tell whether an older version drew the folder's rows in another way."""
    held = read_optional(run.data, dict[str, Any])
    # A folder that does not name its drawing counts as the first.
    return held is not None and held.get("drawing", 1) != DRAWING


def read_data(run: RunFolder) -> DataReport:
    """Read what the folder says about its data."""
    held = json.loads(run.data.read_text(encoding="utf-8"))
    known = [field.name for field in fields(DataReport) if field.name in held]
    return DataReport(**{name: held[name] for name in known})


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
    # Facts that an older version did not write yet are no change.
    changed = [key for key in facts if key in held and held[key] != facts[key]]
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


def write_cost(folder: MethodFolder, cost: Cost, *, labels_used: int) -> None:
    """Write a method's cost: time, memory and labels."""
    folders.write_json(folder.cost, {**asdict(cost), "labels_used": labels_used})


def read_finished(folder: MethodFolder, options: Mapping[str, Any]) -> FinishedMethod:
    """Read all results of a method; ``options`` are those of experiment.toml."""
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
        # Sorted as text, so 10 comes before 2: no figure depends on the order of the draws.
        draws=tuple(Predictions.read(path) for path in sorted(folder.draws.glob("*.parquet"))),
        canary=read_optional(folder.canary, Canary),
        attack=read_optional(folder.attack, Attack),
    )


def read_optional(path: Path, kind: type[T]) -> T | None:
    """Parse a JSON file, or return None if it does not exist."""
    return TypeAdapter(kind).validate_json(path.read_bytes()) if path.is_file() else None


def unclaim_folder(folder: Path) -> None:
    """Delete the folder if no method left any result or resume point."""
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
    if {file.name for file in folder.rglob("*") if file.is_file()} <= worthless:
        shutil.rmtree(folder)


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
