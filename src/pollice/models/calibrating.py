"""The calibration ladder is learned: from texts without labels, and from labels where they help.

Knows nothing about models: what scores the labels is a function.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pollice.errors import PromptError
from pollice.models.calibration import (
    Calibration,
    FloatArray,
    LabelMeaning,
    LabelScores,
    Step,
    hidden_states,
)
from pollice.models.centring import (
    REFERENCE_TEXTS,
    Centre,
    find_centre,
    find_reference,
    find_unit,
)
from pollice.models.doubts import Leaning, doubts_of_answers
from pollice.models.drawn_rows import DrawnRows
from pollice.models.ladder import Choice, Learn, choose_step, codes_of
from pollice.models.linear_head import fit_head
from pollice.models.opinion_direction import OpinionDirection, find_direction
from pollice.models.ordered_steps import default_steps, fit_steps
from pollice.models.row_weights import weights_of
from pollice.models.scaled_scores import fit_scaling
from pollice.models.shares import all_shares, biases_for
from pollice.system.progress import in_chunks, stage

BATCH_TEXTS = 8
PLATT_LABELS = 16
PROBE_LABELS = 64

_CHUNK_ROWS = 64


def calibrate(
    step: Literal[Step, "auto"],
    unlabelled: LabelScores,
    labelled: LabelScores,
    labels: Sequence[str],
    label_names: Sequence[str],
    *,
    meaning: LabelMeaning | None = None,
    references: LabelScores | None = None,
) -> Calibration:
    """Learn every step that the rows allow; ``auto`` takes the last that is clearly better.

    Args:
        step: The step that decides.
        unlabelled: Of texts without labels.
        labelled: Of texts with labels.
        labels: Theirs.
        label_names: The order of the columns.
        meaning: What is known of the labels.
        references: Of `REFERENCE_TEXTS`, where the labels are steps of a scale.

    Raises:
        PromptError: the step needs more labels, or more texts, than there are.
    """
    known = meaning or LabelMeaning()
    texts = len(unlabelled.log_probabilities)
    free, lean = _calibrate_freely(unlabelled, label_names, known, references)
    _check_rows(step, free, len(labels), texts)
    codes = codes_of(labels, label_names)
    learned = {name: _LEARN[name] for name, rows in _NEEDED.items() if len(labels) >= rows}
    # A last axis of length 0 says that no hidden states were kept: nothing can be probed.
    if not labelled.hidden.shape[-1]:
        learned.pop("probe", None)
    base: Step = "batch" if free.shift is not None else "raw"
    present = free.probabilities(labelled)[base]
    rows = _LabelledRows(
        scores=labelled,
        codes=codes,
        weights=weights_of(present, free.probabilities(unlabelled)[base]),
        label_names=label_names,
    )
    # Learned on all labelled rows; the cross-validation below only chooses, and learns anew.
    everything = free
    for learn in learned.values():
        everything = learn(everything, rows)
    choice = Choice(step=step, reason="")
    if step == "auto":
        choice = _choose(free, (base, present), learned, rows)
    chosen: Any = choice.step
    done = replace(everything, step=chosen, reason=choice.reason, labels=len(labels), texts=texts)
    if known.prior:
        done = _with_shares(done, unlabelled, known.prior, label_names)
    doubts: tuple[str, ...] = ()
    if not known.prior:
        ends = () if known.scale is None else (known.scale.names[0], known.scale.names[-1])
        found = done.probabilities(unlabelled)
        doubts = doubts_of_answers(found, chosen, label_names, Leaning(lean=lean, ends=ends))
    return replace(done, warnings=(*known.warnings, *doubts), purpose=known.purpose)


def _check_rows(step: str, free: Calibration, labels: int, texts: int) -> None:
    if step in _NEEDED and labels < _NEEDED[step]:
        raise PromptError(
            f"calibration='{step}' needs {_NEEDED[step]} labelled rows or more, but labels is "
            f"{labels}. Raise labels, or use calibration='batch', which needs none."
        )
    if step == "batch" and free.shift is None:
        raise PromptError(
            f"calibration='batch' needs {BATCH_TEXTS} different training texts or more besides the "
            f"labelled rows, but found {texts}. Raise calibration_texts, or use fewer labelled "
            "rows."
        )


def _calibrate_freely(
    unlabelled: LabelScores,
    label_names: Sequence[str],
    known: LabelMeaning,
    references: LabelScores | None,
) -> tuple[Calibration, float | None]:
    """Return what needs no labels, and how far the texts lean to the bad pole, see `Centre`."""
    log_probabilities, flipped = unlabelled.log_probabilities, False
    reference, direction, unit, steps = None, None, 1.0, None
    if known.scale is not None:
        flipped = len(label_names) == 2 and known.scale.names[0] == label_names[1]
        if references is not None:
            reference = find_reference(_flipped(references.log_probabilities, flipped))
        if len(label_names) > 2:
            steps = default_steps(known.scale, label_names)
    if len(log_probabilities) >= BATCH_TEXTS:
        if reference is not None and references is not None:
            direction = _find_direction(references, unlabelled, flipped)
        if direction is not None:
            log_probabilities = direction.mixed(log_probabilities, unlabelled.hidden)
        centre = find_centre(_flipped(log_probabilities, flipped), reference)
    elif reference is not None and references is not None:
        # As many bad as good sentences: their mean is balanced. Flipped, as it is flipped back.
        centre = Centre(shift=_flipped(references.log_probabilities.mean(axis=0), flipped))
    else:
        return Calibration(steps=steps), None
    if steps is not None:
        unit = find_unit(log_probabilities - centre.shift, reference)
    calibration = Calibration(
        shift=_flipped(centre.shift, flipped),
        direction=direction,
        rarer=centre.rarer,
        moved=centre.moved,
        steps=steps,
        unit=unit,
    )
    return calibration, centre.lean


def _find_direction(
    references: LabelScores, unlabelled: LabelScores, flipped: bool
) -> OpinionDirection | None:
    log_probabilities = _flipped(unlabelled.log_probabilities, flipped)
    found = find_direction(references.hidden, log_probabilities, unlabelled.hidden)
    return found.turned() if found is not None and flipped else found


def _flipped(table: FloatArray, flipped: bool) -> FloatArray:
    return np.ascontiguousarray(table[..., ::-1]) if flipped else table


@dataclass(frozen=True, kw_only=True)
class _LabelledRows:
    """What the later steps are learned from."""

    scores: LabelScores
    codes: NDArray[np.int64]
    """The column of each row's label, ``(rows,)``."""
    weights: FloatArray
    """How often each row counts, ``(rows,)``."""
    label_names: Sequence[str]

    def take(self, rows: NDArray[np.int64]) -> "_LabelledRows":
        return replace(
            self,
            scores=self.scores.take(rows),
            codes=self.codes[rows],
            weights=self.weights[rows],
        )


