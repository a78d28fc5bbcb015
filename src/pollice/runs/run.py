"""The main flow: data set, split, every method on the same rows, predictions, report.

Knows nothing about any one method, and nothing about the terminal.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from pollice.data.reading import read_dataset
from pollice.data.splits import Split, sample, split
from pollice.errors import OptionError
from pollice.judging.judge import judge
from pollice.judging.results import Cost, DataReport, Report
from pollice.method import Method, options_of
from pollice.report import write_report
from pollice.runs import predictors, probes
from pollice.runs.experiment import Experiment, completed
from pollice.runs.fitting import (
    PLAN,
    WORK,
    Fitting,
    fitted_as,
    fitted_before,
    plan_fitting,
    start_fitting,
)
from pollice.runs.folder import check_folder, claim_folder, unclaim_folder, working_in
from pollice.runs.sharing import FirstProcess, leave, wait_for_leaving
from pollice.system import folders
from pollice.system.measuring import measured
from pollice.system.processes import are_several, is_first
from pollice.system.progress import owned_by

logger = logging.getLogger("pollice")


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
        copies_left_out=parts.copies_left_out,
        copies_in_test=parts.copies_in_test,
        contradictory_texts=parts.contradictory_texts,
        repeated_texts=parts.repeated_texts,
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
