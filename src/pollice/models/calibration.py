"""Label scores -> probabilities: the calibration ladder, and the training rows it learns from.

Knows nothing about models: what scores the labels is a function.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import log_softmax, softmax

from pollice.data.dataset import Dataset
from pollice.data.scales import Scale
from pollice.errors import PromptError
from pollice.models.centring import (
    REFERENCE_TEXTS,
    Centre,
    find_centre,
    find_reference,
    find_unit,
)
from pollice.models.doubts import doubts_of_answers
from pollice.models.ladder import Choice, Learn, choose_step, codes_of
from pollice.models.linear_head import LinearHead, fit_head
from pollice.models.ordered_steps import OrderedSteps, default_steps, fit_steps
from pollice.models.scaled_scores import ScaledScores, fit_scaling
from pollice.models.shares import all_shares, biases_for, with_bias
from pollice.predictions.predictor import Scores
from pollice.system.progress import stage

Step = Literal["raw", "batch", "platt", "probe"]
"""A step of the calibration ladder."""

FloatArray = NDArray[np.float64]

BATCH_TEXTS = 8
PLATT_LABELS = 16
PROBE_LABELS = 64

_CHUNK_ROWS = 64
_ARRAYS = "calibration.safetensors"
_SETTINGS = "calibration.json"
_PLAIN = ("step", "labels", "texts", "rarer", "moved", "unit", "reason", "warnings")
_LEARNED = ("shift", "platt", "probe", "steps", "fitted", "bias")


@dataclass(frozen=True, kw_only=True)
class LabelScores:
    """What a model says of some texts, before calibration."""

    log_probabilities: NDArray[np.float64]
    """``(texts, questions, labels)``; the probabilities of a question's labels sum to 1."""
    hidden: NDArray[np.float32]
    """``(texts, questions, width)``: the state that each answer is read from; a width of 0: none,
    and then no probe is learned."""

    def take(self, rows: NDArray[np.int64]) -> "LabelScores":
        """Return the scores of some texts."""
        return LabelScores(log_probabilities=self.log_probabilities[rows], hidden=self.hidden[rows])