def _learn_platt(known: Calibration, rows: _LabelledRows) -> Calibration:
    compared = known.compared(rows.scores)
    if known.steps is not None:
        fitted = fit_steps(known.steps, compared, rows.codes, rows.weights)
        return replace(known, fitted=fitted)
    centred = known.shift is not None
    fitted_scaling = fit_scaling(compared, rows.codes, rows.weights, centred=centred)
    return replace(known, fitted=fitted_scaling)


def _learn_probe(known: Calibration, rows: _LabelledRows) -> Calibration:
    # Without the weights: they decide whether the probe is taken, not what it learns.
    labels = [rows.label_names[code] for code in rows.codes]
    head = fit_head(hidden_states(rows.scores), labels, rows.label_names)
    return replace(known, heads={**known.heads, "probe": head})


_LEARN = {"platt": _learn_platt, "probe": _learn_probe}
_NEEDED = {"platt": PLATT_LABELS, "probe": PROBE_LABELS}


def _choose(
    free: Calibration,
    present: tuple[str, FloatArray],
    learned: Collection[str],
    rows: _LabelledRows,
) -> Choice:
    """Return the last learned step that cross-validation on the labelled rows finds better."""
    tried = [name for name in learned if name not in _unfit(rows.weights)]
    later = {name: _judge_others(name, free, rows) for name in tried}
    choice = choose_step(present, later, rows.codes, weights=rows.weights)
    if len(tried) == len(learned):
        return choice
    return replace(choice, reason=f"{choice.reason}; {_NOT_PROBED}")


