"""What is trained on, and what a resume point must share with the run that goes on from it.

Knows nothing about how training is done: our own loop, Trainer and SFTTrainer all read this.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from pollice.errors import RunError
from pollice.method import options_compared_on_resuming, with_current_names
from pollice.models.encoder.reader import Reader
from pollice.models.training.rows import Rows

Options_co = TypeVar("Options_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a resume point must share with the run that goes on from it.

    An option says by itself whether it counts (`pollice.method.NO_EFFECT`, ``NOT_COMPARED``):
    whatever the memory planner may change never stops a resumption.
    """

    options: Any
    """The method, or the dataclass of its options."""
    facts: Mapping[str, Any]
    """The rows, labels and weights, by hashes and names."""

    def with_facts(self, **facts: Any) -> "Identity":
        """Return it with further facts."""
        return replace(self, facts={**self.facts, **facts})

    def values(self) -> dict[str, Any]:
        """Return all of it as a resume point's manifest has it: plain JSON types."""
        content = {**self.facts, **options_compared_on_resuming(self.options)}
        return cast(dict[str, Any], json.loads(json.dumps(content)))

    def check(self, found: Mapping[str, Any], place: Path) -> None:
        """Refuse a resume point of other rows, options or weights.

        Args:
            found: The `values` in the resume point, also of an older version.
            place: The folder that is to be deleted to begin anew.

        Raises:
            RunError: the first field that differs, with both values.
        """
        here, kind = self.values(), type(self.options)
        there = with_current_names(kind, found)
        if "dtype" in here:  # older versions of our own loop let it change, and wrote it nowhere
            there.setdefault("dtype", here["dtype"])
        free = {field.name for field in fields(kind)} - set(here)  # older versions compared more
        for key in {**here, **there}:
            before, now = there.get(key, "not set"), here.get(key, "not set")
            if before != now and key not in free:
                raise RunError(
                    f"The resume point in {place} belongs to another run: {key} is {before!r} "
                    f"there and {now!r} here. Go back to how it was, or delete that folder to "
                    "begin anew."
                )


def classifier_identity(
    options: Any, label_names: tuple[str, ...], train: Rows, validation: Rows
) -> Identity:
    """Return what training a classifier must share with a resume point, but for the weights."""
    return Identity(
        options=options,
        facts={
            "label_names": label_names,
            "training rows": train.sha256()[:16],
            "validation rows": validation.sha256()[:16],
        },
    )


@dataclass(frozen=True, kw_only=True)
class Job(Generic[Options_co]):
    """What is trained on, how, and where its log and resume points lie."""

    options: Options_co
    reader: Reader
    train: Rows
    validation: Rows
    identity: Identity
    """A trainer may add facts of its own, such as the number of processes."""
    workdir: Path
