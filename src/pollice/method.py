"""Method: the contract of a way to learn, found by the name of its file.

Knows nothing about any one method.
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
"""In the ``workdir`` of `Method.fit`: a line for each training step and each epoch, if any."""

NO_EFFECT: Any = {"affects_results": False}
"""For ``Field(json_schema_extra=NO_EFFECT)``: the option changes no result, but for rounding and
for which dropout masks a seed draws. The planner may change such an option, and training goes on
from a resume point with another value of it."""

NOT_COMPARED: Any = {"compared_on_resuming": False}
"""The same for an option that has an effect, but may differ where training goes on: it is used
after training alone, or something else stands for it in a resume point, as the weights' hash does
for ``checkpoint``."""

ENTRY_POINTS = "pollice.methods"
"""The group of entry points by which other packages add methods."""


class Method(ABC):
    """A way to turn labelled texts into a predictor. Its dataclass fields are its options."""

    name: ClassVar[str]
    """The name of the entry point, or of the file, that the method is found by."""
    predictor_type: ClassVar[type[Predictor]]
    """What `fit` returns, and what reads a saved predictor."""
    knows_more_than_labels: ClassVar[bool] = False
    """Whether a prediction rests on more than the labels that `fit` is given: such a method
    judges well even where they are wrong, so shuffled labels (the canary) show nothing of it."""
    joint: ClassVar[bool] = False
    """Whether `fit` shares its work with the processes that torchrun or accelerate launched; the
    first process fits the others alone."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = _name_of(cls)

    @abstractmethod
    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> Predictor:
        """Learn from ``train``, choose by ``validation``; logs and checkpoints go to ``workdir``.

        The test rows never come here.
        """

    def check(self, train: Dataset) -> None:  # noqa: B027 -- most methods of others need none
        """Refuse what `fit` would refuse, before any method of a comparison is fitted.

        What has to be fetched or converted first is made ready here, so that no measured time
        holds it. By default there is nothing to check.
        """

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return how many labelled rows `fit` looks at: the price of this method in labels."""
        return len(train) + len(validation)

    def repetitions(self) -> Sequence["Method"]:
        """Return the same method with other draws, whose spread is reported."""
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
    """Return the names of the options that change no result: those marked with `NO_EFFECT`."""
    return frozenset(
        name for name, mark in _marks(kind).items() if mark.get("affects_results") is False
    )


def options_compared_on_resuming(options: Any) -> dict[str, Any]:
    """Return the options, as plain JSON types, that must be the same where training goes on.

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
    """Return the mark of an option that older versions gave another name.

    Args:
        names: The names that it had; they still work.
        none: The value that stood for none; without it, there was no such value.
    """
    return {"former_names": list(names)} | ({} if none is ... else {"former_none": none})


def with_current_names(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as this version writes them, from options as any version wrote them.

    Raises:
        OptionError: an option is given by its present and by an older name.
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
    """Return the names that options had in older versions, each with the present one."""
    return {
        former: name
        for name, mark in _marks(kind).items()
        for former in mark.get("former_names", ())
    }


def say_former_names(kind: type[Any], options: Mapping[str, Any]) -> None:
    """Warn, once for each, of options that are given by an older name."""
    for former, name in former_names(kind).items():
        if former in options:
            say_renamed(f"{kind.name}.{former}", name)


@cache  # one command creates its methods several times
def say_renamed(former: str, name: str) -> None:
    """Warn that an option has another name now; a second time, nothing is said."""
    logger.warning("Option %s is now called %s. The old name still works.", former, name)


def _marks(kind: type[Any]) -> dict[str, dict[str, Any]]:
    """Return what ``json_schema_extra`` says of each option."""
    fields: Mapping[str, Any] = kind.__pydantic_fields__
    return {name: dict(field.json_schema_extra or {}) for name, field in fields.items()}