_BY_CHANCE = 4.0
"""The square of two standard errors: rows drawn at random are seldom more one-sided."""
_NOT_PROBED = (
    "probe was not tried, since many of the labelled rows are uncertain ones: what it learns from "
    "them can harm the others"
)


def _unfit(weights: FloatArray) -> tuple[str, ...]:
    """Return the steps that rows with weights must not lead to: nothing holds ``probe``.

    With 100 rows as `pollice label` recommends them, 3 of 30 draws of film snippets took it and
    lost up to 5.2 points, though cross-validation on these rows said that it helps.
    """
    # How far the share of uncertain rows is from a half, in standard errors, squared.
    distance = len(weights) * float(weights.var())
    return ("probe",) if distance > _BY_CHANCE else ()


def _judge_others(step: str, free: Calibration, rows: _LabelledRows) -> Learn:
    """Return what learns a step on some of the labelled rows and judges others."""

    def judged(train: NDArray[np.int64], others: NDArray[np.int64]) -> FloatArray:
        # From `free`: what all labelled rows taught would include the rows that are judged here.
        learned = _LEARN[step](free, rows.take(train))
        return learned.probabilities(rows.scores.take(others))[step]

    return judged


def _with_shares(
    done: Calibration,
    unlabelled: LabelScores,
    prior: Mapping[str, float],
    label_names: Sequence[str],
) -> Calibration:
    texts = len(unlabelled.log_probabilities)
    if texts < BATCH_TEXTS:
        raise PromptError(
            f"Expected {BATCH_TEXTS} different texts or more to give the labels the shares that "
            f"prior states, but found {texts}. Raise calibration_texts, or leave prior out."
        )
    shares = all_shares(prior, label_names)
    found = done.probabilities(unlabelled)
    return replace(done, biases={name: biases_for(table, shares) for name, table in found.items()})


def learn_calibration(
    step: Literal[Step, "auto"],
    rows: DrawnRows,
    label_scores: Callable[[Sequence[str]], LabelScores],
    meaning: LabelMeaning | None = None,
) -> Calibration:
    """Score the drawn rows, and calibrate on their scores; a repeated text counts once.

    Where the labels are steps of a scale, reference sentences are scored too.
    """
    texts = tuple(dict.fromkeys(rows.unlabelled))
    known = meaning or LabelMeaning()
    sentences = REFERENCE_TEXTS if known.scale is not None else ()
    total = len(rows.labelled) + len(texts) + len(sentences)
    with stage("calibrating", total=total) as advance:

        def scored(texts: Sequence[str]) -> LabelScores:
            chunks = in_chunks(texts, advance, size=_CHUNK_ROWS)
            # np.concatenate refuses an empty list; a call without texts gives arrays of 0 rows.
            parts = [label_scores(chunk) for chunk in chunks] or [label_scores(())]
            return LabelScores(
                log_probabilities=np.concatenate([part.log_probabilities for part in parts]),
                hidden=np.concatenate([part.hidden for part in parts]),
            )

        labelled = scored(rows.labelled.texts)
        unlabelled = scored(texts)
        references = scored(sentences) if sentences else None
    return calibrate(
        step,
        unlabelled,
        labelled,
        rows.labelled.labels,
        rows.labelled.label_names,
        meaning=known,
        references=references,
    )
