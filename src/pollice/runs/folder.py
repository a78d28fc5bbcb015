"""The layout of a run's folder: the only module that knows its file names.

Knows nothing about how methods are fitted, only whether their folders are complete, and nothing
about whose folder it is: that is `pollice.runs.claims`.
"""

import json
import shutil
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import TypeAdapter

from pollice.errors import OptionError
from pollice.judging.results import REPORT_FILES, Attack, Canary, Cost, DataReport, FinishedMethod
from pollice.method import TRAINING_LOG
from pollice.predictions.pieces import Piece
from pollice.predictions.table import Predictions
from pollice.system import folders

T = TypeVar("T")

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
    def explained(self) -> Path:
        """What moved the answers of the most confident mistakes."""
        return self.path / "explained.json"

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


def write_experiment(run: RunFolder, content: Mapping[str, Any]) -> None:
    """Write the experiment, with every default filled in."""
    folders.write_text(run.experiment, tomli_w.dumps(content))


def read_data(run: RunFolder) -> DataReport:
    """Read what the folder says about its data."""
    held = json.loads(run.data.read_text(encoding="utf-8"))
    held["notes"] = tuple(held.get("notes", ()))  # an older version wrote none
    known = [field.name for field in fields(DataReport) if field.name in held]
    return DataReport(**{name: held[name] for name in known})


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
        explained=read_optional(folder.explained, dict[str, tuple[Piece, ...]]) or {},
    )


def read_optional(path: Path, kind: type[T]) -> T | None:
    """Parse a JSON file, or return None if it does not exist."""
    return TypeAdapter(kind).validate_json(path.read_bytes()) if path.is_file() else None
