"""The command line: `pollice compare`, `train`, `predict`, `evaluate`, `data`, `fetch`, `methods`.

Knows nothing about how anything is done. Whatever is slow to import is imported by the command
that needs it, so that `pollice --help` answers at once.
"""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pollice.errors import OptionError, PolliceError, PredictionsError
from pollice.settings import check_distinct, content_of, read_fields

if TYPE_CHECKING:
    from rich.console import Console

    from pollice.data import ReadOptions
    from pollice.report import Report

Command = Callable[..., Any]

_OUT = click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="The run's folder [default: runs/NAME]."
)
_ABSTAIN = click.option(
    "--abstain-below",
    type=float,
    metavar="P",
    help="Leave rows without an answer whose highest probability is below P.",
)
_OUTPUT = click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help=".parquet, .csv or .jsonl",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def main() -> None:
    """Run the command line: exit code 2 and one sentence for what the user can mend."""
    try:
        code = app.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except PolliceError as error:
        click.echo(f"Error: {error}", err=True)
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("pollice"), prog_name="pollice")
def app() -> None:
    """Train, prompt and honestly compare language models as judges of opinions.

    Start with `pollice compare` alone: it compares five ways of judging on real reviews.
    Then name your own file: `pollice compare --data reviews.csv`.
    """


def _reading(command: Command) -> Command:
    """Add the options that say how a source is read."""
    for option in reversed(
        [
            click.option("--text-column", help="The column of texts [default: found]."),
            click.option("--label-column", help="The column of labels [default: found]."),
            click.option("--id-column", help="The column of ids [default: found, or row numbers]."),
            click.option("--split-column", help="The column that says train, validation or test."),
            click.option("--label-names", help="Names of label codes: 0=negative,1=positive."),
            click.option("--keep-html", is_flag=True, help="Leave tags and entities in the texts."),
        ]
    ):
        command = option(command)
    return command


def _splitting(command: Command) -> Command:
    """Add the options that choose data and split."""
    for option in reversed(
        [
            click.option("--data", "source", help="A file, folder, catalogue name or hub:NAME."),
            click.option("--test", "test", help="A source of its own for the test rows."),
            click.option("--limit", type=click.IntRange(1), help="Take a sample of N rows."),
            click.option("--train-rows", type=click.IntRange(1), help="Balanced training rows."),
            click.option("--validation-rows", type=click.IntRange(1), help="Balanced rows."),
            click.option("--test-rows", type=click.IntRange(1), help="Balanced test rows."),
            click.option(
                "--seed", type=click.IntRange(0), help="Of split and methods [default: 0]."
            ),
            click.option(
                "--set", "settings", multiple=True, help="METHOD.option=value; repeatable."
            ),
        ]
    ):
        command = option(command)
    return command


def _probing(command: Command) -> Command:
    """Add the options that ask for more than the accuracy."""
    for option in reversed(
        [
            _ABSTAIN,
            click.option(
                "--canary",
                is_flag=True,
                help="Also fit on shuffled labels: who still beats chance is leaking.",
            ),
            click.option(
                "--attack",
                is_flag=True,
                help="Also inject 40 sentences into test texts, and count what flips.",
            ),
        ]
    ):
        command = option(command)
    return command


@app.command()
@click.argument("experiment", required=False, type=click.Path(path_type=Path))
@click.option("--method", "names", multiple=True, help="NAME, or NAME=METHOD; repeatable.")
@_splitting
@_probing
@_reading
@_OUT
@_JSON
def compare(
    experiment: Path | None, names: tuple[str, ...], out: Path | None, as_json: bool, **given: Any
) -> None:
    """Compare methods on the same rows; without arguments, on the demo's reviews.

    EXPERIMENT is a TOML file with everything that the options say, and more.
    An interrupted comparison goes on where it stopped when the same command is given again;
    so does a finished one, when --abstain-below, --canary or --attack is added.
    """
    place = "the experiment" if experiment is None else str(experiment)
    _run(content_of(experiment, names, given), place, out, as_json=as_json)