@dataclass(frozen=True, kw_only=True)
class LabelMeaning:
    """What is known of the labels before any text is scored."""

    scale: Scale | None = None
    """The scale that they name, where the two poles, the worst first, are what is scored."""
    prior: Mapping[str, float] = field(default_factory=dict)
    """The shares of the labels that a user expects; empty: nothing is expected."""
    warnings: tuple[str, ...] = ()
    """What makes the answers doubtful whatever the texts are, each a sentence."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What turns label scores into probabilities, learned before any test row is seen."""

    step: Step = "raw"
    """The step that makes the predictor's own probabilities; the others are variants."""
    shift: FloatArray | None = None
    """``(questions, labels)``: batch calibration (arXiv 2309.17249), from unlabelled texts."""
    rarer: float | None = None
    """The share of the rarer of two groups of texts, where the shift is the middle of both."""
    moved: float = 0.0
    """By how much reference sentences moved the middle of the texts, in log-odds."""
    heads: Mapping[str, LinearHead] = field(default_factory=dict)
    """``probe``, learned on hidden states; ``platt`` on label scores in folders of before."""
    steps: OrderedSteps | None = None
    """The thresholds of a scale of three steps or more, before any label is seen."""
    unit: float = 1.0
    """The score that counts as 1 on the scale of `steps`."""
    fitted: OrderedSteps | ScaledScores | None = None
    """The step ``platt``."""
    biases: Mapping[str, FloatArray] = field(default_factory=dict)
    """For each step what gives the labels the shares that a user expects, ``(labels,)``."""
    labels: int = 0
    """The labelled texts that every later step was learned from."""
    texts: int = 0
    """The unlabelled texts that the shift was learned from."""
    reason: str = ""
    """Why this step was taken, where labelled texts decided it."""
    warnings: tuple[str, ...] = ()
    """What makes the answers doubtful, each a sentence."""

    @property
    def facts(self) -> dict[str, Any]:
        """The step that decides, and how many labels and texts the learned steps rest on."""
        free = ["raw", *(["batch"] if self.shift is not None else [])]
        learned = [*(["platt"] if self.fitted is not None else []), *self.heads]
        asked = self.fitted if self.step == "platt" else self.steps
        return {
            "calibration": self.step,
            "calibration_labels": dict.fromkeys(free, 0) | dict.fromkeys(learned, self.labels),
            "calibration_texts": self.texts,
            **({} if self.rarer is None else {"calibration_rarer_share": round(self.rarer, 3)}),
            **({} if not self.moved else {"calibration_moved": round(self.moved, 3)}),
            **({"calibration_reason": self.reason} if self.reason else {}),
            **({"thresholds": asked.said()} if isinstance(asked, OrderedSteps) else {}),
            **({"warnings": list(self.warnings)} if self.warnings else {}),
        }

    def probabilities(self, scores: LabelScores) -> dict[str, FloatArray]:
        """Return ``(texts, labels)`` for every step that has been learned."""
        found = self._unbiased(scores)
        return {
            name: with_bias(table, self.biases[name]) if name in self.biases else table
            for name, table in found.items()
        }

    def _unbiased(self, scores: LabelScores) -> dict[str, FloatArray]:
        log_probabilities = scores.log_probabilities
        steps = {"raw": self._judged(log_probabilities)}
        if self.shift is not None:
            steps["batch"] = self._judged(log_probabilities - self.shift)
        if self.fitted is not None:
            steps["platt"] = self.fitted.probabilities(self.compared(scores))
        for name, head in self.heads.items():
            steps[name] = head.predict_proba(_FEATURES[name](scores))
        return steps

    def _judged(self, log_probabilities: FloatArray) -> FloatArray:
        if self.steps is None:
            return _averaged(log_probabilities)
        return self.steps.probabilities(_polarity(log_probabilities) / self.unit)

    def compared(self, scores: LabelScores) -> FloatArray:
        """Return what ``platt`` learns from: ``(texts,)`` of a scale, else ``(texts, labels)``."""
        shifted = scores.log_probabilities
        if self.shift is not None:
            shifted = shifted - self.shift
        if self.steps is not None:
            return _polarity(shifted) / self.unit
        averaged: FloatArray = log_softmax(shifted.mean(axis=1), axis=-1)
        return averaged

    def judge(self, scores: LabelScores, lengths: Sequence[int], max_tokens: int) -> Scores:
        """Return what the deciding step says, every step as a variant, and what was read.

        Args:
            scores: What the model says of the texts.
            lengths: The tokens of each text before it was cut.
            max_tokens: Where the texts were cut.
        """
        steps = self.probabilities(scores)
        return Scores(
            probabilities=steps[self.step],
            tokens=np.minimum(np.array(lengths, np.int64), max_tokens),
            truncated=np.array(lengths, np.int64) > max_tokens,
            variants=steps,
        )

    def save(self, folder: Path) -> None:
        """Write what was learned into an existing folder, beside the predictor's own files."""
        learned: dict[str, Mapping[str, FloatArray]] = {
            **{name: head.arrays() for name, head in self.heads.items()},
            **({} if self.steps is None else {"steps": self.steps.arrays()}),
            **({} if self.fitted is None else {"fitted": self.fitted.arrays()}),
            **({} if not self.biases else {"bias": self.biases}),
        }
        arrays = {
            f"{name}.{part}": array
            for name, parts in learned.items()
            for part, array in parts.items()
        }
        if self.shift is not None:
            arrays["shift"] = self.shift
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / _ARRAYS
        )
        content = {name: getattr(self, name) for name in _PLAIN}
        (folder / _SETTINGS).write_text(json.dumps(content, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, now or in an earlier version."""
        parts: dict[str, dict[str, FloatArray]] = {name: {} for name in _LEARNED}
        for key, array in load_file(folder / _ARRAYS).items():
            name, _, part = key.partition(".")
            parts[name][part] = array
        content: dict[str, Any] = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        content["warnings"] = tuple(content.get("warnings", ()))
        heads = {name: parts[name] for name in _FEATURES if parts[name]}
        return cls(
            shift=parts["shift"].get(""),
            heads={name: LinearHead.from_arrays(arrays) for name, arrays in heads.items()},
            steps=OrderedSteps.from_arrays(parts["steps"]) if parts["steps"] else None,
            fitted=_read_fitted(parts["fitted"]),
            biases=parts["bias"],
            **content,
        )


def _read_fitted(arrays: Mapping[str, FloatArray]) -> OrderedSteps | ScaledScores | None:
    if not arrays:
        return None
    kind = OrderedSteps if "thresholds" in arrays else ScaledScores
    return kind.from_arrays(arrays)


def _polarity(log_probabilities: FloatArray) -> FloatArray:
    """Return the good pole's log-odds, averaged over the questions, ``(texts,)``."""
    polarity: FloatArray = np.diff(log_probabilities, axis=2)[..., 0].mean(axis=1)
    return polarity


def _averaged(log_probabilities: FloatArray) -> FloatArray:
    """Average the questions' log-probabilities, and normalize over the labels."""
    probabilities: FloatArray = softmax(log_probabilities.mean(axis=1), axis=-1)
    return probabilities


def _log_odds(scores: LabelScores) -> FloatArray:
    """Return each question's log-odds against the first label, ``(texts, features)``.

    What ``platt`` was learned on in folders of before.
    """
    log_probabilities = scores.log_probabilities
    odds = log_probabilities[:, :, 1:] - log_probabilities[:, :, :1]
    return odds.reshape(len(odds), np.prod(odds.shape[1:]))


def _hidden(scores: LabelScores) -> FloatArray:
    hidden = scores.hidden
    return hidden.reshape(len(hidden), np.prod(hidden.shape[1:])).astype(np.float64)


_FEATURES = {"platt": _log_odds, "probe": _hidden}


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
    free = _calibrate_freely(unlabelled, label_names, known, references)
    _check_rows(step, free, len(labels), texts)
    codes = codes_of(labels, label_names)
    learned = {name: _LEARN[name] for name, rows in _NEEDED.items() if len(labels) >= rows}
    if not labelled.hidden.shape[-1]:
        learned.pop("probe", None)
    everything = free
    for learn in learned.values():
        everything = learn(everything, labelled, codes, label_names)
    base: Step = "batch" if free.shift is not None else "raw"
    choice = Choice(step=step, reason="")
    if step == "auto":
        choice = choose_step(
            (base, free.probabilities(labelled)[base]),
            {name: _judge_others(name, free, labelled, codes, label_names) for name in learned},
            codes,
        )
    chosen: Any = choice.step
    done = replace(everything, step=chosen, reason=choice.reason, labels=len(labels), texts=texts)
    if known.prior:
        done = _with_shares(done, unlabelled, known.prior, label_names)
    doubts = doubts_of_answers(done.probabilities(unlabelled), chosen, label_names, known.prior)
    return replace(done, warnings=(*known.warnings, *doubts))


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
) -> Calibration:
    """Return what needs no labels: the shift, and the default thresholds of a scale."""
    log_probabilities, flipped = unlabelled.log_probabilities, False
    reference, unit, steps = None, 1.0, None
    if known.scale is not None:
        flipped = len(label_names) == 2 and known.scale.names[0] == label_names[1]
        if references is not None:
            reference = find_reference(_flipped(references.log_probabilities, flipped))
        if len(label_names) > 2:
            steps = default_steps(known.scale, label_names)
    if len(log_probabilities) >= BATCH_TEXTS:
        centre = find_centre(_flipped(log_probabilities, flipped), reference)
    elif reference is not None and references is not None:
        centre = Centre(shift=_flipped(references.log_probabilities.mean(axis=0), flipped))
    else:
        return Calibration(steps=steps)
    if steps is not None:
        unit = find_unit(log_probabilities - centre.shift, reference)
    return Calibration(
        shift=_flipped(centre.shift, flipped),
        rarer=centre.rarer,
        moved=centre.moved,
        steps=steps,
        unit=unit,
    )


def _flipped(table: FloatArray, flipped: bool) -> FloatArray:
    return np.ascontiguousarray(table[..., ::-1]) if flipped else table


def _learn_platt(
    known: Calibration, scores: LabelScores, codes: NDArray[np.int64], label_names: Sequence[str]
) -> Calibration:
    compared = known.compared(scores)
    if known.steps is not None:
        return replace(known, fitted=fit_steps(known.steps, compared, codes))
    return replace(known, fitted=fit_scaling(compared, codes))


def _learn_probe(
    known: Calibration, scores: LabelScores, codes: NDArray[np.int64], label_names: Sequence[str]
) -> Calibration:
    labels = [label_names[code] for code in codes]
    head = fit_head(_hidden(scores), labels, label_names)
    return replace(known, heads={**known.heads, "probe": head})


_LEARN = {"platt": _learn_platt, "probe": _learn_probe}
_NEEDED = {"platt": PLATT_LABELS, "probe": PROBE_LABELS}


def _judge_others(
    step: str,
    free: Calibration,
    labelled: LabelScores,
    codes: NDArray[np.int64],
    label_names: Sequence[str],
) -> Learn:
    """Return what learns a step on some of the labelled rows and judges others."""

    def judged(train: NDArray[np.int64], others: NDArray[np.int64]) -> FloatArray:
        learned = _LEARN[step](free, labelled.take(train), codes[train], label_names)
        return learned.probabilities(labelled.take(others))[step]

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


@dataclass(frozen=True, kw_only=True)
class DrawnRows:
    """Training rows for a few-label method; no row is drawn twice."""

    shown: Dataset
    """Rows to be shown as examples."""
    labelled: Dataset
    """Rows to calibrate with."""
    unlabelled: tuple[str, ...]
    """Texts to calibrate with, without their labels."""


def draw_rows(
    train: Dataset, *, shown: int, labelled: int, unlabelled: int, seed: int
) -> DrawnRows:
    """Draw rows, those with labels balanced over the labels; of texts as many as are left."""
    order = [int(row) for row in np.random.default_rng(seed).permutation(len(train))]
    examples = _balanced(order, train, shown)
    order = _without(order, examples)
    calibrating = _balanced(order, train, labelled)
    rest = _without(order, calibrating)
    return DrawnRows(
        shown=train.take(examples),
        labelled=train.take(calibrating),
        unlabelled=train.take(rest[:unlabelled]).texts,
    )


def _balanced(order: Sequence[int], train: Dataset, rows: int) -> list[int]:
    """Take rows in order, each time of a label that has been taken least so far."""
    waiting: dict[str, list[int]] = {name: [] for name in train.label_names}
    for row in order:
        waiting[train.labels[row]].append(row)
    taken: list[int] = []
    while len(taken) < rows:
        for queue in waiting.values():
            if queue and len(taken) < rows:
                taken.append(queue.pop(0))
    return sorted(taken, key=order.index)


def _without(order: Sequence[int], taken: Sequence[int]) -> list[int]:
    gone = set(taken)
    return [row for row in order if row not in gone]


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
            parts = []
            for start in range(0, max(1, len(texts)), _CHUNK_ROWS):
                chunk = texts[start : start + _CHUNK_ROWS]
                parts.append(label_scores(chunk))
                advance(len(chunk))
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
