"""Ways to learn: one file is one method, and its file name is its name. Here they are found.

Knows nothing about any one method: its file is imported when somebody asks for it.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from pydantic import TypeAdapter, ValidationError

import pollice.models  # noqa: F401  # before any method imports torch: it sets how much torch keeps
from pollice.errors import OptionError, broken_rule, did_you_mean
from pollice.method import ENTRY_POINTS, Method, say_former_names, with_current_names
from pollice.models.declared_options import DeclaredMethod, read_declaration
from pollice.models.exported.forms import FORMS, MERGED, check_packages
from pollice.models.registry import Registry
from pollice.predictions.predictor import Predictor
from pollice.predictions.saved_predictors import load_saved

LEXICON_PACKAGE = "vaderSentiment"
"""What the method lexicon needs, beside the core."""


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
    own = sorted(module.name for module in iter_modules(__path__))
    return (*own, *sorted(entry_points(group=ENTRY_POINTS).names))


def is_own_method(name: str) -> bool:
    """Tell whether a method is one of pollice's own."""
    return name in {module.name for module in iter_modules(__path__)}


def check_method_name(name: str) -> None:
    """Refuse a name that no method has; no method is imported.

    Raises:
        OptionError: there is no such method; the nearest name is said.
    """
    if name not in method_names():
        raise OptionError(
            f"There is no method '{name}'.{did_you_mean(name, method_names())} "
            f"The methods are: {', '.join(method_names())}."
        )


def check_declared_options(name: str, options: Iterable[str]) -> None:
    """Refuse an unknown method or option at once: to import a method takes seconds.

    Options of a method of another package are not checked: only its own code knows them.

    Raises:
        OptionError: there is no such method, or it has no such option.
    """
    check_method_name(name)
    if declared := _declared(name):
        current = [option for option in options if option not in declared.former_options]
        _check_option_names(name, current, declared.options)


def method_summary(name: str) -> str:
    """Return a line on what a method does, or on what it lacks where it cannot be loaded."""
    declared = _declared(name)
    # torch is what most of them lack; where it is there, nothing needs to be imported.
    if declared and all(map(find_spec, (*declared.packages, "torch"))):
        return declared.summary
    try:
        return (find_method(name).__doc__ or "").strip().partition("\n")[0]
    except OptionError as error:
        return str(error)


def _declared(name: str) -> DeclaredMethod | None:
    """Return what a method of our own declares; None for one of another package."""
    if name in entry_points(group=ENTRY_POINTS).names:
        return None
    return read_declaration(f"pollice.methods.{name}")


@cache
def find_method(name: str) -> type[Method]:
    """Return the method of a name; raise `OptionError` with the nearest name if there is none."""
    check_method_name(name)
    foreign = entry_points(group=ENTRY_POINTS, name=name)
    method: type[Method] = (
        next(iter(foreign)).load() if foreign else _own_method(f"pollice.methods.{name}")
    )
    return method


def _own_method(module_name: str) -> type[Method]:
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        extra = "lexicon" if error.name == LEXICON_PACKAGE else "models"
        raise OptionError(
            f"Method '{module_name.rpartition('.')[2]}' needs {error.name}, which is not "
            f"installed. Install it with: pip install 'pollice[{extra}]'."
        ) from error
    (method,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module_name
    )
    return method


def load_predictor(folder: Path | str) -> Predictor:
    """Load a saved predictor, to judge new texts; every file must be the one that was saved.

    Raises:
        RunError: the folder is incomplete, changed or holds something else, or its method is not
            installed.
        CheckpointError: its checkpoint or adapter cannot be used.
    """
    return load_saved(Path(folder), _find_predictor_type)


def _find_predictor_type(name: str, form: Any) -> tuple[type[Predictor], bool] | None:
    """Return the class of a saved predictor: that of its method, or that of its exported form."""
    if name not in method_names():
        return None
    if form in (None, MERGED):
        return find_method(name).predictor_type, is_own_method(name)
    if form not in FORMS:
        return None
    check_packages(FORMS[form], ("tokenizers", FORMS[form].runtime))
    # Not above: a predictor of another kind is loaded without what this one needs.
    from pollice.models.exported.classifier import ExportedClassifier

    return ExportedClassifier, is_own_method(name)


def create_method(name: str, options: Mapping[str, Any]) -> Method:
    """Return a method with its options checked.

    Raises:
        OptionError: an unknown method or option, or a value outside the option's range.
    """
    check_declared_options(name, options)
    method = find_method(name)
    say_former_names(method, options)
    options = current_options(name, options)
    _check_option_names(name, options, [option.name for option in method_options(name)])
    try:
        return TypeAdapter(method).validate_python(options)
    except ValidationError as error:
        raise OptionError(_explain(name, error)) from None


def _check_option_names(name: str, options: Iterable[str], known: Sequence[str]) -> None:
    for option in options:
        if option not in known:
            raise OptionError(
                f"Method '{name}' has no option '{option}'.{did_you_mean(option, known)} "
                f"Its options are: {', '.join(known)}."
            )


def current_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as this version writes them: what older versions called otherwise, renamed.

    Nothing is checked or filled in; options that are not known stay as they are.
    """
    return with_current_names(find_method(name), options)


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
    rule = broken_rule(problem)
    return f"Option {place} is {problem['input']!r}, but {rule}. See: pollice methods {name}."


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


REGISTRY = Registry(names=method_names, find=find_method, create=create_method, load=load_predictor)
"""What a method is given to use others: methods never import each other."""