@app.command()
@click.argument("method")
@_splitting
@_probing
@_reading
@_OUT
@_JSON
def train(method: str, out: Path | None, as_json: bool, **given: Any) -> None:
    """Train one METHOD, judge it on the test rows, and save its predictor."""
    if given["source"] is None:
        raise OptionError("Expected data to train on, but none are named. Add --data FILE.")
    content = content_of(None, (method,), given)
    folder = _run(content, "the experiment", out, as_json=as_json)
    if not as_json:
        click.echo(f"Predictor: {folder / method.partition('=')[0] / 'predictor'}")


def _read_options(given: Mapping[str, Any]) -> "ReadOptions":
    from pollice.data import ReadOptions

    return ReadOptions(**read_fields(given))


def _run(content: Mapping[str, Any], place: str, out: Path | None, *, as_json: bool) -> Path:
    from pollice.experiment import default_folder, read_experiment, run_experiment

    experiment = read_experiment(content, place)
    folder = out or default_folder(experiment)
    with _progress():
        report = run_experiment(experiment, folder)
    _show(report, as_json=as_json)
    if not as_json:
        click.echo(f"Report: {folder / 'report.html'}")
    return folder


def _show(report: "Report", *, as_json: bool) -> None:
    from rich.console import Console

    from pollice.report import show, to_json

    if as_json:
        click.echo(json.dumps(to_json(report), indent=2, ensure_ascii=False))
    else:
        show(report, Console())


@contextmanager
def _progress() -> Iterator[None]:
    """Show bars and messages on standard error while work goes on."""
    from rich.console import Console

    from pollice.bars import shown_on

    console = Console(stderr=True)
    logger = logging.getLogger("pollice")
    handler = _ConsoleHandler(console)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with shown_on(console):
            yield
    finally:
        logger.removeHandler(handler)


class _ConsoleHandler(logging.Handler):
    """Prints messages above the bars."""

    def __init__(self, console: "Console") -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        self._console.print(record.getMessage(), markup=False, highlight=False)


@app.command()
@click.argument("predictor", type=click.Path(path_type=Path))
@click.argument("file")
@_OUTPUT
@_ABSTAIN
@_reading
def predict(
    predictor: Path, file: str, output: Path, abstain_below: float | None, **given: Any
) -> None:
    """Judge every text of FILE with a saved PREDICTOR, and write labels and probabilities.

    Where --abstain-below leaves a row without an answer, its label stays empty and its
    probabilities are written; a Parquet table holds probabilities only.
    """
    from pollice.data import read_texts
    from pollice.folders import write_atomically
    from pollice.metrics import abstain, check_threshold
    from pollice.prediction import predict as predict_texts
    from pollice.storage import load_predictor
    from pollice.tables import check_output, write_predictions

    check_output(output)
    check_threshold(abstain_below)
    if output.exists() and output.resolve() == Path(file).resolve():
        raise PredictionsError(
            f"Expected an output besides the texts, but {output} is the file of texts itself. "
            "Name another output."
        )
    table = read_texts(file, _read_options(given))
    with _progress():
        loaded = load_predictor(_predictor_folder(predictor))
        known = table.gold is not None and set(table.gold) <= set(loaded.label_names)
        gold = [str(label) for label in table.gold or ()] if known else None
        predictions = predict_texts(loaded, table.texts, ids=table.ids, gold=gold)
    labels = abstain(predictions, abstain_below).predicted
    write_atomically(
        output, lambda path: write_predictions(predictions, path, output.suffix, labels)
    )
    cut = int(predictions.truncated.sum())
    unsure = "" if abstain_below is None else f"{labels.count(None):,} left without a label, "
    click.echo(f"{len(predictions):,} rows judged, {unsure}{cut:,} of them cut to fit: {output}")


