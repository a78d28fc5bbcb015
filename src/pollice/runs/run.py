"""The main flow: data set, split, every method on the same rows, predictions, report.

Knows nothing about single methods, and nothing about the terminal.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pollice.data.dataset import Dataset
from pollice.data.reading import read_dataset
from pollice.data.splits import Split, sample, split
from pollice.errors import Interrupted, OptionError, UserError
from pollice.judging.judge import judge
from pollice.judging.results import Cost, DataReport, JudgingOptions, Report
from pollice.method import Method, options_of
from pollice.methods import is_own_method
from pollice.report import write_report
from pollice.runs.claims import (
    check_folder,
    claim_folder,
    forget_methods,
    lock_folder,
    rows_judged_in,
    unclaim_folder,
    was_drawn_before,
)
from pollice.runs.experiment import (
    Experiment,
    deciding_options,
    fill_in_defaults,
    update_content,
    without_free_options,
)
from pollice.runs.fitting import (
    Fitting,
    as_finished,
    begin_session,
    plan_fitting,
    start_fitting,
    with_shared_changes,
)
from pollice.runs.folder import (
    MethodFolder,
    RunFolder,
    read_data,
    read_finished,
    read_toml,
    write_cost,
    write_experiment,
)
from pollice.runs.predictors import save_predictor
from pollice.runs.probes import (
    attack_predictor,
    explain_mistakes,
    fit_canary,
    judge_draws,
    predict_rows,
)
from pollice.runs.sharing import FirstProcess, leave, wait_for_leaving
from pollice.system import folders
from pollice.system.measuring import measured
from pollice.system.processes import are_several, is_first
from pollice.system.progress import owned_by

logger = logging.getLogger("pollice")


def run_experiment(
    experiment: Experiment, folder: Path | str, *, memory: int | None = None
) -> Report:
    """Run every method that has not finished yet, judge all, and write the report.

    The same folder can be judged again with another ``abstain_below``, ``canary`` or ``attack``,
    and with other methods: those that it lacks are fitted, and those that are not named any more
    are kept and reported too.
    If torchrun or accelerate launched several processes, all call this: the first one writes
    the folder; the others help to fit the methods that share work, and return the same report.

    Args:
        experiment: The data and the methods.
        folder: The run's folder.
        memory: The bytes that each method may use; None: what is free, less a margin.

    Raises:
        RunError: the folder holds another experiment, or the data have changed since.
        MemoryPlanError: a method fits in no way that gives the same numbers.
        Interrupted: a signal came; the same call goes on from the last resume point.
    """
    folder = Path(folder)
    content, methods = fill_in_defaults(experiment)
    _check_processes(experiment, methods)
    run = RunFolder(folder)
    if not is_first():
        # Every process draws the split itself: the same data and seed give the same rows.
        parts, data = prepare(experiment)
        _follow(methods, parts, run)
        return _judge(run, _with_kept(content, _held_methods(run)), data, parts.test, {})
    # Before the data are read, which may take long: a wrong folder is refused at once.
    check_folder(folder, without_free_options(content), deciding_options)
    if was_drawn_before(run) and _is_done(experiment, methods, run):
        return _judge_again(experiment, methods, run, content)
    parts, data = prepare(experiment)
    with lock_folder(folder):
        held = _held_methods(run)
        content = _with_kept(content, held)
        claim_folder(folder, content, data, parts)
        _say_kept(run, [name for name in held if name not in methods])
        # A file that a killed session left would let the other processes begin with old changes.
        for name in methods:
            run.work(name).shared.unlink(missing_ok=True)
        with _unclaiming(run, set(methods) - set(held) if held else set()):
            failures = _run_methods(methods, parts, run, memory)
            for name, method in methods.items():
                if name not in failures:
                    _probe(experiment, as_finished(method, run.method(name)), parts, run, name)
        if failures.keys() == methods.keys():
            unclaim_folder(folder)
        else:
            said = {name: _first_line(error) for name, error in failures.items()}
            report = _judge(run, content, data, parts.test, said)
            write_report(report, folder)
        # Only now: the report of the other methods is on disk before the command fails.
        for failure in failures.values():
            raise failure
    return report


@contextmanager
def _unclaiming(run: RunFolder, added: Collection[str]) -> Iterator[None]:
    """If the block is stopped, leave no folder that holds nothing, nor a wrong method in one.

    Args:
        run: The run's folder.
        added: The methods that the folder did not have before.
    """
    try:
        yield
    # Also for Ctrl-C. It deletes nothing that holds a result or a resume point.
    except BaseException as error:
        unclaim_folder(run.path)
        if isinstance(error, UserError):
            forget_methods(run, added)
        raise


def _held_methods(run: RunFolder) -> dict[str, Any]:
    """Return the methods of a folder that was begun, with all their options."""
    if not run.experiment.is_file():
        return {}
    content = read_toml(run.experiment)
    methods: dict[str, Any] = (update_content(content) or content).get("methods", {})
    return methods


def _with_kept(content: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    """Return the experiment with the folder's methods that are not asked for now as well."""
    return {**content, "methods": {**held, **content["methods"]}}


