"""The command line: every command, what it prints and its exit code.

Knows nothing about how the work is done. Each command imports the slow modules that it needs
itself, so that `pollice --help` answers at once.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pollice.cli.options import (
    ABSTAIN,
    JSON,
    MEMORY,
    NEAR_DUPLICATES,
    OUT,
    OUTPUT,
    SET,
    probing,
    reading,
    splitting,
)
from pollice.cli.settings import (
    add_lexicon,
    check_distinct,
    content_of,
    options_of,
    read_fields,
)
from pollice.errors import Interrupted, OptionError, PolliceError
from pollice.system import processes

if TYPE_CHECKING:
    from pollice.data.reading import ReadOptions
    from pollice.judging.results import Report
    from pollice.memory.footprint import Lengths


def main() -> None:
    """Run the command line; a mistake of the user gives one sentence and exit code 2."""
    try:
        code = app.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except PolliceError as error:
        _say(error)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _say(error: PolliceError) -> None:
    """Print an error; only the first of several processes says that all were interrupted."""
    if isinstance(error, Interrupted):
        if processes.is_first():
            click.echo(str(error), err=True)
        return
    who = "" if processes.is_first() else f" in process {processes.number()}"
    click.echo(f"Error{who}: {error}", err=True)


def _working() -> AbstractContextManager[None]:
    from pollice.cli.progress_bars import working

    return working()


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("pollice"), prog_name="pollice")
def app() -> None:
    """Train, prompt and honestly compare language models as judges of opinions.

    Start with `pollice compare` alone: it compares six ways of judging on real reviews.
    Then name your own file: `pollice compare --data reviews.csv`.
    """


@app.command()
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

        left_out = add_lexicon(
            content, read_dataset(given["source"], _read_options(given)).label_names
        )
        if left_out is not None and processes.is_first():
            click.echo(left_out, err=True)
    _run(content, place, out, given)


@app.command()
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


def _read_options(given: Mapping[str, Any]) -> "ReadOptions":
    from pollice.data.reading import ReadOptions

    return ReadOptions(**read_fields(given))


def _run(
    content: Mapping[str, Any], place: str, out: Path | None, given: Mapping[str, Any]
) -> Path:
    from pollice.runs.experiment import default_folder, read_experiment
    from pollice.runs.run import run_experiment

    experiment = read_experiment(content, place)
    folder = out or default_folder(experiment)
    memory = _bytes(given["memory"])
    with _working():
        report = run_experiment(experiment, folder, memory=memory)
    if processes.is_first():
        _show(report, as_json=given["as_json"])
        if not given["as_json"]:
            click.echo(f"Report: {folder / 'report.html'}")
    return folder


def _bytes(size: str | None) -> int | None:
    from pollice.memory.planner import read_size

    return None if size is None else read_size(size)


def _show(report: "Report", *, as_json: bool) -> None:
    from rich.console import Console

    from pollice.report import show, to_json

    if as_json:
        click.echo(json.dumps(to_json(report), indent=2, ensure_ascii=False))
    else:
        show(report, Console())


@app.command()
@click.argument("predictor", type=click.Path(path_type=Path))
@click.argument("file")
@OUTPUT
@ABSTAIN
@reading
def predict(
    predictor: Path, file: str, output: Path, abstain_below: float | None, **given: Any
) -> None:
    """Judge every text of FILE with a saved PREDICTOR, and write labels and probabilities.

    If --abstain-below leaves a row without an answer, its label stays empty, and its
    probabilities are written. A Parquet table holds only probabilities.
    """
    from pollice.data.reading import read_texts
    from pollice.judging.metrics import abstain, check_threshold
    from pollice.predictions.files import check_output, write_predictions
    from pollice.predictions.predict import predict as predict_texts
    from pollice.runs.predictors import load_predictor
    from pollice.system.folders import write_atomically

    check_output(output, file)
    check_threshold(abstain_below)
    table = read_texts(file, _read_options(given))
    with _working():
        loaded = load_predictor(_predictor_folder(predictor))
        known = table.gold is not None and set(table.gold) <= set(loaded.label_names)
        gold = [str(label) for label in table.gold or ()] if known else None
        predictions = predict_texts(loaded, table.texts, ids=table.ids, gold=gold)
    labels = abstain(predictions, abstain_below).predicted
    write_atomically(
        output, lambda path: write_predictions(predictions, path, output.suffix, labels)
    )
    cut = predictions.cut_rows or 0
    unsure = "" if abstain_below is None else f"{labels.count(None):,} left without a label, "
    click.echo(f"{len(predictions):,} rows judged, {unsure}{cut:,} of them cut to fit: {output}")
    _say_empty(table.texts)


def _say_empty(texts: Sequence[str]) -> None:
    """Warn of rows without a text: the output has a line for them all the same."""
    empty = sum(not text for text in texts)
    if empty:
        rows = "1 row has" if empty == 1 else f"{empty:,} rows have"
        click.echo(f"Warning: {rows} no text: the label written there rests on nothing.")


def _predictor_folder(folder: Path) -> Path:
    """Return the predictor's folder, also if the method's folder is given."""
    from pollice.runs.folder import MethodFolder

    inner = MethodFolder(folder).predictor
    return inner if inner.is_dir() else folder


@app.command()
@click.argument("file")
@click.option("--labels", "names", required=True, help="As negative,positive.")
@click.option("--model", default="gemma-3-270m", show_default=True, help="The checkpoint.")
@click.option("--template", help="A prompt with {text} that ends just before the label.")
@click.option("--describe", "descriptions", multiple=True, help="LABEL=MEANING; repeatable.")
@click.option("--expect", "shares", multiple=True, help="LABEL=SHARE, as positive=0.9; repeatable.")
@click.option("--known", help="A file of texts labelled by hand, for calibration.")
@click.option("--known-text-column", help="Its column of texts, if it differs from FILE's.")
@click.option("--uncertain-first", is_flag=True, help="Write the most uncertain rows first.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Decides the calibrating texts.")
@SET
@OUTPUT
@reading
def label(file: str, names: str, output: Path, uncertain_first: bool, **given: Any) -> None:
    """Label the texts of FILE when you have no labels, or only a few.

    Labels that name a scale of opinions, such as negative,neutral,positive or "1 star" to
    "5 stars", are recognised. Others are asked by several short questions; say what they mean
    with --describe. If you know how common a label is, say so with --expect. The column check
    names random and uncertain rows to check by hand. Give the checked rows with --known: 16 or
    more are learned from if cross-validation shows that this helps. Their labels are kept.
    --label-column and --label-names are for that file. --set prompt.option=value sets any other
    option of prompt, such as prompt.label_words='{"bug": ["error", "crash"]}'.
    """
    from pollice.data.reading import read_dataset, read_texts
    from pollice.predictions.files import check_output
    from pollice.runs import labelling
    from pollice.system.folders import write_atomically

    check_output(output, file, *([given["known"]] if given["known"] else []))
    label_names = labelling.label_names_of(names)
    options = {"checkpoint": given["model"], "seed": given["seed"], "template": given["template"]}
    options |= labelling.meaning_of(given["descriptions"], given["shares"])
    options |= options_of("prompt", given["settings"])
    reading = _read_options(given)
    column = given["known_text_column"] or reading.text_column
    known_reading = replace(reading, text_column=column)
    known = read_dataset(given["known"], known_reading) if given["known"] else None
    table = read_texts(file, replace(reading, label_column=None, label_names=None))
    with _working():
        labelled = labelling.label_texts(table, label_names, options, known)
    write_atomically(
        output,
        lambda path: labelling.write_labelled(
            labelled, path, output.suffix, uncertain_first=uncertain_first
        ),
    )
    click.echo(f"{len(labelled.texts):,} rows labelled: {output}")
    _say_empty(labelled.texts)
    for line in labelling.notes(labelled, 0 if known is None else len(known)):
        click.echo(line)


@app.command()
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
    _show(judge_tables(dict(tables), options), as_json=as_json)


def _named_table(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if separator:
        return name, Path(path)
    from pollice.runs.folder import MethodFolder

    file = Path(text)
    folder = MethodFolder(file.parent)
    return (folder.name if file == folder.predictions else file.stem) or text, file


@app.command()
@click.argument("source")
@NEAR_DUPLICATES
@reading
@JSON
def data(source: str, as_json: bool, near_duplicates: bool | None, **given: Any) -> None:
    """Show what SOURCE holds: rows, balance, lengths, duplicates, examples.

    A file may be .csv, .tsv, .json, .jsonl, .parquet, .arrow, .feather, .xlsx, .xls, .ods, or
    .txt and .ft with fastText's labels, also with .gz or .bz2, or alone in a .zip.
    JSON may be an export of Label Studio or Argilla. A folder holds tables named train,
    validation and test, what save_to_disk of datasets wrote, or a folder of .txt files for each
    label.
    """
    from dataclasses import asdict

    from pollice.cli.listings import show_summary
    from pollice.data.reading import read_dataset
    from pollice.data.summary import summarize

    with _working():
        dataset = read_dataset(source, _read_options(given))
        summary = summarize(dataset, near_duplicates=near_duplicates is not False)
    if as_json:
        click.echo(json.dumps(asdict(summary), indent=2, ensure_ascii=False))
    else:
        show_summary(source, summary)


@app.command()
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

    with _working():
        for name in names:
            prefetch(name)


@app.command()
@click.argument("name", required=False)
def methods(name: str | None) -> None:
    """Show all methods, or all options of the method NAME with their defaults."""
    from pollice.cli.listings import show_method, show_methods

    if name is None:
        show_methods()
    else:
        show_method(name)


@app.command()
@click.argument("checkpoint")
@click.option("--vocabulary", type=click.IntRange(1), help="Use another vocabulary size.")
@JSON
def inspect(checkpoint: str, vocabulary: int | None, as_json: bool) -> None:
    """Show the architecture of CHECKPOINT; only its configuration is read.

    CHECKPOINT is a published model that pollice knows, a folder with a config.json, or hub:NAME.
    """
    from pollice.cli.listings import show_anatomy
    from pollice.models.pretrained.architecture import inspect_checkpoint, to_json

    anatomy = inspect_checkpoint(checkpoint, vocabulary)
    if as_json:
        click.echo(json.dumps(to_json(anatomy), indent=2))
    else:
        show_anatomy(anatomy)


@app.command()
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
    from pollice.methods import create_method

    model = () if given["model"] is None else (f"{method}.checkpoint={given['model']}",)
    asked = create_method(method, options_of(method, (*model, *settings)))
    found = planner.plan_memory(asked, _lengths(given), _bytes(given["memory"]), exact=False)
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


def _lengths(given: Mapping[str, Any]) -> "Lengths":
    from pollice.memory.footprint import ANY_TEXTS, Lengths

    if given["source"] is None:
        return ANY_TEXTS
    from pollice.data.reading import read_dataset

    with _working():
        dataset = read_dataset(given["source"], _read_options(given))
    return Lengths.of(dataset.texts, len(dataset.label_names))
