"""A saved predictor to another form, which is kept only if the gate accepts it.

Knows nothing about how a form is made, and nothing about the terminal.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pollice.errors import ExportError, PolliceError
from pollice.models.exported.classifier import ExportedClassifier
from pollice.models.exported.forms import (
    AUTO,
    FORMS,
    MERGED,
    SAME,
    Form,
    check_packages,
    missing_packages,
)
from pollice.predictions.predict import predict
from pollice.predictions.predictor import Predictor
from pollice.predictions.table import Predictions
from pollice.runs.export_texts import ExportTexts
from pollice.runs.gate import Figures, judge_form, measure_rates, refusals
from pollice.runs.model_card import write_card
from pollice.runs.predictors import load_predictor
from pollice.runs.rejudging import RECHECKED_TEXTS, check_afresh
from pollice.system.folders import MANIFEST, new_folder, read_manifest, write_manifest
from pollice.system.progress import stage

if TYPE_CHECKING:
    from pollice.models.exporting.graph import Exportable

_SAME_MACHINE = 1e-6
_TIMED_TEXTS = 512
_OWN = "the predictor as it is"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What came of an export."""

    folder: Path
    form: str
    bytes: int
    figures: Figures | None = None
    """What the gate found; None where the form has the same weights and the same code."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Texts a second on this machine: of the predictor as it is, and of the forms."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why the other forms were not taken, where several were tried."""


def check_format(folder: Path, format_name: str) -> None:
    """Refuse a form that the predictor's method does not have, or whose packages are missing.

    Raises:
        ExportError: there is no such form of this method; the forms that it has are said.
        OptionError: a package is missing.
    """
    manifest = read_manifest(folder, check_hashes=False)
    method, has = str(manifest.get("method")), forms_of(manifest)
    if format_name not in has:
        raise ExportError(
            f"Expected a form that the method {method} has, but it has no {format_name}. Its forms "
            f"are: {', '.join(has)}."
        )
    if format_name in FORMS:
        form = FORMS[format_name]
        check_packages(form, (*form.makers, form.runtime))