def _say_kept(run: RunFolder, names: Sequence[str]) -> None:
    for name in names:
        if run.method(name).is_complete:
            folders.read_manifest(run.method(name).path)
            logger.info("%s is not asked for now: it is kept, and reported too.", name)
        else:
            logger.info("%s has not finished and is not asked for now: it is left as it is.", name)


def _is_done(experiment: Experiment, methods: Mapping[str, Method], run: RunFolder) -> bool:
    """Tell whether nothing is left to fit, draw or attack."""
    return all(
        run.method(name).is_complete
        and (run.method(name).canary.is_file() or not experiment.canary)
        and (run.method(name).attack.is_file() or not experiment.attack)
        and run.method(name).draws_done >= len(method.repetitions())
        for name, method in methods.items()
    )


def _judge_again(
    experiment: Experiment,
    methods: Mapping[str, Method],
    run: RunFolder,
    asked: Mapping[str, Any],
) -> Report:
    """Judge a finished run of an older version on the test rows that it drew.

    Raises:
        RunError: the data no longer hold these test rows.
    """
    dataset, test = _read_data(experiment)
    with lock_folder(run.path):
        content = _with_kept(asked, _held_methods(run))
        for name in content["methods"]:
            folders.read_manifest(run.method(name).path)  # for its check alone
        rows = rows_judged_in(run, dataset if test is None else test, methods)
        report = _judge(run, content, read_data(run), rows, {})
        write_experiment(run, content)
        write_report(report, run.path)
    return report


def _judge(
    run: RunFolder,
    content: Mapping[str, Any],
    data: DataReport,
    test: Dataset,
    failed: Mapping[str, str],
) -> Report:
    """Judge the methods that have finished."""
    finished = [
        read_finished(run.method(name), options)
        for name, options in content["methods"].items()
        if name not in failed and run.method(name).is_complete
    ]
    options = JudgingOptions(seed=content["seed"], abstain_below=content.get("abstain_below"))
    return judge(finished, data, test, options, failed)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _check_processes(experiment: Experiment, methods: Mapping[str, Method]) -> None:
    joint = next((name for name, method in methods.items() if method.joint), None)
    if experiment.canary and are_several() and joint is not None:
        raise OptionError(
            f"The canary fits {joint} on one process, but several were launched. Run without "
            "canary first, then add it in a single process: finished methods are kept."
        )


def _run_methods(
    methods: Mapping[str, Method], parts: Split, run: RunFolder, memory: int | None
) -> dict[str, Exception]:
    """Run every method that has not finished, and return the errors of those that failed.

    All are planned and checked before the first is fitted, so a mistake in the last one costs
    nothing. If one still fails, the others are reported.
    """
    plans: dict[str, Fitting] = {}
    for name, method in methods.items():
        if run.method(name).is_complete:
            # For its check alone: a file that was cut or lost is told before hours of fitting.
            folders.read_manifest(run.method(name).path)
            logger.info("%s is finished already: its predictions are taken as they are.", name)
            continue
        with owned_by(name):
            plans[name] = plan_fitting(name, method, parts, run.work(name), memory)
    for name, fitting in plans.items():
        with owned_by(name):
            fitting.method.check(parts.train)
    failures: dict[str, Exception] = {}
    for name, fitting in plans.items():
        try:
            with owned_by(name):
                _run_method(methods[name], fitting, parts, run, name)
        except Interrupted:
            raise
        except Exception as error:
            if len(methods) == 1 or are_several():  # other processes wait for this very method
                raise
            logger.error("%s failed, the others go on: %s", name, _first_line(error))
            failures[name] = error
    return failures


