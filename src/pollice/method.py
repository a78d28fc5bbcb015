"""Method: what every method must provide.

Knows nothing about any single method.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ConfigDict, TypeAdapter

from pollice.data.dataset import Dataset
from pollice.errors import OptionError
from pollice.predictions.predictor import Predictor

logger = logging.getLogger("pollice")

OPTIONS = ConfigDict(extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=False)
"""The pydantic configuration of every method's options."""

TRAINING_LOG = "training.jsonl"
"""A file in the ``workdir`` of `Method.fit`, if any: one line per training step and epoch."""

NO_EFFECT: Any = {"affects_results": False}
"""For ``Field(json_schema_extra=NO_EFFECT)``: the option changes no result, except rounding and
the dropout masks that a seed draws. The planner may change it, and training may go on from a
resume point with another value."""

NOT_COMPARED: Any = {"compared_on_resuming": False}
"""For an option that has an effect, but may differ when training goes on: it is used only after
training, or the resume point checks it in another way, as ``checkpoint`` by the weights' hash."""

ENTRY_POINTS = "pollice.methods"
"""Other packages add methods by this group of entry points."""


class Method(ABC):
    """A way to turn labelled texts into a predictor; its dataclass fields are its options."""

    name: ClassVar[str]
    """The method's name: that of its entry point, else of its file."""
    predictor_type: ClassVar[type[Predictor]]
    """The class that `fit` returns and that loads a saved predictor."""
    knows_more_than_labels: ClassVar[bool] = False
    """Whether predictions use more than the labels given to `fit`. Such a method judges well even
    with wrong labels, so the canary (shuffled labels) cannot test it."""
    takes_soft_labels: ClassVar[bool] = False
    """Whether `fit` learns from `Dataset.soft_labels` where there are some."""
    takes_weights: ClassVar[bool] = False
    """Whether `fit` counts every training row by `Dataset.weights`."""
    joint: ClassVar[bool] = False
    """Whether all processes of torchrun or accelerate share the work of `fit`. If not, only the
    first process fits the method."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = _name_of(cls)

    @abstractmethod
    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> Predictor:
        """Learn from ``train``, choose by ``validation``; logs and resume points go to ``workdir``.

        The test rows are never given.
        """

    def check(self, train: Dataset) -> None:  # noqa: B027 -- most methods of others need none
        """Refuse what `fit` would refuse, before a comparison fits any method.

        Also fetch or convert here what `fit` needs, so that the measured time does not include
        it. The default checks nothing.
        """

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return how many labelled rows `fit` uses: what this method costs in labels."""
        return len(train) + len(validation)

    def uses_more_than_labels(self) -> bool:
        """Return whether this method, with its options, is one that ``knows_more_than_labels``."""
        return self.knows_more_than_labels

    def repetitions(self) -> Sequence["Method"]:
        """Return the same method with other random draws, to report how results vary."""
        return ()


def _name_of(method: type[Method]) -> str:
    place = f"{method.__module__}:{method.__qualname__}"
    found = (entry.name for entry in entry_points(group=ENTRY_POINTS) if entry.value == place)
    return next(found, method.__module__.rpartition(".")[2])


def options_of(method: Any) -> dict[str, Any]:
    """Return every option of a method with its value, as plain JSON types."""
    values: dict[str, Any] = TypeAdapter(type(method)).dump_python(method, mode="json")
    return values


def options_without_effect(kind: type[Any]) -> frozenset[str]:
    """Return the names of the options marked with `NO_EFFECT`: those that change no result."""
    return frozenset(
        name for name, mark in _marks(kind).items() if mark.get("affects_results") is False
    )


def options_compared_on_resuming(options: Any) -> dict[str, Any]:
    """Return the options that must be the same when training goes on, as plain JSON types.

    Args:
        options: A method, or the dataclass of its options.
    """
    values = options_of(options)
    marks = _marks(type(options))
    free = options_without_effect(type(options))
    return {
        name: value
        for name, value in values.items()
        if name not in free and marks[name].get("compared_on_resuming", True)
    }


def formerly(*names: str, none: Any = ...) -> dict[str, Any]:
    """Return the mark for an option that had another name in older versions.

    Args:
        names: The older names; they still work.
        none: The older value that meant none, if there was one.
    """
    return {"former_names": list(names)} | ({} if none is ... else {"former_none": none})


def with_current_names(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of any version with the names and values of this version.

    Raises:
        OptionError: an option is given by both its present and an older name.
    """
    marks, names = _marks(kind), former_names(kind)
    current = {}
    for given, value in options.items():
        name = names.get(given, given)
        if name != given and name in options:
            raise OptionError(
                f"Expected one value for {name}, but it is given by its older name {given} too. "
                f"Leave {given} out."
            )
        said_none = marks.get(name, {}).get("former_none", ...) == value
        current[name] = None if said_none else value
    return current


def former_names(kind: type[Any]) -> dict[str, str]:
    """Return the older names of options, each with its present name."""
    return {
        former: name
        for name, mark in _marks(kind).items()
        for former in mark.get("former_names", ())
    }


def say_former_names(kind: type[Any], options: Mapping[str, Any]) -> None:
    """Warn once about each option that is given by an older name."""
    for former, name in former_names(kind).items():
        if former in options:
            say_renamed(f"{kind.name}.{former}", name)


@cache  # one command creates its methods several times
def say_renamed(former: str, name: str) -> None:
    """Warn that an option has a new name; say it only once."""
    logger.warning("Option %s is now called %s. The old name still works.", former, name)


def _marks(kind: type[Any]) -> dict[str, dict[str, Any]]:
    """Return the ``json_schema_extra`` of each option."""
    fields: Mapping[str, Any] = kind.__pydantic_fields__
    return {name: dict(field.json_schema_extra or {}) for name, field in fields.items()}
