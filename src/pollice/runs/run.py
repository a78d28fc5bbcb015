"""The main flow: data set, split, every method on the same rows, predictions, report.

Knows nothing about any one method, and nothing about the terminal.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pollice.data.reading import ReadOptions, read_dataset
from pollice.data.splits import Split, SplitOptions, sample, split
from pollice.errors import OptionError, did_you_mean
from pollice.judging.judge import judge
from pollice.judging.metrics import check_threshold
from pollice.method import Method, create_method, options_of
from pollice.report import Cost, DataReport, Report, write_report
from pollice.runs import predictors, probes
from pollice.runs.fitting import (
    PLAN,
    WORK,
    Fitting,
    fitted_as,
    fitted_before,
    plan_fitting,
    start_fitting,
)
from pollice.runs.folder import (
    CLAIM,
    FirstProcess,
    check_folder,
    claim_folder,
    fixed,
    leave,
    unclaim_folder,
    wait_for_leaving,
    working_in,
)
from pollice.system import folders
from pollice.system.measuring import measured
from pollice.system.processes import are_several, is_first
from pollice.system.progress import owned_by

logger = logging.getLogger("pollice")

_STRICT = ConfigDict(extra="forbid")
_RESERVED = {*CLAIM, "report.json", "report.html", "report.md"}
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
    digest = hashlib.sha256(json.dumps(fixed(content), sort_keys=True).encode()).hexdigest()[:8]
    stem = Path(experiment.data.source).name.split(".")[0].replace(":", "-") or "data"
    return Path("runs") / f"{stem}-{digest}"


def run_experiment(experiment: Experiment, folder: Path, *, memory: int | None = None) -> Report:
    """Run every method that has not finished yet, judge all, and write the report.

    The same folder can be judged again with another ``abstain_below``, ``canary`` or ``attack``.
    Where torchrun or accelerate launched several processes, all call this: the first one writes
    the folder, the others fit the methods that share their work and return the same report.

    Args:
        experiment: What is compared on what.
        folder: The run's folder.
        memory: The bytes that each method may use; None: what is free, less a margin.

    Raises:
        RunError: the folder holds another experiment, or the data have changed since.
        MemoryPlanError: a method fits in no way that gives the same numbers.
        Interrupted: a signal came; the same call goes on from the last checkpoint.
    """
    content, methods = completed(experiment)
    _check_processes(experiment, methods)
    if not is_first():
        parts, data = prepare(experiment)
        _follow(methods, parts, folder)
        return judge(folder, content, data, parts.test)
    check_folder(folder, content)
    parts, data = prepare(experiment)
    with working_in(folder):
        claim_folder(folder, content, data, parts)
        try:
            _run_methods(methods, parts, folder, memory)
            for name, method in methods.items():
                _probe(experiment, fitted_before(method, folder / name), parts, folder / name)
        except BaseException:
            unclaim_folder(folder, PLAN)
            raise
        report = judge(folder, content, data, parts.test)
        write_report(report, folder)
    return report


def _check_processes(experiment: Experiment, methods: Mapping[str, Method]) -> None:
    joint = next((name for name, method in methods.items() if method.joint), None)
    if experiment.canary and are_several() and joint is not None:
        raise OptionError(
            f"The canary fits {joint} on one process, but several were launched. Run without "
            "canary first, then add it in a single process: finished methods are kept."
        )


def _run_methods(
    methods: Mapping[str, Method], parts: Split, folder: Path, memory: int | None
) -> None:
    """Plan every method that has not finished, before the first of them is loaded; run them."""
    plans: dict[str, Fitting] = {}
    for name, method in methods.items():
        if folders.is_complete(folder / name):
            folders.read_manifest(folder / name)
            logger.info("%s is finished already: its predictions are taken as they are.", name)
        else:
            with owned_by(name):
                plans[name] = plan_fitting(name, method, parts, folder, memory)
    for name, fitting in plans.items():
        with owned_by(name):
            _run_method(name, methods[name], fitting, parts, folder)


def _follow(methods: Mapping[str, Method], parts: Split, folder: Path) -> None:
    """Fit beside the first process what is fitted together, and wait for everything else."""
    first = FirstProcess(folder)
    for name, method in methods.items():
        if method.joint and not folders.is_complete(folder / name):
            workdir = folder / WORK / name
            first.wait_for(workdir / PLAN)
            fitted_as(method, workdir).fit(parts.train, parts.validation, workdir=workdir)
            leave(workdir)
            first.begun = True
        first.wait_for(folder / name / folders.MANIFEST)


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


def _run_method(name: str, asked: Method, fitting: Fitting, parts: Split, folder: Path) -> None:
    """Fit, predict and save one method; its folder appears when all of it is there."""
    workdir = folder / WORK / name
    start_fitting(fitting, workdir)
    with measured() as learning:
        predicted_mib = fitting.predicted_mib()  # what was freed before has just been given back
        predictor = fitting.method.fit(parts.train, parts.validation, workdir=workdir)
    with measured() as predicting:
        predictions = probes.predict_rows(predictor, parts.test)
    cost = Cost(
        fit_seconds=learning.seconds,
        predict_seconds=predicting.seconds,
        predict_rows_per_second=len(predictions) / predicting.seconds,
        peak_memory_mib=max(learning.peak_memory_mib, predicting.peak_memory_mib),
        parameters=predictor.parameters,
        peak_device_memory_mib=learning.highest_on_device(predicting),
        predicted_memory_mib=predicted_mib,
        memory_changes=fitting.changes,
    )
    with folders.new_folder(folder / name) as temporary:
        predictions.write(temporary / "predictions.parquet")
        used = asked.labels_used(parts.train, parts.validation)
        folders.write_json(temporary / "cost.json", {**asdict(cost), "labels_used": used})
        folders.write_json(temporary / "facts.json", dict(predictor.facts))
        log = workdir / "training.jsonl"
        if log.is_file():
            shutil.copy2(log, temporary / "training.jsonl")
        predictors.save_predictor(
            predictor, temporary / "predictor", method=asked.name, options=options_of(asked)
        )
        folders.write_manifest(temporary, {"name": name, "method": asked.name})
    if asked.joint:
        wait_for_leaving(workdir)
    shutil.rmtree(workdir)
    if not any((folder / WORK).iterdir()):
        (folder / WORK).rmdir()


def _probe(experiment: Experiment, method: Method, parts: Split, folder: Path) -> None:
    """Do what is asked for besides the test, as far as it is not done yet."""
    probes.repeat(method, parts, folder)
    if experiment.canary:
        probes.send_canary(method, parts, folder, experiment.seed)
    if experiment.attack:
        probes.attack(parts.test, folder, experiment.seed)
