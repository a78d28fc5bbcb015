"""The commands that answer for texts: predict and label.

Knows nothing about how a model judges a text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pollice.cli.early_checks import check_checkpoint, check_source
from pollice.cli.ending import stopped_in_parts
from pollice.cli.options import ABSTAIN, OUTPUT, RAW_CELLS, SET, reading
from pollice.cli.settings import options_of, read_fields, read_options
from pollice.cli.work import waiting, working
from pollice.errors import counted

if TYPE_CHECKING:
    from pollice.predictions.answers import Tally


@click.command()
@click.argument("predictor", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--output", "-o", required=True, help=".csv, .tsv, .jsonl, .parquet or .xlsx; - for the output."
)
@click.option(
    "--format",
    "suffix",
    type=click.Choice(["csv", "tsv", "jsonl"]),
    help="The format on standard output [default: that of FILES, else csv].",
)
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Judge in this process, or on the Ray cluster at RAY_ADDRESS.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Of --engine ray [default: one for each GPU, else what the CPUs have room for].",
)
@RAW_CELLS
@ABSTAIN
@reading
def predict(predictor: Path, files: tuple[str, ...], output: str, **given: Any) -> None:
    """Judge every row of FILES with a saved PREDICTOR, and write it with its answer.

    FILES are tables of any size, a folder of tables, or - for standard input, and are read as the
    texts that PREDICTOR learned from: the same column, cleaned alike. All columns are kept, and
    label, probability, probability:LABEL, tokens, truncated and status added. If --abstain-below
    leaves a row without an answer, its label stays empty, and its probabilities are written. An
    empty text and a row that cannot be read have neither; their status says why.

    A command that was stopped or killed goes on after its last finished part when it is given
    again, and its output is the same.
    """
    from pollice.runs.streaming import STANDARD, StreamOptions, check_stream_output, predict_files
    from pollice.system.folders import read_manifest

    options = StreamOptions(
        abstain_below=given["abstain_below"],
        raw_cells=given["raw_cells"],
        overwrite=given["overwrite"],
        format=f".{given['suffix']}" if given["suffix"] else None,
        engine=given["engine"],
        workers=given["workers"],
    )
    check_stream_output(output, files, options)
    folder = predictor_folder(predictor)
    read_manifest(folder)  # before the texts, which may be many: a wrong name is told at once
    try:
        with working():
            tally = predict_files(folder, files, output, options, read_fields(given))
    except KeyboardInterrupt as stop:
        raise stopped_in_parts(stop, Path(f"{output}.parts")) from stop
    _say_counts(tally, output, unsure=options.abstain_below is not None, err=output == STANDARD)


def _say_counts(tally: "Tally", output: str, *, unsure: bool, err: bool) -> None:
    """Say how many rows were judged, and of which not."""
    from pollice.runs.new_texts import say_known

    left = f"{tally.unsure:,} left without a label, " if unsure else ""
    judged = counted(tally.judged, "row")
    click.echo(f"{judged} judged, {left}{tally.cut:,} of them cut to fit: {output}", err=err)
    if tally.unread:
        click.echo(
            f"The predictor knows nothing of what is in {tally.unread:,} of these texts: their "
            "labels rest on nothing.",
            err=err,
        )
    if tally.empty:
        rows = counted(tally.empty, "row has", "rows have")
        click.echo(f"Warning: {rows} no text, so the label there is empty.", err=err)
    if tally.bad:
        rows = counted(tally.bad, "row is", "rows are")
        click.echo(
            f"Warning: {rows} not judged, as the column status says, such as: "
            f"{tally.first_problem}.",
            err=err,
        )
    if tally.known:
        said = say_known(
            tally.known,
            right=tally.known_right,
            silent=tally.known_silent,
            others=tally.rows - tally.known,
        )
        click.echo(said, err=err)


def _say_empty(texts: Sequence[str]) -> None:
    """Warn of rows without a text: the output has a line for them, without a label."""
    empty = sum(not text for text in texts)
    if empty:
        rows = counted(empty, "row has", "rows have")
        click.echo(f"Warning: {rows} no text, so the label there is empty.")


def predictor_folder(folder: Path) -> Path:
    """Return the predictor's folder, also if the method's folder is given."""
    from pollice.runs.folder import MethodFolder

    inner = MethodFolder(folder).predictor
    return inner if inner.is_dir() else folder


@click.command()
@click.argument("file")
@click.option("--labels", "names", required=True, help="As negative,positive.")
@click.option("--model", default="gemma-3-270m", show_default=True, help="The checkpoint.")
@click.option("--template", help="A prompt with {text} that ends just before the label.")
@click.option("--describe", "descriptions", multiple=True, help="LABEL=MEANING; repeatable.")
@click.option("--expect", "shares", multiple=True, help="LABEL=SHARE, as positive=0.9; repeatable.")
@click.option("--known", help="A file of texts labelled by hand, for calibration.")
@click.option("--known-text-column", help="Its column of texts, if it differs from FILE's.")
@click.option("--uncertain-first", is_flag=True, help="Write the most uncertain rows first.")
@click.option("--fast", is_flag=True, help="Let a student of the model label most rows.")
@click.option(
    "--fast-texts",
    type=click.IntRange(100),
    default=3000,
    show_default=True,
    help="The texts that the student learns from.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Decides the calibrating texts.")
@SET
@OUTPUT
@RAW_CELLS
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
    For many rows, --fast lets the model judge 3,000 texts, and a student that learns from them the
    others, about a hundred times as fast; it says how well the two agree.
    """
    _check_names(file, output, given)
    with waiting("loading the method prompt"):
        from pollice.runs import labelling
    from pollice.data.reading import read_dataset, read_texts
    from pollice.predictions.files import check_room
    from pollice.runs.fast_labelling import LARGE
    from pollice.system.folders import write_atomically

    label_names = labelling.label_names_of(names)
    options = {"checkpoint": given["model"], "seed": given["seed"], "template": given["template"]}
    options |= labelling.meaning_of(given["descriptions"], given["shares"])
    options |= options_of("prompt", given["settings"])
    reading = read_options(given)
    column = given["known_text_column"] or reading.text_column
    known_reading = replace(reading, text_column=column)
    known = None
    with working():
        if given["known"]:
            known = read_dataset(given["known"], known_reading, known=label_names)
        table = read_texts(file, labelling.without_labels(reading))
    check_room(output, table.ids, label_names, table.texts)
    if len(table) > LARGE and not given["fast"]:
        _offer_student(len(table), given["fast_texts"])
    with working():
        labelled = labelling.label_texts(
            table,
            label_names,
            options,
            known,
            fast_texts=given["fast_texts"] if given["fast"] else None,
        )
    write_atomically(
        output,
        lambda path: labelling.write_labelled(
            labelled,
            path,
            output.suffix,
            uncertain_first=uncertain_first,
            raw_cells=given["raw_cells"],
        ),
    )
    click.echo(f"{counted(len(labelled.texts), 'row')} labelled: {output}")
    _say_empty(labelled.texts)
    for line in labelling.notes(labelled, 0 if known is None else len(known)):
        click.echo(line)


def _offer_student(rows: int, texts: int) -> None:
    click.echo(
        f"{rows:,} rows may take long: with --fast the model judges {texts:,} texts, and a student "
        "that learns from them the others.",
        err=True,
    )


def _check_names(file: str, output: Path, given: Mapping[str, Any]) -> None:
    """Refuse wrong names at once: what labels texts takes seconds to import."""
    from pollice.methods import check_declared_options
    from pollice.predictions.files import check_output

    sources = [file, *([given["known"]] if given["known"] else [])]
    check_output(output, *sources)
    for source in sources:
        check_source(source)
    settings = options_of("prompt", given["settings"])
    check_declared_options("prompt", settings)
    check_checkpoint(str(settings.get("checkpoint", given["model"])))