def _follow(methods: Mapping[str, Method], parts: Split, run: RunFolder) -> None:
    """Help the first process with methods that share work; wait for the others."""
    first = FirstProcess(folder=run.path)
    for name, method in methods.items():
        folder, work = run.method(name), run.work(name)
        if method.joint and not folder.is_complete:
            first.wait_for(work.shared, this_session=True)
            # The first process may have changed options to save memory: work is shared only if all
            # processes have the same ones. What this fit returns is dropped; process 0 saves.
            same = with_shared_changes(method, work)
            same.fit(parts.train, parts.validation, workdir=work.path)
            leave(work)
            first.begun = True
        first.wait_for(folder.path / folders.MANIFEST)


def _read_data(experiment: Experiment) -> tuple[Dataset, Dataset | None]:
    """Return the data, and the test rows if they have another source."""
    options = experiment.data
    dataset = read_dataset(options.source, options.read)
    if not options.test:
        return dataset, None
    return dataset, read_dataset(options.test, options.read, known=dataset.label_names)


def prepare(experiment: Experiment) -> tuple[Split, DataReport]:
    """Read and split the data; also return the report's facts about them."""
    options = experiment.data
    dataset, test = _read_data(experiment)
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
        dropped=dict(sum((Counter(part.dropped) for part in counted), Counter[str]())),
        copies_left_out=parts.copies_left_out,
        copies_in_test=parts.copies_in_test,
        contradictory_texts=parts.contradictory_texts,
        repeated_texts=parts.repeated_texts,
        notes=tuple(dict.fromkeys(note for part in counted for note in part.notes)),
    )
    return parts, report


def _run_method(asked: Method, fitting: Fitting, parts: Split, run: RunFolder, name: str) -> None:
    """Fit, predict and save one method; its folder appears when it is complete."""
    work = run.work(name)
    start_fitting(fitting, work)
    earlier_seconds = begin_session(work)
    with measured() as learning:
        predicted_mib = fitting.predicted_mib()  # what was freed before has just been given back
        predictor = fitting.method.fit(parts.train, parts.validation, workdir=work.path)
    with measured() as predicting:
        predictions = predict_rows(predictor, parts.test)
    # Asking a foreign predictor may cost money, so only our own are asked more than once.
    explained = (
        explain_mistakes(predictor, parts.test, predictions) if is_own_method(asked.name) else {}
    )
    cost = Cost(
        fit_seconds=earlier_seconds + learning.seconds,
        predict_seconds=predicting.seconds,
        predict_rows_per_second=len(predictions) / predicting.seconds,
        peak_memory_mib=max(learning.peak_memory_mib, predicting.peak_memory_mib),
        parameters=predictor.parameters,
        peak_device_memory_mib=learning.highest_on_device(predicting),
        predicted_memory_mib=predicted_mib,
        memory_changes=fitting.changes,
    )
    # A stop before this block ends leaves the work folder alone, from which the fit goes on.
    with folders.new_folder(run.method(name).path) as temporary:
        folder = MethodFolder(temporary)
        predictions.write(folder.predictions)
        used = asked.labels_used(parts.train, parts.validation)
        write_cost(folder, cost, labels_used=used)
        folders.write_json(folder.facts, dict(predictor.facts))
        folders.write_json(
            folder.explained,
            {row: [asdict(piece) for piece in pieces] for row, pieces in explained.items()},
        )
        if work.log.is_file():
            shutil.copy2(work.log, folder.log)
        # The options asked for: what memory planning changed is in the cost.
        save_predictor(
            predictor,
            folder.predictor,
            method=asked.name,
            options=options_of(asked),
            reading=parts.train.reading,
        )
        folders.write_manifest(temporary, {"name": name, "method": asked.name})
    # The result is safe by now, but other processes may still use the work folder. A stop here
    # leaves only files that the next run does not need, as the method is complete.
    if asked.joint:
        wait_for_leaving(work)
    work.remove()


def _probe(experiment: Experiment, method: Method, parts: Split, run: RunFolder, name: str) -> None:
    """Run the further tests that are asked for and not done yet."""
    judge_draws(method, parts, run, name)
    if experiment.canary:
        fit_canary(method, parts, run, name, experiment.seed)
    if experiment.attack:
        attack_predictor(parts.test, run.method(name), experiment.seed)
