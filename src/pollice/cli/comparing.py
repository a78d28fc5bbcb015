"""The commands that end in a report: compare, train and evaluate.

Knows nothing about how methods are fitted and judged.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pollice.cli.browser import open_page
from pollice.cli.early_checks import check_experiment_names, check_source
from pollice.cli.options import ABSTAIN, JSON, MEMORY, OUT, probing, reading, splitting
from pollice.cli.settings import (
    add_lexicon,
    bytes_of,
    check_distinct,
    content_of,
    read_options,
)
from pollice.cli.work import waiting, working
from pollice.errors import OptionError
from pollice.system import processes

if TYPE_CHECKING:
    from pollice.judging.results import Report

_PAGES = (".html", ".htm")
_OTHER_FILES = (".csv", ".json", ".jsonl", ".md", ".parquet", ".pdf", ".tsv", ".txt")


@click.command()
@click.argument("experiment", required=False, type=click.Path(path_type=Path))
@click.option("--method", "names", multiple=True, help="NAME, or NAME=METHOD; repeatable.")
@splitting
@probing
@reading
@MEMORY
@OUT
@JSON
@click.option("--open", "opened", is_flag=True, help="Then show the report in the browser.")
def compare(
    experiment: Path | None, names: tuple[str, ...], out: Path | None, opened: bool, **given: Any
) -> None:
    """Compare methods on the same rows. Without arguments, compare on the demo's reviews.

    EXPERIMENT is a TOML file that can hold all these options, and more.
    Give the same command again to continue an interrupted comparison, or add --abstain-below,
    --canary or --attack to a finished one: only the missing work is done. With -o FOLDER of a
    finished comparison, --method NEW adds a method to it.
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
    folder = _run(content, place, out, given)
    if opened and processes.is_first():
        open_page(folder / "report.html")


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
    from pollice.cli.terminal import Terminal
    from pollice.report import show, to_json

    if as_json:
        click.echo(json.dumps(to_json(report), indent=2, ensure_ascii=False))
    else:
        show(report, Terminal())


@click.command()
@click.argument("predictions", nargs=-1, required=True)
@click.option("--seed", type=click.IntRange(0), default=0, help="Only written in the report.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Also write the report: a page such as report.html, or a folder for all its forms.",
)
@ABSTAIN
@JSON
def evaluate(
    predictions: tuple[str, ...],
    seed: int,
    output: Path | None,
    abstain_below: float | None,
    as_json: bool,
) -> None:
    """Judge saved predictions again; no model is loaded.

    Each of PREDICTIONS is FILE or NAME=FILE: the predictions.parquet of a run, or a table of
    another system with the columns id, gold and probability:LABEL, in .parquet, .csv, .tsv or
    .jsonl.
    """
    from pollice.judging.judge import judge_tables
    from pollice.judging.results import JudgingOptions

    tables = [_named_table(text) for text in predictions]
    check_distinct([name for name, _ in tables], "the command", "FILE")
    if output is not None:
        _check_report_output(output, [path for _, path in tables])
    options = JudgingOptions(seed=seed, abstain_below=abstain_below)
    report = judge_tables(dict(tables), options)
    show_report(report, as_json=as_json)
    if output is not None:
        page = _write_report(report, output)
        if not as_json:
            click.echo(f"Report: {page}")


def _check_report_output(output: Path, tables: Sequence[Path]) -> None:
    """Refuse an output that cannot be written, before anything is judged."""
    from pollice.system.folders import probe_file, probe_folder

    if output.suffix.lower() in _PAGES:
        if not output.parent.is_dir():
            raise OptionError(
                f"Expected a folder for the report {output.name!r}, but there is no "
                f"{output.parent}. Create it first."
            )
        if output.is_dir():
            raise OptionError(
                f"Expected a page such as report.html, but {output} is a folder. Name a file in it."
            )
    elif output.is_file() or output.suffix.lower() in _OTHER_FILES or output in tables:
        raise OptionError(
            f"Expected a page that ends in .html, or a folder, for the report, but found {output}. "
            "Name for example -o report.html."
        )
    else:
        probe_folder(output)
        return
    probe_file(output)


def _write_report(report: "Report", output: Path) -> Path:
    from pollice.report import to_html, write_report
    from pollice.system.folders import write_text

    if output.suffix.lower() in _PAGES:
        write_text(output, to_html(report))
        return output
    output.mkdir(parents=True, exist_ok=True)
    write_report(report, output)
    return output / "report.html"


def _named_table(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if separator:
        return name, Path(path)
    from pollice.runs.folder import MethodFolder

    file = Path(text)
    folder = MethodFolder(file.parent)
    return (folder.name if file == folder.predictions else file.stem) or text, file
