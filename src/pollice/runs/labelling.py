"""Labels for texts that have none: a prompt gives them, and says which to check by hand.

Knows nothing about splits and comparisons: there are no test rows here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pollice.data.columns import NO_COLUMN, USUAL, ReadOptions
from pollice.data.dataset import Dataset, TextTable
from pollice.errors import DataError, OptionError, counted
from pollice.methods import create_method
from pollice.methods.prompt import Prompt
from pollice.models.calibrating import BATCH_TEXTS, PLATT_LABELS
from pollice.models.drawn_rows import DrawnRows
from pollice.predictions.files import write_rows
from pollice.predictions.predict import predict
from pollice.predictions.table import Predictions

_SHOWN = 200
"""So many characters of the first text are printed."""
_CHECKED = 20
"""So many rows are named for checking by hand: half of them random, half uncertain."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Texts with labels that a prompt or a person gave."""

    predictions: Predictions
    texts: tuple[str, ...]
    facts: dict[str, Any]
    """What was asked, what the calibration took, and the warnings."""
    by_hand: Mapping[int, str] = field(default_factory=dict)
    """The label of each row whose text is known."""
    seed: int = 0

    @property
    def labels(self) -> tuple[str | None, ...]:
        """The label of each row: the one given by hand, if any."""
        predicted = self.predictions.predicted
        return tuple(self.by_hand.get(row, label) for row, label in enumerate(predicted))

    def given_by(self, row: int) -> str:
        """Return who gave a row its label: ``hand``, ``prompt``, or nobody for an empty text."""
        if row in self.by_hand:
            return "hand"
        return "prompt" if self.texts[row] else ""

    @property
    def uncertain_first(self) -> NDArray[np.int64]:
        """Row numbers; first the rows whose two best labels are closest in probability."""
        best = np.sort(self.predictions.probabilities, axis=1)
        return np.argsort(best[:, -1] - best[:, -2], kind="stable")

    @property
    def to_check(self) -> dict[int, str]:
        """The rows to check by hand, each with the reason: ``random`` or ``uncertain``.

        Uncertain rows help to separate the labels; random rows show how common labels are.
        """
        order = np.random.default_rng(self.seed).permutation(len(self.texts))
        # Before the uncertain rows are taken: without those, the random rows would be too easy,
        # and would show wrong shares of the labels.
        # Of a few rows only half may be random: else none would be left to be uncertain.
        skipped = {row for row, text in enumerate(self.texts) if not text} | self.by_hand.keys()
        unknown = len(self.texts) - len(skipped)
        random = min(_CHECKED // 2, (unknown + 1) // 2)
        drawn = [int(row) for row in order if row not in skipped][:random]
        taken = {*drawn, *skipped}
        unsure = [int(row) for row in self.uncertain_first if row not in taken][: _CHECKED // 2]
        return dict.fromkeys(drawn, "random") | dict.fromkeys(unsure, "uncertain")


def without_labels(reading: ReadOptions) -> ReadOptions:
    """Return the options for the texts to be labelled: those of labels are for known rows."""
    return replace(
        USUAL,
        text_column=reading.text_column,
        label_column=NO_COLUMN,
        id_column=reading.id_column,
        keep_html=reading.keep_html,
        encoding=reading.encoding,
        column_names=reading.column_names,
    )


def label_names_of(text: str) -> tuple[str, ...]:
    """Read ``negative,positive``.

    Raises:
        OptionError: fewer than two labels, an empty one, or one twice.
    """
    names = tuple(name.strip() for name in text.split(","))
    twice = next((name for name in names if names.count(name) > 1), None)
    # In "a,," the empty name comes twice, but that it is empty is the better reason (below).
    if all(names) and twice is not None:
        raise OptionError(
            f"Expected every label once in --labels, but {text!r} names {twice!r} twice. Leave "
            "one out."
        )
    if len(names) < 2 or not all(names):
        raise OptionError(
            f"Expected two different labels or more, such as --labels negative,positive, but found "
            f"{text!r}."
        )
    return names


def meaning_of(descriptions: Sequence[str], shares: Sequence[str]) -> dict[str, Any]:
    """Turn ``label=what it means`` and ``label=0.9`` into options of the method `prompt`.

    Raises:
        OptionError: an ``=`` is missing, or a share is not a number.
    """
    options: dict[str, Any] = {}
    if descriptions:
        options["descriptions"] = dict(
            _pair(text, "--describe", "MEANING") for text in descriptions
        )
    if shares:
        options["prior"] = {
            label: _share(text, label)
            for label, text in (_pair(text, "--expect", "SHARE") for text in shares)
        }
    return options


def _pair(text: str, option: str, meant: str) -> tuple[str, str]:
    label, separator, value = text.partition("=")
    if not (separator and label.strip() and value.strip()):
        raise OptionError(f"Expected {option} LABEL={meant}, but found {text!r}.")
    return label.strip(), value.strip()


def _share(text: str, label: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise OptionError(
            f"Expected a share between 0 and 1 in --expect, such as {label}=0.9, but found "
            f"{text!r}."
        ) from None


def label_texts(
    table: TextTable,
    label_names: tuple[str, ...],
    options: Mapping[str, Any],
    known: Dataset | None = None,
) -> Labelled:
    """Label every text; 16 or more ``known`` rows, labelled by hand, calibrate the prompt.

    They are used only if cross-validation on them says that it is better. A text that is among
    them keeps its label. ``options`` are those of the method `prompt`.

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
    # The order asked for decides the columns, not the order that the known rows came with.
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
        by_hand=_known_rows(table, labelled),
        seed=prompt.seed,
    )


def _known_rows(table: TextTable, known: Dataset) -> dict[int, str]:
    # A text that is known twice has its last label; only texts equal to the letter are found.
    label_of = dict(zip(known.texts, known.labels, strict=True))
    return {row: label_of[text] for row, text in enumerate(table.texts) if text in label_of}


def _none(label_names: tuple[str, ...]) -> Dataset:
    return Dataset(ids=(), texts=(), labels=(), label_names=label_names)


def notes(labelled: Labelled, known: int) -> list[str]:
    """Return lines for the user: the questions, the calibration, and the warnings."""
    return [
        labelled.facts["asked_for"],
        *_asked(labelled),
        sentence(labelled, known),
        *(f"Warning: {warning}" for warning in labelled.facts.get("warnings", ())),
    ]


def _asked(labelled: Labelled) -> list[str]:
    """Return every question as the model read it, with the first text."""
    shown = next(iter(labelled.texts), "")
    shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
    # Not str.format: a question may hold other braces, which that would refuse.
    asked = [question.replace("{text}", shown) for question in labelled.facts["asked"]]
    lines = [question.replace("\n", "\n    ") for question in asked]
    return ["Asked, of the first text; the answers' words stand in brackets:"] + [
        f"  {number}. {line}" for number, line in enumerate(lines, start=1)
    ]


def sentence(labelled: Labelled, known: int) -> str:
    """Return how the labels were calibrated, and what would improve them."""
    step = labelled.facts["calibration"]
    if known >= PLATT_LABELS:
        reason = labelled.facts.get("calibration_reason", "")
        return f"Calibrated by {step}, with {counted(known, 'known label')} at hand: {reason}."
    how = "Calibrated without labels (batch)"
    if step == "raw":
        how = f"Not calibrated: that takes {BATCH_TEXTS} different texts or more"
    rows = len(labelled.texts)
    if rows < PLATT_LABELS:
        return (
            f"{how}. The file has only {counted(rows, 'row')}: check all of them by hand, since "
            f"--known FILE learns from {PLATT_LABELS} labels on."
        )
    more = PLATT_LABELS - known
    return (
        f"{how}. Check by hand the rows that the column check names, random and uncertain ones, "
        f"and save them as a file: from {counted(more, 'more known label')} on, --known "
        "FILE learns from them where that is better."
    )


def _rounded(probability: float) -> float | None:
    """Return a probability for a file; None for an empty text, since JSON has no NaN."""
    return None if np.isnan(probability) else round(float(probability), 6)


def write_labelled(
    labelled: Labelled,
    path: Path,
    suffix: str,
    *,
    uncertain_first: bool,
    raw_cells: bool = False,
) -> None:
    """Write id, text, label, probabilities, what to check, and who gave the label."""
    predictions = labelled.predictions
    to_check = labelled.to_check
    order = labelled.uncertain_first
    columns = [f"probability:{name}" for name in predictions.label_names]
    place = {int(row): number for number, row in enumerate(order, start=1)}
    rows: list[dict[str, Any]] = [
        {
            "id": row_id,
            "text": text,
            "label": label,
            **dict(zip(columns, map(_rounded, values), strict=True)),
            "uncertain_first": place[number],
            "check": to_check.get(number, ""),
            "labelled_by": labelled.given_by(number),
        }
        for number, (row_id, text, label, values) in enumerate(
            zip(
                predictions.ids,
                labelled.texts,
                labelled.labels,
                predictions.probabilities,
                strict=True,
            )
        )
    ]
    if uncertain_first:
        rows.sort(key=itemgetter("uncertain_first"))
    last = ["uncertain_first", "check", "labelled_by"]
    names = ["id", "text", "label", *columns, *last]
    write_rows(rows, names, path, suffix, raw_cells=raw_cells)
