"""The main flow: data set, split, every method on the same rows, predictions, report.

Knows nothing about any one method, and nothing about the terminal.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pollice import folders, robustness, storage
from pollice.cost import measured
from pollice.data import ReadOptions, read_dataset
from pollice.errors import OptionError, RunError, did_you_mean
from pollice.judging import judge
from pollice.method import Method, create_method, options_of
from pollice.metrics import check_threshold
from pollice.progress import owned_by
from pollice.report import Cost, DataReport, Report, write_report
from pollice.splits import Split, SplitOptions, sample, split

logger = logging.getLogger("pollice")

_STRICT = ConfigDict(extra="forbid")
_CLAIM = {"experiment.toml", "data.json"}
_LATER = {"abstain_below", "canary", "attack"}
"""What may change between two runs in one folder: no method is fitted or judged otherwise."""
_RESERVED = {*_CLAIM, "report.json", "report.html", "report.md"}
_FOLDER_NAME = re.compile(r"[\w-][\w.-]*")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class DataSource:
    """Which opinions, and how many of them."""

    source: str
    """A file, a folder, a catalogue name, or hub:owner/name@revision."""
    test: str | None = None
    """A source of its own for the test rows."""
    limit: int | None = Field(default=None, ge=1)
    """Take a stratified sample of this many rows."""
    read: ReadOptions = field(default_factory=ReadOptions)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Experiment:
    """Everything that decides a comparison's numbers."""

    data: DataSource
    methods: Mapping[str, Mapping[str, Any]]
    """For each name the method's options; ``method`` names the method where it is another."""
    split: SplitOptions = field(default_factory=SplitOptions)
    seed: int = Field(default=0, ge=0)
    """The seed of the split, and of every method that sets none of its own."""
    abstain_below: float | None = None
    """Rows whose highest probability is below this count as unanswered: judged, not stored."""
    canary: bool = False
    """Fit every method that learns from labels only on shuffled labels too."""
    attack: bool = False
    """Put injected sentences into texts that were judged rightly, and count what flips."""

    def __post_init__(self) -> None:
        check_threshold(self.abstain_below)
        if not self.methods:
            raise OptionError("Expected one method or more, but none is named. Add --method NAME.")
        for name in self.methods:
            if name in _RESERVED or not _FOLDER_NAME.fullmatch(name):
                raise OptionError(
                    f"A method's name becomes a folder, and {name!r} cannot be one. "
                    "Use letters, digits, - and _."
                )
        if self.split.seed not in (SplitOptions.seed, self.seed):
            raise OptionError(
                f"The experiment's seed draws the split: it is {self.seed}, but split.seed is "
                f"{self.split.seed}. Set seed alone."
            )


def read_experiment(content: Mapping[str, Any], place: str) -> Experiment:
    """Check an experiment that came as TOML or from the command line.

    Raises:
        OptionError: a field is missing, unknown, or of another type; ``place`` is named.
    """
    try:
        return TypeAdapter(Experiment).validate_python(dict(content))
    except ValidationError as error:
        raise OptionError(_explain(error.errors(include_url=False)[0], place)) from None


_TABLES: Mapping[str, type[Any]] = {
    "": Experiment,
    "data": DataSource,
    "data.read": ReadOptions,
    "split": SplitOptions,
}


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
    rule = problem["msg"].replace("Input should", "it should").replace("dictionary", "table")
    return f"{where} is {problem['input']!r} in {place}, but {rule}."


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


def completed(experiment: Experiment) -> tuple[dict[str, Any], dict[str, Method]]:
    """Return the experiment with every default filled in, as plain types, and its methods.

    Raises:
        OptionError: an unknown method or option, or a value outside the option's range.
    """
    methods = {}
    for name, given in experiment.methods.items():
        options = {"seed": experiment.seed, **given}
        kind = str(options.pop("method", name))
        methods[name] = create_method(kind, options)
    content = asdict(experiment)
    del content["split"]["seed"]
    content["methods"] = {
        name: {"method": method.name, **options_of(method)} for name, method in methods.items()
    }
    return _without_none(content), methods


def _without_none(value: Any) -> Any:
    """Leave out what is None, since TOML has no word for it."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return value


def default_folder(experiment: Experiment) -> Path:
    """Return runs/NAME: the same experiment gets the same folder, and so resumes."""
    content, _ = completed(experiment)
    digest = hashlib.sha256(json.dumps(_fixed(content), sort_keys=True).encode()).hexdigest()[:8]
    stem = Path(experiment.data.source).name.split(".")[0].replace(":", "-") or "data"
    return Path("runs") / f"{stem}-{digest}"


def _fixed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may not change in a run's folder."""
    return {key: value for key, value in content.items() if key not in _LATER}


def run_experiment(experiment: Experiment, folder: Path) -> Report:
    """Run every method that has not finished yet, judge all, and write the report.

    The same folder can be judged again with another ``abstain_below``, ``canary`` or ``attack``.

    Raises:
        RunError: the folder holds another experiment, or the data have changed since.
    """
    content, methods = completed(experiment)
    _check_folder(folder, content)
    parts, data = prepare(experiment)
    _claim_folder(folder, content, data, _fingerprint(parts))
    try:
        for name, method in methods.items():
            if folders.is_complete(folder / name):
                folders.read_manifest(folder / name)
                logger.info("%s is finished already: its predictions are taken as they are.", name)
            else:
                with owned_by(name):
                    _run_method(name, method, parts, folder)
        for name, method in methods.items():
            _probe(experiment, method, parts, folder / name)
    except BaseException:
        _unclaim_folder(folder)
        raise
    report = judge(folder, content, data, parts.test)
    write_report(report, folder)
    return report


