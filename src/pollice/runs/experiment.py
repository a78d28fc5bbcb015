"""The experiment: every setting that decides a comparison's numbers.

Knows nothing about how it is run.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pollice.data.reading import ReadOptions
from pollice.data.splits import SIDES, SplitOptions
from pollice.errors import OptionError, PolliceError, broken_rule, did_you_mean
from pollice.judging.metrics import check_threshold
from pollice.method import Method, options_of, options_without_effect
from pollice.methods import create_method, find_method
from pollice.runs.folder import RESERVED_NAMES, without_changeable

_STRICT = ConfigDict(extra="forbid")
_FOLDER_NAME = re.compile(r"[\w-][\w.-]*")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DataSource:
    """Which data, and how many rows."""

    source: str
    """A file, a folder, a catalogue name, or hub:owner/name@revision."""
    test: str | None = None
    """Another source, for the test rows."""
    limit: int | None = Field(default=None, ge=1)
    """Use a stratified sample of this many rows."""
    read: ReadOptions = field(default_factory=ReadOptions)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Experiment:
    """Every setting that decides a comparison's numbers."""

    data: DataSource
    methods: Mapping[str, Mapping[str, Any]]
    """The options of each method by name; ``method`` names the method if it differs. Others that
    the run's folder has already are kept."""
    split: SplitOptions = field(default_factory=SplitOptions)
    seed: int = Field(default=0, ge=0)
    """The seed of the split, and of every method without its own seed."""
    abstain_below: float | None = None
    """Rows whose highest probability is lower count as unanswered, in judging only."""
    canary: bool = False
    """Also fit on shuffled labels every method that learns only from labels."""
    attack: bool = False
    """Inject sentences into correctly judged texts, and count changed answers."""

    def __post_init__(self) -> None:
        check_threshold(self.abstain_below)
        if not self.methods:
            raise OptionError("Expected one method or more, but none is named. Add --method NAME.")
        for name in self.methods:
            if name in RESERVED_NAMES or not _FOLDER_NAME.fullmatch(name):
                raise OptionError(
                    f"A method's name becomes a folder, and {name!r} cannot be one. "
                    "Use letters, digits, - and _."
                )
        # The default cannot be told from the same number written out, so it always passes.
        if self.split.seed not in (SplitOptions.seed, self.seed):
            raise OptionError(
                f"The experiment's seed draws the split: it is {self.seed}, but split.seed is "
                f"{self.split.seed}. Set seed alone."
            )


def read_experiment(content: Mapping[str, Any], place: str) -> Experiment:
    """Check an experiment from TOML or the command line, before you run it.

    Raises:
        OptionError: a field is missing, unknown, or of another type; ``place`` is named.
    """
    try:
        return TypeAdapter(Experiment).validate_python(dict(content))
    except ValidationError as error:
        raise OptionError(_explain_all(error.errors(include_url=False), place)) from None


_TABLES: Mapping[str, type[Any]] = {
    "": Experiment,
    "data": DataSource,
    "data.read": ReadOptions,
    "split": SplitOptions,
}


def _explain_all(problems: Sequence[Mapping[str, Any]], place: str) -> str:
    """Explain unknown names before missing ones: a misspelt name is mostly both."""
    unknown = [each for each in problems if each["type"] == "unexpected_keyword_argument"]
    missing = [each for each in problems if each["type"] == "missing"]
    shown = [*unknown, *missing] if unknown else problems[:1]
    return " ".join(_explain(problem, place) for problem in shown)


def _explain(problem: Mapping[str, Any], place: str) -> str:
    *parents, name = (str(part) for part in problem["loc"])
    where = ".".join([*parents, name])
    if problem["type"] == "missing":
        return f"Expected {where} in {place}, but it is not set."
    if problem["type"] == "unexpected_keyword_argument":
        known = [known.name for known in fields(_TABLES[".".join(parents)])]
        return (
            f"{place} sets {where}, but there is no such field.{did_you_mean(name, known)} "
            f"The fields are: {', '.join(known)}."
        )
    return f"{where} is {problem['input']!r} in {place}, but {broken_rule(problem)}."


def fill_in_defaults(experiment: Experiment) -> tuple[dict[str, Any], dict[str, Method]]:
    """Return the experiment with every default filled in, as plain types, and its methods.

    Raises:
        OptionError: an unknown method or option, or a value outside the option's range.
    """
    methods = {}
    for name, given in experiment.methods.items():
        # The method's own seed comes later, and so wins.
        options = {"seed": experiment.seed, **given}
        kind = str(options.pop("method", name))
        methods[name] = create_method(kind, options)
    content = asdict(experiment)
    # The experiment's seed draws the split: a second one in the file could only contradict it.
    del content["split"]["seed"]
    # Options of reading that came later are left out at their default: a folder keeps its name.
    content["data"]["read"] = {
        name: value
        for name, value in content["data"]["read"].items()
        if value or name == "keep_html"
    }
    content["methods"] = {
        name: {"method": method.name, **options_of(method)} for name, method in methods.items()
    }
    return _without_none(content), methods


def deciding_options(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what decides an experiment's numbers, from an experiment.toml of any version.

    Newer options get their defaults, and options that change no result are left out, as they say
    themselves. Content that cannot be read is returned unchanged.
    """
    filled = update_content(content)
    return content if filled is None else without_free_options(filled)


def update_content(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return an experiment.toml of any version as this version writes it; None: it cannot read it.

    Every default is filled in.
    """
    drawn = content.get("split", {})
    if isinstance(drawn, Mapping) and "balanced" not in drawn:
        # A version that did not know the option wrote this: it drew every count balanced.
        counts = any(f"{side}_rows" in drawn for side in SIDES)
        content = {**content, "split": {**drawn, "balanced": counts}}
    try:
        return fill_in_defaults(read_experiment(content, "experiment.toml"))[0]
    except PolliceError:
        return None


def without_free_options(content: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the options that change no result, as they say themselves: they may differ in a folder.

    ``content`` is an experiment with every default filled in.
    """
    methods = {}
    for name, options in content["methods"].items():
        free = options_without_effect(find_method(options["method"]))
        methods[name] = {key: value for key, value in options.items() if key not in free}
    return {**content, "methods": methods}


def _without_none(value: Any) -> Any:
    """Leave out values that are None: TOML cannot write them."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def default_folder(experiment: Experiment) -> Path:
    """Return runs/NAME: the same experiment gets the same folder, so it resumes."""
    content, _ = fill_in_defaults(experiment)
    if not content["split"]["balanced"]:
        # As it was before there was the option: an experiment keeps the name of its folder.
        del content["split"]["balanced"]
    told = json.dumps(without_changeable(content), sort_keys=True)
    digest = hashlib.sha256(told.encode()).hexdigest()[:8]
    stem = Path(experiment.data.source).name.split(".")[0].replace(":", "-") or "data"
    return Path("runs") / f"{stem}-{digest}"
