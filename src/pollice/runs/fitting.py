"""How a method is fitted so that it fits into memory: planned, written down, taken up again.

Knows nothing about any one method, and nothing about judging.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from pollice.data.splits import Split
from pollice.memory.footprint import MIB, Lengths
from pollice.memory.planner import Candidate, check_plan, plan_memory, settings
from pollice.method import Method
from pollice.system import folders
from pollice.system.measuring import resident_bytes

logger = logging.getLogger("pollice")

PLAN = "plan.json"
"""In a method's work folder: the options that were changed so that it fits into memory."""
WORK = ".work"
"""In a run's folder: a folder for each method that is being fitted."""


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """A method as it is fitted: with options that give the same numbers in less memory."""

    method: Method
    changes: Mapping[str, Any] = field(default_factory=dict)
    candidate: Candidate | None = None
    """What it takes; None: it was not planned."""
    cuda: bool = False

    def predicted_mib(self) -> float | None:
        """The peak to expect: on CPU that of the process, from what it holds right now."""
        if self.candidate is None:
            return None
        growth = self.candidate.bytes - self.candidate.parts["libraries"]
        return (growth + (0 if self.cuda else resident_bytes())) / MIB


def lengths_of(parts: Split) -> Lengths:
    """Return the lengths of the texts: those of training, and the longest of all parts."""
    train = Lengths.of(parts.train.texts, len(parts.train.label_names))
    others = [Lengths.of(part.texts, 2) for part in (parts.validation, parts.test)]
    return replace(
        train,
        rows=max(train.rows, *(other.rows for other in others)),
        longest=max(train.longest, *(other.longest for other in others)),
    )


def plan_fitting(
    name: str, method: Method, parts: Split, folder: Path, memory: int | None
) -> Fitting:
    """Plan a method; an interrupted one is taken up as it was begun.

    Raises:
        MemoryPlanError: it fits in no way that gives the same numbers.
    """
    begun = fitted_as(method, folder / WORK / name)
    plan = plan_memory(begun, lengths_of(parts), memory)
    if plan is None:
        return Fitting(method=begun)
    taken = check_plan(plan, name)
    if taken.changes:
        logger.info(
            "%s needs %d MiB, but may use %s: %s, which leaves its numbers as they are.",
            name,
            plan.candidates[0].bytes // MIB,
            plan.budget.said,
            settings(name, taken.changes),
        )
    changes = {**_written(folder / WORK / name), **taken.changes}
    return Fitting(
        method=_changed(begun, taken.changes),
        changes=changes,
        candidate=taken,
        cuda=plan.budget.cuda,
    )


def start_fitting(fitting: Fitting, workdir: Path) -> None:
    """Write down how a method is fitted, for an interruption and for other processes."""
    folders.write_json(workdir / PLAN, dict(fitting.changes))


def fitted_as(method: Method, workdir: Path) -> Method:
    """Return the method as it was begun; as it is where it was not."""
    return _changed(method, _written(workdir))


def fitted_before(method: Method, folder: Path) -> Method:
    """Return the method as it was fitted when it was finished, from its folder."""
    cost = json.loads((folder / "cost.json").read_text(encoding="utf-8"))
    return _changed(method, cost.get("memory_changes", {}))


def _written(workdir: Path) -> dict[str, Any]:
    path = workdir / PLAN
    if not path.is_file():
        return {}
    return cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))


def _changed(method: Method, changes: Mapping[str, Any]) -> Method:
    changed: Method = replace(cast(Any, method), **changes)
    return changed
