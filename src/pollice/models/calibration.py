"""Label scores -> probabilities: the calibration ladder.

Knows nothing about models: what scores the labels is a function.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.special import log_softmax, softmax

from pollice.data.scales import Scale
from pollice.models.linear_head import LinearHead
from pollice.models.opinion_direction import OpinionDirection
from pollice.models.ordered_steps import OrderedSteps
from pollice.models.scaled_scores import ScaledScores
from pollice.models.shares import with_bias
from pollice.predictions.predictor import Scores
from pollice.predictions.saved_files import damaged, read_saved_arrays, read_saved_json

Step = Literal["raw", "batch", "platt", "probe"]
"""A step of the calibration ladder."""

FloatArray = NDArray[np.float64]

_ARRAYS = "calibration.safetensors"
_SETTINGS = "calibration.json"
_PLAIN = ("step", "labels", "texts", "rarer", "moved", "unit", "reason", "warnings", "purpose")
_LEARNED = ("shift", "platt", "probe", "steps", "fitted", "bias", "direction")


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
    purpose: str = ""
    """Which questions are asked, and whether they are made for these labels, as a sentence."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What turns label scores into probabilities, learned before any test row is seen."""

    step: Step = "raw"
    """The step that makes the predictor's own probabilities; the others are variants."""
    shift: FloatArray | None = None
    """``(questions, labels)``: batch calibration (arXiv 2309.17249), from unlabelled texts."""
    direction: OpinionDirection | None = None
    """What hidden states add to the log-odds of two poles, before they are shifted."""
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
    purpose: str = ""
    """Which questions were asked, and whether they are made for these labels, as a sentence."""

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
            **(
                {}
                if self.direction is None
                else {"opinion_direction_agreement": round(self.direction.agreement, 3)}
            ),
            **({"calibration_reason": self.reason} if self.reason else {}),
            **({"thresholds": asked.said()} if isinstance(asked, OrderedSteps) else {}),
            **({"asked_for": self.purpose} if self.purpose else {}),
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
        steps = {"raw": self._judged(scores.log_probabilities)}
        if self.shift is not None:
            steps["batch"] = self._judged(self._mixed(scores) - self.shift)
        if self.fitted is not None:
            steps["platt"] = self.fitted.probabilities(self.compared(scores))
        for name, head in self.heads.items():
            if name == "probe" and not scores.hidden.shape[-1]:
                continue  # nothing was read that it could judge
            steps[name] = head.predict_proba(_FEATURES[name](scores))
        return steps

    def _mixed(self, scores: LabelScores) -> FloatArray:
        if self.direction is None or not scores.hidden.shape[-1]:
            return scores.log_probabilities
        return self.direction.mixed(scores.log_probabilities, scores.hidden)

    def _judged(self, log_probabilities: FloatArray) -> FloatArray:
        if self.steps is None:
            return _averaged(log_probabilities)
        return self.steps.probabilities(_polarity(log_probabilities) / self.unit)

    def compared(self, scores: LabelScores) -> FloatArray:
        """Return what ``platt`` learns from: ``(texts,)`` of a scale, else ``(texts, labels)``."""
        shifted = self._mixed(scores)
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
            **({} if self.direction is None else {"direction": self.direction.arrays()}),
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
        for key, array in read_saved_arrays(folder / _ARRAYS).items():
            name, _, part = key.partition(".")
            parts.setdefault(name, {})[part] = array
        content = read_saved_json(folder / _SETTINGS)
        content["warnings"] = tuple(content.get("warnings", ()))
        heads = {name: parts[name] for name in _FEATURES if parts[name]}
        return cls(
            shift=parts["shift"].get(""),
            heads={name: LinearHead.from_arrays(arrays) for name, arrays in heads.items()},
            steps=OrderedSteps.from_arrays(parts["steps"]) if parts["steps"] else None,
            fitted=_read_fitted(parts["fitted"]),
            direction=(
                OpinionDirection.from_arrays(parts["direction"]) if parts["direction"] else None
            ),
            biases=parts["bias"],
            **content,
        )

    def check_shape(self, folder: Path, *, questions: int, asked: int, labels: int) -> None:
        """Refuse what was read from a folder and is for other questions or labels.

        Args:
            folder: Where it was read from.
            questions: How many are asked.
            asked: How many answers each has: the labels, or the poles of their scale.
            labels: How many the probabilities are of.

        Raises:
            RunError: it gives no probability for each label, or the step that decides is missing.
        """
        width = self.heads["probe"].mean.size // questions if "probe" in self.heads else 0
        even = LabelScores(
            log_probabilities=np.full((1, questions, asked), -np.log(max(asked, 1))),
            hidden=np.zeros((1, questions, width), np.float32),
        )
        try:
            found = self.probabilities(even)[self.step]
            # One number for all labels would be spread over them without a word.
            shift = even.log_probabilities[0] if self.shift is None else self.shift
        except (KeyError, IndexError, TypeError, ValueError):
            found = shift = np.zeros(0)
        fits = shift.shape == (questions, asked) and found.shape == (1, labels)
        if not fits or not np.isfinite(found).all():
            raise damaged(
                folder / _ARRAYS,
                f"a calibration of {labels} labels and {questions} questions",
                "it cannot be used as one",
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


def hidden_states(scores: LabelScores) -> FloatArray:
    """Return what ``probe`` learns from, ``(texts, questions x width)``."""
    hidden = scores.hidden
    return hidden.reshape(len(hidden), np.prod(hidden.shape[1:])).astype(np.float64)


_FEATURES = {"platt": _log_odds, "probe": hidden_states}
