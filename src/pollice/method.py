"""Method: the contract of a way to learn, found by the name of its file.

Knows nothing about any one method.
"""

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pollice.data.reading import Dataset
from pollice.errors import OptionError, did_you_mean
from pollice.predictions.table import Predictor

OPTIONS = ConfigDict(extra="forbid", use_attribute_docstrings=True, arbitrary_types_allowed=False)
"""The pydantic configuration of every method's options."""

Work = Literal["count_words", "encode", "pair", "prompt", "train_encoder", "train_causal"]
"""What a method does as far as memory is concerned; `pollice.memory.footprint` has the formulas."""


class Method(ABC):
    """A way to turn labelled texts into a predictor. Its dataclass fields are its options."""

    name: ClassVar[str]
    """The method's file name; set when the method is found."""
    predictor_type: ClassVar[type[Predictor]]
    """What `fit` returns, and what reads a saved predictor."""
    knows_more_than_labels: ClassVar[bool] = False
    """Whether a prediction rests on more than the labels that `fit` is given: such a method
    judges well even where they are wrong, so shuffled labels (the canary) show nothing of it."""
    work: ClassVar[Work | None] = None
    """By what its memory is planned; None: it is not planned."""
    joint: ClassVar[bool] = False
    """Whether `fit` shares its work with the processes that torchrun or accelerate launched; the
    first process fits the others alone."""

    @abstractmethod
    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> Predictor:
        """Learn from ``train``, choose by ``validation``; logs and checkpoints go to ``workdir``.

        The test rows never come here.
        """

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return how many labelled rows `fit` looks at: the price of this method in labels."""
        return len(train) + len(validation)

    def repetitions(self) -> Sequence["Method"]:
        """Return the same method with other draws, whose spread is reported."""
        return ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """One option of a method, for help texts."""

    name: str
    type: str
    default: Any
    description: str
    required: bool = False
    """Whether it has no default and must be given."""


@cache
def method_names() -> tuple[str, ...]:
    """Return the names of all methods: our own files, then the entry points of others."""
    package = import_module("pollice.methods")
    own = sorted(module.name for module in iter_modules(package.__path__))
    return (*own, *sorted(entry_points(group="pollice.methods").names))


@cache
def find_method(name: str) -> type[Method]:
    """Return the method of a name; raise `OptionError` with the nearest name if there is none."""
    if name not in method_names():
        raise OptionError(
            f"There is no method '{name}'.{did_you_mean(name, method_names())} "
            f"The methods are: {', '.join(method_names())}."
        )
    foreign = entry_points(group="pollice.methods", name=name)
    method: type[Method] = (
        next(iter(foreign)).load() if foreign else _own_method(f"pollice.methods.{name}")
    )
    method.name = name
    return method


def _own_method(module_name: str) -> type[Method]:
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        raise OptionError(
            f"Method '{module_name.rpartition('.')[2]}' needs {error.name}, which is not "
            "installed. Install it with: pip install 'pollice[models]'."
        ) from error
    (method,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module_name
    )
    return method


def create_method(name: str, options: Mapping[str, Any]) -> Method:
    """Return a method with its options checked.

    Raises:
        OptionError: an unknown method or option, or a value outside the option's range.
    """
    method = find_method(name)
    known = [option.name for option in method_options(name)]
    for option in options:
        if option not in known:
            raise OptionError(
                f"Method '{name}' has no option '{option}'.{did_you_mean(option, known)} "
                f"Its options are: {', '.join(known)}."
            )
    try:
        return TypeAdapter(method).validate_python(dict(options))
    except ValidationError as error:
        raise OptionError(_explain(name, error)) from None


def _explain(name: str, error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    if problem["type"] == "missing":
        (option,) = problem["loc"]
        meaning = _description(find_method(name), str(option)).removesuffix(".")
        return (
            f"Method '{name}' needs the option {option}, which has no default: {meaning}. "
            f"Give it, for example with --set {name}.{option}=VALUE. See: pollice methods {name}."
        )
    place = ".".join([name, *(str(part) for part in problem["loc"] if part != name)])
    rule = re.sub(r"^(Input|Value) (should|error)", r"its value \2", problem["msg"])
    rule = rule.replace("its value error, ", "")
    return f"Option {place} is {problem['input']!r}, but {rule}. See: pollice methods {name}."


def options_of(method: Method) -> dict[str, Any]:
    """Return every option of a method with its value, as plain JSON types."""
    values: dict[str, Any] = TypeAdapter(type(method)).dump_python(method, mode="json")
    return values


def method_options(name: str) -> tuple[Option, ...]:
    """Return the options of a method, for help texts."""
    fields: Mapping[str, Any] = find_method(name).__pydantic_fields__  # type: ignore[attr-defined]  # pydantic adds it
    return tuple(
        Option(
            name=option,
            type=_type_name(field.annotation),
            default=None if field.is_required() else field.get_default(call_default_factory=True),
            description=_description(find_method(name), option),
            required=field.is_required(),
        )
        for option, field in fields.items()
    )


def _description(method: type[Method], option: str) -> str:
    """Return an option's docstring, which pydantic keeps with the class that declares it only."""
    declared = (vars(owner).get("__pydantic_fields__", {}).get(option) for owner in method.__mro__)
    found = next((field.description for field in declared if field and field.description), "")
    return " ".join(found.split())


def _type_name(annotation: Any) -> str:
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    text = re.sub(r"typing\.|collections\.abc\.", "", text)
    literal = re.fullmatch(r"Literal\[(.*)\]", text)
    return literal.group(1).replace(", ", " | ") if literal else text
