"""How a method fits into memory: its fit is planned, saved and used again.

Knows nothing about single methods, and nothing about judging.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from pollice.data.splits import Split
from pollice.memory.footprint import MIB, Lengths
from pollice.memory.planner import Candidate, check_plan, plan_memory, settings
from pollice.method import Method
from pollice.runs.folder import MethodFolder, WorkFolder
from pollice.system import folders
from pollice.system.measuring import resident_bytes
from pollice.system.processes import are_several

logger = logging.getLogger("pollice")


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """A method with options that give the same numbers in less memory."""

    method: Method
    changes: Mapping[str, Any] = field(default_factory=dict)
    candidate: Candidate | None = None
    """The planned memory; None: not planned."""
    cuda: bool = False

    def predicted_mib(self) -> float | None:
        """The expected peak: on CPU that of the process, with what it holds now."""
        if self.candidate is None:
            return None
        growth = self.candidate.bytes - self.candidate.parts["libraries"]
        return (growth + (0 if self.cuda else resident_bytes())) / MIB


def lengths_of(parts: Split) -> Lengths:
    """Return the lengths of the training texts, and the longest of all parts."""
    train = Lengths.of(parts.train.texts, len(parts.train.label_names))
    # The 2 is never read: the labels stay those of the training part.
    others = [Lengths.of(part.texts, 2) for part in (parts.validation, parts.test)]
    return replace(
        train,
        rows=max(train.rows, *(other.rows for other in others)),
        longest=max(train.longest, *(other.longest for other in others)),
    )


def plan_fitting(
    name: str, method: Method, parts: Split, work: WorkFolder, memory: int | None
) -> Fitting:
    """Plan a method; start from the changes of an interrupted fit, if any.

    Raises:
        MemoryPlanError: no way that gives the same numbers fits.
    """
    begun = with_saved_changes(method, work)
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
    # `begun` has the saved changes already, and the plan names only what comes on top of them:
    # saving the plan's alone would lose the others at the next resumption.
    changes = {**_saved_changes(work), **taken.changes}
    return Fitting(
        method=_changed(begun, taken.changes),
        changes=changes,
        candidate=taken,
        cuda=plan.budget.cuda,
    )


def start_fitting(fitting: Fitting, work: WorkFolder) -> None:
    """Save how a method is fitted, for resuming and for other processes."""
    # Before fitting, so that a killed fit goes on with the changes that it began with.
    folders.write_json(work.plan, dict(fitting.changes))
    if are_several():
        folders.write_json(work.shared, dict(fitting.changes))


def begin_session(work: WorkFolder) -> float:
    """Record that a session of fitting begins; return the seconds of earlier ones.

    A killed session counts until the last file that it wrote in its work folder.
    """
    seconds = 0.0
    if work.sessions.is_file():
        last = json.loads(work.sessions.read_text(encoding="utf-8"))
        # Never empty: sessions.json is one of the files. The clock may have been set back since,
        # hence no less than 0 below.
        written = max(path.stat().st_mtime for path in work.path.rglob("*") if path.is_file())
        seconds = last["seconds_before"] + max(0.0, written - last["began"])
    folders.write_json(work.sessions, {"seconds_before": seconds, "began": time.time()})
    return seconds


def with_saved_changes(method: Method, work: WorkFolder) -> Method:
    """Apply the memory changes that an interrupted fit saved.

    If there was none, the method is returned unchanged.
    """
    return _changed(method, _saved_changes(work))


def with_shared_changes(method: Method, work: WorkFolder) -> Method:
    """Apply the memory changes that the first process decided in this session."""
    return _changed(method, json.loads(work.shared.read_text(encoding="utf-8")))


def as_finished(method: Method, folder: MethodFolder) -> Method:
    """Return a finished method with the memory changes of its fit, to fit it again."""
    cost = json.loads(folder.cost.read_text(encoding="utf-8"))
    return _changed(method, cost.get("memory_changes", {}))


def _saved_changes(work: WorkFolder) -> dict[str, Any]:
    if not work.plan.is_file():
        return {}
    return cast(dict[str, Any], json.loads(work.plan.read_text(encoding="utf-8")))


def _changed(method: Method, changes: Mapping[str, Any]) -> Method:
    changed: Method = replace(cast(Any, method), **changes)
    return changed
