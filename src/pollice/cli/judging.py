"""The commands that answer for texts: predict and label.

Knows nothing about how a model judges a text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pollice.cli.early_checks import check_checkpoint, check_source
from pollice.cli.ending import stopped_after
from pollice.cli.options import ABSTAIN, OUTPUT, RAW_CELLS, SET, reading
from pollice.cli.progress_bars import waiting, working
from pollice.cli.settings import options_of, read_fields, read_options
from pollice.errors import counted

if TYPE_CHECKING:
    from pollice.predictions.table import Predictions


@click.command()
@click.argument("predictor", type=click.Path(path_type=Path))
@click.argument("file")
@OUTPUT
@RAW_CELLS
@ABSTAIN
@reading
def predict(
    predictor: Path, file: str, output: Path, abstain_below: float | None, **given: Any
) -> None:
    """Judge every text of FILE with a saved PREDICTOR, and write labels and probabilities.

    FILE is read as the texts that PREDICTOR learned from: the same column, cleaned alike. If
    --abstain-below leaves a row without an answer, its label stays empty, and its probabilities
    are written. An empty text has neither. A Parquet table holds only probabilities.
    """
    from pollice.judging.metrics import abstain, check_threshold
    from pollice.predictions.files import check_output, check_room, write_predictions
    from pollice.predictions.predict import predict as predict_texts
    from pollice.runs.new_texts import compare_known, read_new_texts
    from pollice.runs.predictors import load_predictor
    from pollice.system.folders import read_manifest, write_atomically

    check_output(output, file)
    check_threshold(abstain_below)
    folder = _predictor_folder(predictor)
    read_manifest(folder)  # before the texts, which may be many: a wrong name is told at once
    with working():
        table = read_new_texts(folder, file, read_fields(given))

    def write(judged: "Predictions", path: Path) -> tuple[str | None, ...]:
        labels = abstain(judged, abstain_below).predicted
        raw = given["raw_cells"]
        write_atomically(
            path,
            lambda file: write_predictions(judged, file, output.suffix, labels, raw_cells=raw),
        )
        return labels

    def keep(judged: "Predictions", stop: KeyboardInterrupt) -> None:
        part = output.with_name(f"{output.stem}.part{output.suffix}")
        write(judged, part)
        raise stopped_after(stop, len(judged), len(table), part) from stop

    with waiting("loading the predictor"):
        loaded = load_predictor(folder)
    check_room(output, table.ids, loaded.label_names)
    with working():
        predictions = predict_texts(
            loaded, table.texts, ids=table.ids, gold=table.gold, if_stopped=keep
        )
    labels = write(predictions, output)
    cut = predictions.cut_rows or 0
    empty = sum(not text for text in table.texts)
    left = labels.count(None) - empty
    unsure = "" if abstain_below is None else f"{left:,} left without a label, "
    judged = counted(len(predictions) - empty, "row")
    click.echo(f"{judged} judged, {unsure}{cut:,} of them cut to fit: {output}")
    _say_unread(table.texts, predictions.tokens.tolist())
    _say_empty(table.texts)
    compared = compare_known(predictions, labels)
    if compared is not None:
        click.echo(compared)


def _say_unread(texts: Sequence[str], tokens: Sequence[int]) -> None:
    """Say of how many texts, besides empty ones, the predictor knows nothing."""
    unread = sum(bool(text) and not known for text, known in zip(texts, tokens, strict=True))
    if unread:
        click.echo(
            f"The predictor knows nothing of what is in {unread:,} of these texts: their labels "
            "rest on nothing."
        )


def _say_empty(texts: Sequence[str]) -> None:
    """Warn of rows without a text: the output has a line for them, without a label."""
    empty = sum(not text for text in texts)
    if empty:
        rows = counted(empty, "row has", "rows have")
        click.echo(f"Warning: {rows} no text, so the label there is empty.")


def _predictor_folder(folder: Path) -> Path:
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
    """
    _check_names(file, output, given)
    with waiting("loading the method prompt"):
        from pollice.runs import labelling
    from pollice.data.reading import read_dataset, read_texts
    from pollice.predictions.files import check_room
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
    with working():
        labelled = labelling.label_texts(table, label_names, options, known)
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
