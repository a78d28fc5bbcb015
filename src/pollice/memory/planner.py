"""The memory planner: the first way to do a method's work that fits a budget, found before loading.

Knows nothing about bytes of tensors, which a method estimates itself, nor about terminals.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, cast

from pydantic import ValidationError

from pollice.errors import MemoryPlanError, OptionError
from pollice.memory.footprint import CUDA_CONTEXT, MIB, PARTS, Lengths, Parts, PlannedMethod, total
from pollice.method import Method, options_without_effect
from pollice.system.measuring import free_bytes, release_memory, resident_bytes

MARGIN = 0.1
"""The share of what is free now that is left alone."""

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?)(?P<binary>I?)B?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many bytes may be used, of which memory, and who says so."""

    bytes: int
    cuda: bool
    given: bool
    """Whether the user named it; else it is what is free now, less `MARGIN`."""

    @property
    def said(self) -> str:
        """The budget in words."""
        where = "GPU memory" if self.cuda else "memory"
        why = "as --memory says" if self.given else f"free now, less {MARGIN:.0%}"
        return f"{gigabytes(self.bytes)} of {where} ({why})"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to do the work: the options that differ from those asked for, and what it takes."""

    step: str
    changes: Mapping[str, Any]
    parts: Parts
    exact: bool
    """Whether it gives the numbers of the options asked for, but for rounding."""

    @property
    def bytes(self) -> int:
        """All parts together."""
        return total(self.parts)


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """The ways that were looked at, in order, and the first that fits."""

    method: str
    budget: Budget
    candidates: tuple[Candidate, ...]
    chosen: Candidate | None

    @property
    def smallest(self) -> Candidate:
        """The way that takes least."""
        return min(self.candidates, key=lambda candidate: candidate.bytes)


@dataclass(frozen=True, kw_only=True)
class _Step:
    """A change to try, where the method has the option and it is not so already."""

    title: str
    option: str
    value: Any
    only_if_unset: bool = False
    """Whether any other value of the option does the same already."""
    cuda_only: bool = False
    unless: str | None = None
    """An option that, where it is set, does the same already."""


_STEPS = (
    _Step(title="recomputation", option="recompute", value=True),
    _Step(title="frozen embeddings", option="freeze_embeddings", value=True, unless="lora_rank"),
    _Step(title="LoRA", option="lora_rank", value=8, only_if_unset=True),
    _Step(title="8-bit optimizer", option="optimizer_bits", value=8),
    _Step(title="4-bit weights", option="weights", value="nf4", cuda_only=True),
    _Step(title="optimizer offloaded", option="paged_optimizer", value=True, cuda_only=True),
)
"""After smaller micro-batches, in this order, each on top of the last."""


def read_size(text: str) -> int:
    """Read ``15GiB``, ``15G`` or ``15000MB`` as bytes.

    Raises:
        OptionError: the text is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or float(match["number"]) == 0:
        raise OptionError(
            f"Expected a size such as 15GiB or 800MiB for --memory, but found {text!r}."
        )
    power, unit = _UNITS[match["unit"].upper()], match["unit"].upper()
    # 15GB is decimal; 15G and 15GiB are both binary.
    decimal = bool(unit) and not match["binary"] and text.strip().upper().endswith("B")
    return round(float(match["number"]) * (1000 ** (power // 10) if decimal else 1 << power))


def gigabytes(amount: int) -> str:
    """Return bytes as ``1.50 GiB`` or ``200 MiB``."""
    return f"{amount / 2**30:.2f} GiB" if amount >= 2**30 else f"{amount / MIB:.0f} MiB"


def plan_memory(
    method: Method, lengths: Lengths, memory: int | None = None, *, exact: bool = True
) -> MemoryPlan | None:
    """Return what a method's work takes, and the first way of doing it that fits.

    Args:
        method: The method with its options.
        lengths: The texts.
        memory: The budget in bytes; None: what is free now, less `MARGIN`.
        exact: Choose only among ways that give the same numbers.

    Returns:
        None for a method that does not say what it takes.
    """
    if not isinstance(method, PlannedMethod):
        return None
    # First: what an earlier method freed must not count as held by this process.
    release_memory()
    held = resident_bytes() - 2 * lengths.characters  # the texts are a part of their own
    work = _Work(method=method, lengths=lengths, held=held)
    cuda = method.estimate_memory(lengths).cuda
    budget = _budget(memory, cuda=cuda)
    # All of them, even if the first fits: the table shows what the others would take.
    candidates = tuple(_candidates(work, cuda=cuda))
    fitting = (
        candidate
        for candidate in candidates
        if candidate.bytes <= budget.bytes and (candidate.exact or not exact)
    )
    return MemoryPlan(
        method=method.name, budget=budget, candidates=candidates, chosen=next(fitting, None)
    )


def _budget(memory: int | None, *, cuda: bool) -> Budget:
    if memory is not None:
        return Budget(bytes=memory, cuda=cuda, given=True)
    if cuda:
        # Imported here: a comparison of methods without a checkpoint needs no torch.
        from pollice.models.pretrained.planned_device import free_gpu_bytes

        # A plan counts CUDA's context as one of its parts, so the budget has room for it.
        free = free_gpu_bytes() + CUDA_CONTEXT
    else:
        free = free_bytes() + resident_bytes()  # a plan counts what the process holds already
    return Budget(bytes=round(free * (1 - MARGIN)), cuda=cuda, given=False)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A method, the texts that it learns from, and the bytes that the process holds already."""

    method: PlannedMethod
    lengths: Lengths
    held: int

    def changed(self, changes: Mapping[str, Any]) -> PlannedMethod:
        """Return the method with other options; `ValidationError` if it refuses them together."""
        method: PlannedMethod = replace(cast(Any, self.method), **changes)
        return method

    def candidate(self, step: str, changes: Mapping[str, Any]) -> Candidate:
        """Return what the work takes with other options."""
        return Candidate(
            step=step,
            changes=changes,
            parts=self.changed(changes).estimate_memory(self.lengths).beside(self.held),
            exact=options_without_effect(type(self.method)).issuperset(changes),
        )

    def smaller_batches(self) -> Iterator[Mapping[str, Any]]:
        """Yield the options of ever smaller micro-batches, down to one text."""
        changes: Mapping[str, Any] = {}
        while half := self.changed(changes).halve_batch(self.lengths):
            changes = {**changes, **half}
            yield changes


def _candidates(work: _Work, *, cuda: bool) -> Iterator[Candidate]:
    """Yield the ways in order: as asked, smaller micro-batches, then every step on top."""
    last = work.candidate("as asked", {})
    yield last
    for changes in work.smaller_batches():
        found = work.candidate("smaller micro-batch", changes)
        # A step that saves nothing is no way of its own; halving goes on from it all the same.
        if found.bytes < last.bytes:
            yield found
            last = found
    for step in _STEPS:
        if not _is_possible(step, work.method, cuda=cuda):
            continue
        try:
            last = work.candidate(step.title, {**last.changes, step.option: step.value})
        except ValidationError:  # such as 4-bit weights with an adapter that is to be merged
            continue
        yield last


def _is_possible(step: _Step, method: PlannedMethod, *, cuda: bool) -> bool:
    if step.cuda_only and not cuda:
        return False
    if step.option not in {field.name for field in fields(cast(Any, method))}:
        return False
    if step.unless is not None and getattr(method, step.unless) is not None:
        return False
    asked = getattr(method, step.option)
    return asked is None if step.only_if_unset else asked != step.value


def check_plan(plan: MemoryPlan, name: str) -> Candidate:
    """Return the chosen way.

    Raises:
        MemoryPlanError: none fits; the sentence says what would, and the table follows.
    """
    if plan.chosen is not None:
        return plan.chosen
    other = next((one for one in plan.candidates if one.bytes <= plan.budget.bytes), None)
    if other is None:
        needed, remedy = f"{gigabytes(plan.smallest.bytes)} at least", _remedy(plan)
    else:
        least = min(one.bytes for one in plan.candidates if one.exact)
        needed = f"{gigabytes(least)} at least to give the numbers of its options"
        remedy = f"With others it fits: {settings(name, other.changes)}."
    raise MemoryPlanError(
        f"{name} needs {needed}, but may use {plan.budget.said}. {remedy}\n\n{table(plan)}"
    )


def _remedy(plan: MemoryPlan) -> str:
    needed = f"--memory {-(-plan.smallest.bytes // MIB)}MiB"
    more = f"Allow it {needed}" if plan.budget.given else "Free some memory"
    return f"{more}, lower max_tokens, or use a smaller checkpoint."


def settings(name: str, changes: Mapping[str, Any]) -> str:
    """Return changed options as the command line takes them."""
    return " ".join(f"--set {name}.{option}={_written(value)}" for option, value in changes.items())


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def table(plan: MemoryPlan) -> str:
    """Return every way with what it takes in all, then the parts of the first and the best."""
    ways = [["way", "options", "MiB", ""]]
    for one in plan.candidates:
        changes = ", ".join(f"{name}={_written(value)}" for name, value in one.changes.items())
        ways.append([one.step, changes, _mebibytes(one.bytes), _verdict(plan, one)])
    first, best = plan.candidates[0], plan.chosen or plan.smallest
    title = "taken" if plan.chosen else "smallest"
    compared = [("as asked", first)] if best is first else [("as asked", first), (title, best)]
    shown = [part for part in PARTS if any(part in one.parts for _, one in compared)]
    detail = [["MiB", *(name for name, _ in compared)]]
    for part in shown:
        detail.append([part, *(_mebibytes(one.parts.get(part, 0)) for _, one in compared)])
    detail.append(["in all", *(_mebibytes(one.bytes) for _, one in compared)])
    return "\n".join([*_lines(ways, "<<><"), "", *_lines(detail, "<" + ">" * len(compared))])


def _mebibytes(amount: int) -> str:
    return f"{-(-amount // MIB):,}"


def _verdict(plan: MemoryPlan, candidate: Candidate) -> str:
    if candidate is plan.chosen:
        return "taken"
    return "fits" if candidate.bytes <= plan.budget.bytes else "too much"


def _lines(rows: Sequence[Sequence[str]], sides: str) -> Iterator[str]:
    """Yield aligned lines; ``sides`` says for each column where its cells stand."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)
        )
        yield "  ".join(cells).rstrip()


def to_json(plan: MemoryPlan) -> dict[str, Any]:
    """Return a plan as plain JSON values."""
    return {
        "method": plan.method,
        "budget": {**asdict(plan.budget)},
        "ways": [
            {**asdict(one), "bytes": one.bytes, "taken": one is plan.chosen}
            for one in plan.candidates
        ],
    }