def _predictor_folder(folder: Path) -> Path:
    """Return the predictor's folder, also where the method's folder is named."""
    inner = folder / "predictor"
    return inner if inner.is_dir() else folder


@app.command()
@click.argument("file")
@click.option("--labels", "names", required=True, help="Such as negative,positive.")
@click.option("--model", default="gemma-3-270m", show_default=True, help="The checkpoint.")
@click.option("--template", help="A prompt with {text} in it that ends where the label comes.")
@click.option("--known", help="A file of texts that were labelled by hand, to calibrate on.")
@click.option("--uncertain-first", is_flag=True, help="Sort the rows for labelling by hand.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Draws the calibrating texts.")
@_OUTPUT
@_reading
def label(file: str, names: str, output: Path, uncertain_first: bool, **given: Any) -> None:
    """Label the texts of FILE, without any labels or with a few.

    The column uncertain_first says in which order to check by hand. Some 20 rows that were
    checked, named with --known, make the labels and their probabilities better.
    """
    from pollice import unlabelled
    from pollice.data import read_dataset, read_texts
    from pollice.folders import write_atomically
    from pollice.tables import check_output

    check_output(output)
    label_names = unlabelled.label_names_of(names)
    options = {"checkpoint": given["model"], "seed": given["seed"], "template": given["template"]}
    reading = _read_options(given)
    known = read_dataset(given["known"], reading) if given["known"] else None
    with _progress():
        labelled = unlabelled.label_texts(read_texts(file, reading), label_names, options, known)
    write_atomically(
        output,
        lambda path: unlabelled.write_labelled(
            labelled, path, output.suffix, uncertain_first=uncertain_first
        ),
    )
    click.echo(f"{len(labelled.texts):,} rows labelled: {output}")
    click.echo(unlabelled.sentence(labelled, 0 if known is None else len(known)))


@app.command()
@click.argument("predictions", nargs=-1, required=True)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the bootstrap.")
@_ABSTAIN
@_JSON
def evaluate(
    predictions: tuple[str, ...], seed: int, abstain_below: float | None, as_json: bool
) -> None:
    """Judge predictions tables again: no model is loaded.

    Each of PREDICTIONS is a predictions.parquet, or NAME=FILE, of pollice or any other system.
    """
    from pollice.judging import judge_tables

    tables = [_named_table(text) for text in predictions]
    check_distinct([name for name, _ in tables], "the command", "FILE")
    _show(judge_tables(dict(tables), seed, abstain_below), as_json=as_json)


def _named_table(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if separator:
        return name, Path(path)
    file = Path(text)
    return (file.parent.name if file.name == "predictions.parquet" else file.stem) or text, file


@app.command()
@click.argument("source")
@_reading
@_JSON
def data(source: str, as_json: bool, **given: Any) -> None:
    """Show what SOURCE holds: rows, balance, lengths, duplicates, examples."""
    from dataclasses import asdict

    from pollice.data import read_dataset
    from pollice.listings import show_summary
    from pollice.splits import summarize

    with _progress():
        summary = summarize(read_dataset(source, _read_options(given)))
    if as_json:
        click.echo(json.dumps(asdict(summary), indent=2, ensure_ascii=False))
    else:
        show_summary(source, summary)


@app.command()
@click.argument("names", nargs=-1)
@click.option("--list", "listed", is_flag=True, help="Show names, sizes and licences.")
def fetch(names: tuple[str, ...], listed: bool) -> None:
    """Fetch checkpoints and data sets into the cache before they are needed."""
    from pollice.catalogue import entries
    from pollice.listings import show_catalogue

    if listed or not names:
        show_catalogue(entries())
        return
    from pollice.models.sources import prefetch

    with _progress():
        for name in names:
            prefetch(name)


@app.command()
@click.argument("name", required=False)
def methods(name: str | None) -> None:
    """Show the methods, or all options of the method NAME with their defaults."""
    from pollice.listings import show_method, show_methods

    if name is None:
        show_methods()
    else:
        show_method(name)
