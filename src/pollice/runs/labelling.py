"""Labels for texts that have none: by a prompt, and in the order in which a hand should check.

Knows nothing about splits and comparisons: there are no test rows here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pollice.data.dataset import Dataset, TextTable
from pollice.errors import DataError, OptionError
from pollice.methods import create_method
from pollice.methods.prompt import Prompt
from pollice.models.calibration import BATCH_TEXTS, PLATT_LABELS, DrawnRows
from pollice.predictions.files import write_rows
from pollice.predictions.predict import predict
from pollice.predictions.table import Predictions


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Texts with the labels that a prompt gave them."""

    predictions: Predictions
    texts: tuple[str, ...]
    facts: dict[str, Any]
    """What the calibration took: its step, labels and texts."""

    @property
    def uncertain_first(self) -> NDArray[np.int64]:
        """Row numbers, those whose two best labels are closest in probability first."""
        best = np.sort(self.predictions.probabilities, axis=1)
        return np.argsort(best[:, -1] - best[:, -2], kind="stable")


def label_names_of(text: str) -> tuple[str, ...]:
    """Read ``negative,positive``.

    Raises:
        OptionError: fewer than two labels, an empty one, or one twice.
    """
    names = tuple(name.strip() for name in text.split(","))
    if len(names) < 2 or not all(names) or len(set(names)) < len(names):
        raise OptionError(
            f"Expected two different labels or more, such as --labels negative,positive, but found "
            f"{text!r}."
        )
    return names


def label_texts(
    table: TextTable,
    label_names: tuple[str, ...],
    options: Mapping[str, Any],
    known: Dataset | None = None,
) -> Labelled:
    """Label every text; ``known`` rows, labelled by hand, calibrate where they are enough.

    Without them, or with fewer than 16, the shift of batch calibration comes from the texts.
    ``options`` are those of the method `prompt`.

    Raises:
        OptionError: an unknown option of the prompt, one out of range, or one that needs training
            rows.
        DataError: a known label is none of ``label_names``.
    """
    prompt = cast(Prompt, create_method("prompt", options))
    for option in ("shots", "labels", "order_draws"):
        if getattr(prompt, option):
            raise OptionError(
                f"Expected no prompt.{option} here, since there are no training rows to draw from, "
                f"but found {getattr(prompt, option)}. Leave it out: what is known calibrates."
            )
    labelled = _none(label_names) if known is None else known
    foreign = sorted(set(labelled.labels).difference(label_names))
    if foreign:
        raise DataError(
            f"Expected the labels {', '.join(label_names)} in the known rows, but found "
            f"{foreign[0]!r}. Name it in --labels, or mend the row."
        )
    labelled = replace(labelled, label_names=label_names)
    draw = np.random.default_rng(prompt.seed).permutation(len(table))[: prompt.calibration_texts]
    rows = DrawnRows(
        shown=_none(label_names),
        labelled=labelled,
        unlabelled=tuple(table.texts[row] for row in draw),
    )
    predictor = prompt.build(label_names, rows)
    return Labelled(
        predictions=predict(predictor, table.texts, ids=table.ids, description="labelling"),
        texts=table.texts,
        facts=dict(predictor.facts),
    )


def _none(label_names: tuple[str, ...]) -> Dataset:
    return Dataset(ids=(), texts=(), labels=(), label_names=label_names)


def sentence(labelled: Labelled, known: int) -> str:
    """Return how the labels were calibrated, and what would make them better."""
    step = labelled.facts["calibration"]
    if known >= PLATT_LABELS:
        return f"Calibrated on {known} known labels ({step})."
    more = PLATT_LABELS - known
    how = "Calibrated without labels (batch)"
    if step == "raw":
        how = f"Not calibrated: that takes {BATCH_TEXTS} different texts or more"
    return (
        f"{how}. Check the first rows in the order of uncertain_first "
        f"by hand: from {more} more known labels on, --known FILE calibrates on them."
    )


def write_labelled(labelled: Labelled, path: Path, suffix: str, *, uncertain_first: bool) -> None:
    """Write id, text, label, probabilities and the place in the uncertain-first order."""
    predictions = labelled.predictions
    order = labelled.uncertain_first
    columns = [f"probability:{name}" for name in predictions.label_names]
    place = {int(row): number for number, row in enumerate(order, start=1)}
    rows: list[dict[str, Any]] = [
        {
            "id": row_id,
            "text": text,
            "label": label,
            **dict(zip(columns, (round(float(value), 6) for value in values), strict=True)),
            "uncertain_first": place[number],
        }
        for number, (row_id, text, label, values) in enumerate(
            zip(
                predictions.ids,
                labelled.texts,
                predictions.predicted,
                predictions.probabilities,
                strict=True,
            )
        )
    ]
    if uncertain_first:
        rows.sort(key=itemgetter("uncertain_first"))
    write_rows(rows, ["id", "text", "label", *columns, "uncertain_first"], path, suffix)
