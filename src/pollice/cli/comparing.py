"""The commands that end in a report: compare, train and evaluate.

Knows nothing about how methods are fitted and judged.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pollice.cli.early_checks import check_experiment_names, check_source
from pollice.cli.options import ABSTAIN, JSON, MEMORY, OUT, probing, reading, splitting
from pollice.cli.progress_bars import waiting, working
from pollice.cli.settings import (
    add_lexicon,
    bytes_of,
    check_distinct,
    content_of,
    read_options,
)
from pollice.errors import OptionError
from pollice.system import processes

if TYPE_CHECKING:
    from pollice.judging.results import Report


@click.command()
@click.argument("experiment", required=False, type=click.Path(path_type=Path))
@click.option("--method", "names", multiple=True, help="NAME, or NAME=METHOD; repeatable.")
@splitting
@probing
@reading
@MEMORY
@OUT
@JSON
def compare(
    experiment: Path | None, names: tuple[str, ...], out: Path | None, **given: Any
) -> None:
    """Compare methods on the same rows. Without arguments, compare on the demo's reviews.

    EXPERIMENT is a TOML file that can hold all these options, and more.
    Give the same command again to continue an interrupted comparison, or add --abstain-below,
    --canary or --attack to a finished one: only the missing work is done.
    """
    place = "the experiment" if experiment is None else str(experiment)
    content = content_of(experiment, names, given)
    if experiment is None and not names and given["source"] is not None:
        from pollice.data.reading import read_dataset

        check_source(given["source"])
        left_out = add_lexicon(
            content, read_dataset(given["source"], read_options(given)).label_names
        )
        if left_out is not None and processes.is_first():
            click.echo(left_out, err=True)
    _run(content, place, out, given)


@click.command()
@click.argument("method")
@splitting
@probing
@reading
@MEMORY
@OUT
@JSON
def train(method: str, out: Path | None, **given: Any) -> None:
    """Train one METHOD, judge it on the test rows, and save it for `predict`."""
    if given["source"] is None:
        raise OptionError("Expected data to train on, but none are named. Add --data FILE.")
    from pollice.runs.folder import RunFolder

    content = content_of(None, (method,), given)
    folder = _run(content, "the experiment", out, given)
    if processes.is_first() and not given["as_json"]:
        click.echo(f"Predictor: {RunFolder(folder).method(method.partition('=')[0]).predictor}")


def _run(
    content: Mapping[str, Any], place: str, out: Path | None, given: Mapping[str, Any]
) -> Path:
    from pollice.runs.experiment import default_folder, fill_in_defaults, read_experiment
    from pollice.runs.run import run_experiment

    memory = bytes_of(given["memory"])
    experiment = read_experiment(content, place)
    check_experiment_names(experiment, out)
    with waiting("loading the methods"):
        fill_in_defaults(experiment)
    folder = out or default_folder(experiment)
    with working():
        report = run_experiment(experiment, folder, memory=memory)
    if processes.is_first():
        show_report(report, as_json=given["as_json"])
        if not given["as_json"]:
            click.echo(f"Report: {folder / 'report.html'}")
    return folder


def show_report(report: "Report", *, as_json: bool) -> None:
    """Print a report on the terminal, or as JSON."""
    from rich.console import Console

    from pollice.report import show, to_json

    if as_json:
        click.echo(json.dumps(to_json(report), indent=2, ensure_ascii=False))
    else:
        show(report, Console())


@click.command()
@click.argument("predictions", nargs=-1, required=True)
@click.option("--seed", type=click.IntRange(0), default=0, help="Only written in the report.")
@ABSTAIN
@JSON
def evaluate(
    predictions: tuple[str, ...], seed: int, abstain_below: float | None, as_json: bool
) -> None:
    """Judge saved predictions again; no model is loaded.

    Each of PREDICTIONS is a predictions.parquet or NAME=FILE, from pollice or another system.
    """
    from pollice.judging.judge import judge_tables
    from pollice.judging.results import JudgingOptions

    tables = [_named_table(text) for text in predictions]
    check_distinct([name for name, _ in tables], "the command", "FILE")
    options = JudgingOptions(seed=seed, abstain_below=abstain_below)
    show_report(judge_tables(dict(tables), options), as_json=as_json)


def _named_table(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if separator:
        return name, Path(path)
    from pollice.runs.folder import MethodFolder

    file = Path(text)
    folder = MethodFolder(file.parent)
    return (folder.name if file == folder.predictions else file.stem) or text, file