def prepare(experiment: Experiment) -> tuple[Split, DataReport]:
    """Read and split the data; the report's facts about them come along."""
    options = experiment.data
    dataset = read_dataset(options.source, options.read)
    test = read_dataset(options.test, options.read) if options.test else None
    if options.limit is not None:
        dataset = sample(dataset, options.limit, experiment.seed)
    parts = split(dataset, replace(experiment.split, seed=experiment.seed), test=test)
    if not len(parts.test):
        raise OptionError(
            "Expected test rows to judge on, but split.test is 0 and the source gives none. "
            "Raise split.test, or name a source of test rows."
        )
    counted = [dataset, *([test] if test else [])]
    report = DataReport(
        source=options.source,
        rows=sum(len(part) for part in counted),
        labels={
            label: sum(part.labels.count(label) for part in counted)
            for label in dataset.label_names
        },
        train_rows=len(parts.train),
        validation_rows=len(parts.validation),
        test_rows=len(parts.test),
        test_ids_sha256=parts.test_ids_sha256,
        exact_duplicates=parts.exact_duplicates,
        near_duplicates=parts.near_duplicates,
        leaked_rows_removed=parts.leaked_rows_removed,
        dropped=dataset.dropped,
    )
    return parts, report


def _fingerprint(parts: Split) -> dict[str, str]:
    """Return a hash of every part's ids, texts and labels."""
    return {
        f"{name}_sha256": hashlib.sha256(
            json.dumps([part.ids, part.texts, part.labels]).encode()
        ).hexdigest()
        for name, part in [
            ("train", parts.train),
            ("validation", parts.validation),
            ("test", parts.test),
        ]
    }


def _check_folder(folder: Path, content: Mapping[str, Any]) -> None:
    """Refuse a folder that holds something else, before any work is done."""
    path = folder / "experiment.toml"
    if path.is_file():
        held = _flat(_fixed(read_toml(path)))
        wanted = _flat(_fixed(content))
        for key in sorted({*held, *wanted}):
            if held.get(key) != wanted.get(key):
                raise RunError(
                    f"{folder} holds another experiment: {key} is {_said(held, key)} there and "
                    f"{_said(wanted, key)} here. Name another folder with --out, or delete it."
                )
    elif folder.is_dir() and any(folder.iterdir()):
        raise RunError(
            f"Expected a new or empty folder for the run, but {folder} holds something else. "
            "Name another with --out."
        )
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise RunError(
            f"Expected a folder that can be written for the run, but {place} is "
            f"{'not writable' if place.is_dir() else 'a file'}. Name another with --out."
        )


def _said(options: Mapping[str, Any], key: str) -> str:
    return repr(options[key]) if key in options else "not set"


def _claim_folder(
    folder: Path, content: Mapping[str, Any], data: DataReport, fingerprint: Mapping[str, str]
) -> None:
    facts = {**asdict(data), **fingerprint}
    path = folder / "data.json"
    if path.is_file():
        held = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in facts if held.get(key) != facts[key]]
        if changed:
            raise RunError(
                f"The data have changed since {folder} was begun ({', '.join(changed)}), so its "
                "finished methods cannot be compared with new ones. Name another folder with --out."
            )
    folders.write_atomically(
        folder / "experiment.toml",
        lambda temporary: temporary.write_text(tomli_w.dumps(content), encoding="utf-8"),
    )
    folders.write_json(path, facts)


def _unclaim_folder(folder: Path) -> None:
    """Leave no folder behind where not one method came to anything."""
    if {file.name for file in folder.rglob("*") if file.is_file()} <= _CLAIM:
        shutil.rmtree(folder)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: list(value) if isinstance(value, tuple) else value}
    return {
        key: item
        for name, inner in value.items()
        for key, item in _flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }


def _run_method(name: str, method: Method, parts: Split, folder: Path) -> None:
    """Fit, predict and save one method; its folder appears when all of it is there."""
    workdir = folder / ".work" / name
    workdir.mkdir(parents=True, exist_ok=True)
    with measured() as fitting:
        predictor = method.fit(parts.train, parts.validation, workdir=workdir)
    with measured() as predicting:
        predictions = robustness.predict_rows(predictor, parts.test)
    cost = Cost(
        fit_seconds=fitting.seconds,
        predict_seconds=predicting.seconds,
        predict_rows_per_second=len(predictions) / predicting.seconds,
        peak_memory_mib=max(fitting.peak_memory_mib, predicting.peak_memory_mib),
        parameters=predictor.parameters,
    )
    with folders.new_folder(folder / name) as temporary:
        predictions.write(temporary / "predictions.parquet")
        used = method.labels_used(parts.train, parts.validation)
        folders.write_json(temporary / "cost.json", {**asdict(cost), "labels_used": used})
        folders.write_json(temporary / "facts.json", dict(predictor.facts))
        log = workdir / "training.jsonl"
        if log.is_file():
            shutil.copy2(log, temporary / "training.jsonl")
        storage.save_predictor(
            predictor, temporary / "predictor", method=method.name, options=options_of(method)
        )
        folders.write_manifest(temporary, {"name": name, "method": method.name})
    shutil.rmtree(folder / ".work")


def _probe(experiment: Experiment, method: Method, parts: Split, folder: Path) -> None:
    """Do what is asked for besides the test, as far as it is not done yet."""
    robustness.repeat(method, parts, folder)
    if experiment.canary:
        robustness.send_canary(method, parts, folder, experiment.seed)
    if experiment.attack:
        robustness.attack(parts.test, folder, experiment.seed)
