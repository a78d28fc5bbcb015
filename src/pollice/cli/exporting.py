"""The command that brings a predictor into another form, or to the Hub: export.

Knows nothing about how a form is made and judged.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pollice.cli.early_checks import check_source
from pollice.cli.options import reading
from pollice.cli.settings import read_options
from pollice.cli.work import waiting, working
from pollice.models.exported.forms import AUTO, FORMATS

if TYPE_CHECKING:
    from pollice.runs.exporting import Exported


@click.command()
@click.argument("predictor", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default=AUTO,
    show_default=True,
    help="The form; auto: the fastest here that the gate accepts.",
)
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="The new predictor's folder.",
)
@click.option("--overwrite", is_flag=True, help="Replace a predictor that is there.")
@click.option("--texts", help="Texts, best with labels, to judge by [default: those of its run].")
@click.option("--push-to-hub", metavar="OWNER/NAME", help="Upload it too, to a private repository.")
@reading
def export(
    predictor: Path,
    format_name: str,
    output: Path,
    overwrite: bool,
    texts: str | None,
    push_to_hub: str | None,
    **given: Any,
) -> None:
    """Bring a PREDICTOR into another form, and keep it only if it judges as the predictor does.

    Encoders (features, finetune, trainer) become graphs of ONNX Runtime or OpenVINO, in float32 or
    in 8 bits, which need no PyTorch. lora becomes merged: plain weights without an adapter. same
    is a copy as it is. Every form is loaded again in a new process and judged before it is kept.
    """
    from pollice.cli.judging import predictor_folder
    from pollice.runs import exporting
    from pollice.system.folders import read_manifest

    folder = predictor_folder(predictor)
    label_names = read_manifest(folder).get("label_names", ())
    exporting.check_format(folder, format_name)
    exporting.check_place(folder, output, overwrite=overwrite)
    if texts is not None:
        check_source(texts)
    if push_to_hub is not None:
        from pollice.catalogue.hub import reserve_repository

        reserve_repository(push_to_hub)
    from pollice.runs.export_texts import texts_of_file, texts_of_run

    with waiting("reading the texts"):
        shown = (
            texts_of_run(folder)
            if texts is None
            else texts_of_file(texts, read_options(given), label_names)
        )
    with working():
        exported = exporting.export_predictor(folder, output, shown, format_name=format_name)
    _say(exported, shown.said)
    if push_to_hub is not None:
        from pollice.catalogue.hub import upload_folder

        with waiting(f"uploading to {push_to_hub}"):
            upload_folder(output, push_to_hub)
        click.echo(f"Uploaded: {push_to_hub}")


def _say(exported: "Exported", judged_on: str) -> None:
    """Print what was kept, its figures, and why other forms were not."""
    from pollice.system.folders import MEGABYTE

    figures = exported.figures
    for reason in exported.refused.values():
        click.echo(f"Refused: {reason}")
    if figures is not None:
        click.echo(
            f"Judged on {judged_on}: {figures.same_labels:.1%} of the labels are the same; in "
            f"float32 terms a probability differs by up to {figures.largest_difference:.1g}; "
            f"{figures.moved_labels} of {figures.neighboured} texts depend on their batch."
        )
        if figures.accuracy is not None and figures.accuracy_before is not None:
            click.echo(
                f"Accuracy {figures.accuracy_before:.3f} before and {figures.accuracy:.3f} after; "
                f"calibration error {figures.ece_before:.3f} and {figures.ece:.3f}."
            )
    for name, rate in sorted(exported.rates.items(), key=lambda one: -one[1]):
        click.echo(f"{rate:,.0f} texts a second: {name}")
    if exported.rates and max(exported.rates.values()) > exported.rates[exported.form]:
        click.echo("Nothing is gained in speed on this machine: the predictor itself is faster.")
    size = exported.bytes / MEGABYTE
    click.echo(
        f"Exported as {exported.form}, {size:,.1f} MB, judged again afresh: {exported.folder}"
    )