def forms_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the formats that a saved predictor can be exported to, by its manifest."""
    if manifest.get("form") is not None:
        return (SAME,)
    match manifest.get("method"):
        case "features" | "finetune" | "trainer":
            return (AUTO, *FORMS, SAME)
        case "lora":
            return (AUTO, MERGED, SAME)
    return (SAME,)


def check_place(folder: Path, output: Path, *, overwrite: bool) -> None:
    """Refuse an output that exists, or that lies in the predictor itself.

    Raises:
        ExportError: it cannot be written there.
    """
    if output.resolve().is_relative_to(folder.resolve()):
        raise ExportError(
            f"Expected an output besides the predictor, but {output} lies in {folder}. Name "
            "another folder."
        )
    is_replaceable = overwrite and (not output.exists() or (output / MANIFEST).is_file())
    if output.exists() and not is_replaceable:
        what = "another folder" if overwrite else "another folder, or add --overwrite"
        kind = "is no predictor" if overwrite else "exists"
        raise ExportError(
            f"Expected a new folder for the export, but {output} {kind}. Name {what}."
        )


def export_predictor(
    folder: Path, output: Path, texts: ExportTexts, *, format_name: str = AUTO
) -> Exported:
    """Export a saved predictor; the new folder is a predictor's like any other, or not there.

    Args:
        folder: The predictor.
        output: The new folder; what is there is replaced. See `check_place`.
        texts: What the ranges of quantized forms are measured on, and what all are judged on.
        format_name: One of `FORMATS` in `pollice.models.exported.forms`; auto: what is fastest
            here among what the gate accepts.

    Raises:
        ExportError: the method has no such form, or the gate refuses it.
        OptionError: a package is missing.
    """
    check_format(folder, format_name)
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as temporary:
        place = Path(temporary)
        manifest = read_manifest(folder)
        predictor = load_predictor(folder)
        if format_name == SAME or MERGED in forms_of(manifest):
            name = MERGED if format_name == AUTO else format_name
            exported = _export_weights(folder, place / name, predictor, texts, name)
        else:
            exported = _export_graph(folder, place, predictor, texts, format_name)
        with new_folder(output) as published:
            published.rmdir()
            (place / exported.form).rename(published)  # on the same disk: nothing is copied
        return Exported(**{**vars(exported), "folder": output})


def _export_weights(
    folder: Path, place: Path, predictor: Predictor, texts: ExportTexts, name: str
) -> Exported:
    """Export to a form that the same code reads: a copy, or merged weights."""
    from pollice.models.causal.tuned_scorer import TunedScorer

    tolerance = _SAME_MACHINE
    shown = texts.validation[:RECHECKED_TEXTS]
    expected = predictor.predict_proba(shown)
    manifest = _without_files(read_manifest(folder))
    if name == MERGED and isinstance(predictor, TunedScorer):
        tolerance = predictor.tolerance
        place.mkdir()
        predictor.merging().save(place)
        manifest["form"] = MERGED
    else:
        shutil.copytree(folder, place)
    write_card(place, manifest, folder, texts.said)
    write_manifest(place, manifest)
    check_afresh(
        place,
        shown,
        expected,
        tolerance=tolerance,
        without_torch=manifest.get("form") in FORMS,
    )
    return Exported(folder=place, form=name, bytes=_bytes_of(place))


def _export_graph(
    folder: Path, place: Path, predictor: Predictor, texts: ExportTexts, format_name: str
) -> Exported:
    """Export an encoder, and judge every form that was asked for."""
    from pollice.models.exporting.graph import open_exportable

    with stage("taking the predictor apart", 1, "steps") as advance:
        exportable = open_exportable(folder, predictor)
        advance(1)
    before = predict(
        predictor, texts.validation, gold=texts.gold, description="judging by the predictor"
    )
    forms = _tried(format_name)
    accepted: dict[str, tuple[ExportedClassifier, Figures]] = {}
    refused: dict[str, str] = {}
    for form in forms:
        try:
            accepted[form.name] = _try_form(exportable, form, place / form.name, before, texts)
        except PolliceError as error:
            if len(forms) == 1:
                raise
            refused[form.name] = str(error)
    if not accepted:
        raise ExportError(
            "Expected a form that judges as the predictor does, but none of "
            f"{', '.join(refused)} does: {' '.join(refused.values())}"
        )
    timed: dict[str, Predictor] = {name: form for name, (form, _) in accepted.items()}
    rates = measure_rates({_OWN: predictor, **timed}, texts.validation[:_TIMED_TEXTS])
    chosen = max(accepted, key=lambda name: rates[name])
    kept, figures = accepted[chosen]
    _finish(folder, place / chosen, kept, figures, texts)
    return Exported(
        folder=place / chosen,
        form=chosen,
        bytes=_bytes_of(place / chosen),
        figures=figures,
        rates=rates,
        refused=refused,
    )


def _tried(format_name: str) -> list[Form]:
    """Return the forms to try: the one that was named, or all whose packages are installed."""
    if format_name != AUTO:
        return [FORMS[format_name]]
    found = [
        form
        for form in FORMS.values()
        if not missing_packages((*form.makers, form.runtime, "tokenizers"))
    ]
    if not found:
        form = FORMS["openvino-int8"]
        check_packages(form, (*form.makers, form.runtime))
    return found


def _try_form(
    exportable: "Exportable", form: Form, folder: Path, before: Predictions, texts: ExportTexts
) -> tuple[ExportedClassifier, Figures]:
    """Make one form and judge it; where the gate refuses, try the form's next way.

    Raises:
        ExportError: the gate refuses it every way, or it could not be made.
    """
    from pollice.models.exporting.convert import ways_to_write

    refused = ""
    for way in range(ways_to_write(form)):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _write(exportable, form, folder, texts, way)
        loaded = ExportedClassifier.load(folder)
        figures = judge_form(loaded, exportable.judge_batch, before, texts.validation)
        found = refusals(figures, quantized=form.quantized)
        if not found:
            return loaded, figures
        refused = "; ".join(found)
    raise ExportError(
        f"Expected {form.name} to judge as the predictor does, but {refused}. Name another form."
    )


def _write(
    exportable: "Exportable", form: Form, folder: Path, texts: ExportTexts, way: int
) -> None:
    from pollice.models.exporting.convert import write_form

    try:
        with stage(f"exporting to {form.name}", 1, "steps") as advance:
            write_form(exportable, form, folder, texts.calibration, way=way)
            advance(1)
    # Exporters raise whatever an architecture that they do not know makes them raise.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
        raise ExportError(
            f"Expected to export to {form.name}, but its exporter cannot ({reason}). Name another "
            "form."
        ) from error


def _finish(
    folder: Path, place: Path, form: ExportedClassifier, figures: Figures, texts: ExportTexts
) -> None:
    """Write card and manifest, and judge what lies there in a process without PyTorch."""
    manifest = _without_files(read_manifest(folder, check_hashes=False))
    manifest |= {"form": form.settings.form, "gate": asdict(figures), "judged_on": texts.said}
    write_card(place, manifest, folder, texts.said)
    write_manifest(place, manifest)
    shown = texts.validation[:RECHECKED_TEXTS]
    expected = form.predict_proba(shown)
    check_afresh(place, shown, expected, tolerance=_SAME_MACHINE, without_torch=True)


def _without_files(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name != "files"}


def _bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
