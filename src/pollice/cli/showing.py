"""The commands that show what there is: data, report, fetch, methods, inspect and plan.

Knows nothing about how it is found out.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pollice.cli.browser import open_page
from pollice.cli.early_checks import check_checkpoint, check_source
from pollice.cli.options import JSON, MEMORY, NEAR_DUPLICATES, SET, reading
from pollice.cli.settings import bytes_of, options_of, read_options
from pollice.cli.work import waiting, working
from pollice.errors import OptionError

if TYPE_CHECKING:
    from pollice.memory.footprint import Lengths
    from pollice.method import Method


@click.command()
@click.argument("source")
@NEAR_DUPLICATES
@reading
@JSON
def data(source: str, as_json: bool, near_duplicates: bool | None, **given: Any) -> None:
    """Show what SOURCE holds: rows, balance, lengths, duplicates, examples.

    SOURCE may have no labels: then its texts are counted, and you read how to label them.
    """
    from dataclasses import asdict

    from pollice.cli.listings import show_summary, show_texts
    from pollice.data.label_checks import NoLabelsError
    from pollice.data.reading import read_dataset, read_texts
    from pollice.data.sources import MissingLabelColumnError
    from pollice.data.summary import DatasetSummary, TextsSummary, summarize, summarize_texts

    check_source(source)
    near = near_duplicates is not False
    options = read_options(given)
    summary: DatasetSummary | TextsSummary
    with working():
        try:
            summary = summarize(read_dataset(source, options), near_duplicates=near)
        except (MissingLabelColumnError, NoLabelsError):
            if options.label_column is not None:
                raise
            table = read_texts(source, options)
            if table.gold is not None:  # there are labels, so what is wrong with them is the answer
                raise
            summary = summarize_texts(table, near_duplicates=near)
    if as_json:
        click.echo(json.dumps(asdict(summary), indent=2, ensure_ascii=False))
    elif isinstance(summary, TextsSummary):
        show_texts(source, summary)
    else:
        show_summary(source, summary)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--no-open", is_flag=True, help="Only print where the report is.")
def report(run: Path, no_open: bool) -> None:
    """Show the report of a finished comparison in the browser; print where it is.

    RUN is the comparison's folder, such as runs/NAME, or the page itself.
    """
    page = run if run.is_file() else run / "report.html"
    if not page.is_file():
        raise OptionError(
            f"Expected the folder of a finished comparison, but there is no {page}. Name a folder "
            "such as runs/NAME, or run `pollice compare` again to finish it."
        )
    click.echo(f"Report: {page}")
    if not no_open and not open_page(page):
        click.echo("No browser was found: open this page yourself.", err=True)


@click.command()
@click.argument("names", nargs=-1)
@click.option("--list", "listed", is_flag=True, help="Show names, sizes and licences.")
def fetch(names: tuple[str, ...], listed: bool) -> None:
    """Download checkpoints and data sets into the cache before use."""
    from pollice.catalogue.entries import entries
    from pollice.cli.listings import show_catalogue

    if listed or not names:
        show_catalogue(entries())
        return
    from pollice.models.pretrained.sources import prefetch

    with working():
        for name in names:
            prefetch(name)


@click.command()
@click.argument("name", required=False)
def methods(name: str | None) -> None:
    """Show all methods, or all options of the method NAME with their defaults."""
    from pollice.cli.listings import show_method, show_methods
    from pollice.methods import check_method_name, find_method

    if name is None:
        show_methods()
        return
    check_method_name(name)
    with waiting(f"loading the method {name}"):
        find_method(name)
    show_method(name)


@click.command()
@click.argument("checkpoint")
@click.option("--vocabulary", type=click.IntRange(1), help="Use another vocabulary size.")
@JSON
def inspect(checkpoint: str, vocabulary: int | None, as_json: bool) -> None:
    """Show the architecture of CHECKPOINT; only its configuration is read.

    CHECKPOINT is a published model that pollice knows, a folder with a config.json, or hub:NAME.
    """
    from pollice.cli.listings import show_anatomy
    from pollice.models.pretrained.names import bundled

    if checkpoint not in bundled():
        check_checkpoint(checkpoint)
    with waiting(f"reading {checkpoint}"):
        from pollice.models.pretrained.architecture import inspect_checkpoint, to_json

        anatomy = inspect_checkpoint(checkpoint, vocabulary)
    if as_json:
        click.echo(json.dumps(to_json(anatomy), indent=2))
    else:
        show_anatomy(anatomy)


@click.command()
@click.argument("method")
@click.option("--model", help="The checkpoint [default: the method's own].")
@click.option("--data", "source", help="The texts [default: the largest number and length].")
@SET
@reading
@MEMORY
@JSON
def plan(method: str, settings: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Show how much memory METHOD needs, and the first way to run it that fits.

    Nothing is loaded: the checkpoint's configuration and the texts' lengths are enough. These
    steps are added in order, if the method has them: smaller micro-batches, recomputation, LoRA,
    an 8-bit optimizer, 4-bit weights, the optimizer in the host's memory. `compare` and `train`
    use only the first two, because these do not change the numbers.
    """
    from pollice.memory import planner

    memory = bytes_of(given["memory"])
    asked = _asked(method, settings, given)
    lengths = _lengths(given)
    with waiting(f"planning the memory of {method}"):
        found = planner.plan_memory(asked, lengths, memory, exact=False)
    if found is None:
        raise OptionError(
            f"Expected a method that says what its work is, but {method} does not, so its memory "
            "cannot be planned. Run it on a few rows: the report says what it took."
        )
    taken = planner.check_plan(found, method)
    if as_json:
        click.echo(json.dumps(planner.to_json(found), indent=2))
        return
    click.echo(f"{method} may use {found.budget.said}.\n\n{planner.table(found)}")
    if taken.changes:
        effect = "the same numbers" if taken.exact else "other numbers"
        click.echo(f"\nIt fits, with {effect}: {planner.settings(method, taken.changes)}")


def _asked(method: str, settings: tuple[str, ...], given: Mapping[str, Any]) -> "Method":
    """Return the method to plan; wrong names are refused before anything slow is imported."""
    from pollice.methods import check_declared_options, create_method
    from pollice.models.pretrained.names import bundled

    model = () if given["model"] is None else (f"{method}.checkpoint={given['model']}",)
    options = options_of(method, (*model, *settings))
    check_declared_options(method, options)
    checkpoint = options.get("checkpoint")
    if isinstance(checkpoint, str) and checkpoint not in bundled():
        check_checkpoint(checkpoint)
    if given["source"] is not None:
        check_source(given["source"])
    with waiting(f"loading the method {method}"):
        return create_method(method, options)


def _lengths(given: Mapping[str, Any]) -> "Lengths":
    from pollice.memory.footprint import ANY_TEXTS, Lengths

    if given["source"] is None:
        return ANY_TEXTS
    from pollice.data.reading import read_dataset

    with working():
        dataset = read_dataset(given["source"], read_options(given))
    return Lengths.of(dataset.texts, len(dataset.label_names))
