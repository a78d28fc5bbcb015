"""Label scores -> probabilities: the calibration ladder, and the training rows it learns from.

Knows nothing about models: what scores the labels is a function.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import softmax
from sklearn.mixture import GaussianMixture

from pollice.data.dataset import Dataset
from pollice.errors import PromptError
from pollice.models.linear_head import LinearHead, fit_head
from pollice.predictions.predictor import Scores
from pollice.system.progress import stage

Step = Literal["raw", "batch", "platt", "probe"]
"""A step of the calibration ladder."""

FloatArray = NDArray[np.float64]

BATCH_TEXTS = 8
PLATT_LABELS = 16
PROBE_LABELS = 64

_CHUNK_ROWS = 64
_GROUP_TEXTS = 100  # fewer do not show two groups
_RARE = 0.4  # a share above it is taken for a half
_BETTER = 2.0  # of Akaike's criterion: less is no evidence (Burnham and Anderson 2002, p. 70)
_ARRAYS = "calibration.safetensors"
_SETTINGS = "calibration.json"


@dataclass(frozen=True, kw_only=True)
class LabelScores:
    """What a model says of some texts, before calibration."""

    log_probabilities: NDArray[np.float64]
    """``(texts, questions, labels)``; the probabilities of a question's labels sum to 1."""
    hidden: NDArray[np.float32]
    """``(texts, questions, width)``: the state that each answer is read from; a width of 0: none,
    and then no probe is learned."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What turns label scores into probabilities, learned before any test row is seen."""

    step: Step = "raw"
    """The step that makes the predictor's own probabilities; the others are variants."""
    shift: FloatArray | None = None
    """``(questions, labels)``: batch calibration (arXiv 2309.17249), from unlabelled texts."""
    rarer: float | None = None
    """The share of the rarer of two groups of texts, where the shift is the middle of both."""
    heads: Mapping[str, LinearHead] = field(default_factory=dict)
    """The steps learned from labels: ``platt`` on label scores, ``probe`` on hidden states."""
    labels: int = 0
    """The labelled texts that every head was learned from."""
    texts: int = 0
    """The unlabelled texts that the shift was learned from."""

    @property
    def facts(self) -> dict[str, Any]:
        """The step that decides, and how many labels and texts the learned steps rest on."""
        free = ["raw", *(["batch"] if self.shift is not None else [])]
        return {
            "calibration": self.step,
            "calibration_labels": dict.fromkeys(free, 0) | dict.fromkeys(self.heads, self.labels),
            "calibration_texts": self.texts,
            **({} if self.rarer is None else {"calibration_rarer_share": round(self.rarer, 3)}),
        }

    def probabilities(self, scores: LabelScores) -> dict[str, FloatArray]:
        """Return ``(texts, labels)`` for every step that has been learned."""
        log_probabilities = scores.log_probabilities
        steps = {"raw": _averaged(log_probabilities)}
        if self.shift is not None:
            steps["batch"] = _averaged(log_probabilities - self.shift)
        for name, head in self.heads.items():
            steps[name] = head.predict_proba(_FEATURES[name](scores))
        return steps

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
        arrays = {
            f"{name}.{part}": array
            for name, head in self.heads.items()
            for part, array in head.arrays().items()
        }
        if self.shift is not None:
            arrays["shift"] = self.shift
        save_file(arrays, folder / _ARRAYS)
        content = {
            "step": self.step,
            "labels": self.labels,
            "texts": self.texts,
            "rarer": self.rarer,
        }
        (folder / _SETTINGS).write_text(json.dumps(content, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        parts: dict[str, dict[str, FloatArray]] = {name: {} for name in ("shift", *_FEATURES)}
        for key, array in load_file(folder / _ARRAYS).items():
            name, _, part = key.partition(".")
            parts[name][part] = array
        shift = parts.pop("shift").get("")
        heads = {name: LinearHead.from_arrays(arrays) for name, arrays in parts.items() if arrays}
        content: dict[str, Any] = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        return cls(shift=shift, heads=heads, **content)


def _averaged(log_probabilities: FloatArray) -> FloatArray:
    """Average the questions' log-probabilities, and normalize over the labels."""
    probabilities: FloatArray = softmax(log_probabilities.mean(axis=1), axis=-1)
    return probabilities


def _log_odds(scores: LabelScores) -> FloatArray:
    """Return each question's log-odds against the first label, ``(texts, features)``."""
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
) -> Calibration:
    """Learn every step that the rows allow; ``auto`` takes the last of the ladder.

    Raises:
        PromptError: the step needs more labels, or more texts, than there are.
    """
    needed = {"platt": PLATT_LABELS, "probe": PROBE_LABELS}
    if step in needed and len(labels) < needed[step]:
        raise PromptError(
            f"calibration='{step}' needs {needed[step]} labelled rows or more, but labels is "
            f"{len(labels)}. Raise labels, or use calibration='batch', which needs none."
        )
    texts = len(unlabelled.log_probabilities)
    if step == "batch" and texts < BATCH_TEXTS:
        raise PromptError(
            f"calibration='batch' needs {BATCH_TEXTS} different training texts or more besides the "
            f"labelled rows, but found {texts}. Raise calibration_texts, or use fewer labelled "
            "rows."
        )
    features = {name: _FEATURES[name](labelled) for name in needed if len(labels) >= needed[name]}
    heads = {
        name: fit_head(table, labels, label_names)
        for name, table in features.items()
        if table.shape[1]
    }
    shift, rarer = None, None
    if texts >= BATCH_TEXTS:
        shift, rarer = _shift(unlabelled.log_probabilities)
    learned: list[Step] = ["raw", *(["batch"] if shift is not None else []), *heads]  # type: ignore[list-item]  # the keys of heads are steps
    return Calibration(
        step=learned[-1] if step == "auto" else step,
        shift=shift,
        rarer=rarer,
        heads=heads,
        labels=len(labels),
        texts=texts,
    )


def _shift(log_probabilities: FloatArray) -> tuple[FloatArray, float | None]:
    """Return where the labels are equally likely, and the rarer group's share if it counted.

    The mean over all texts, as in the paper, lies between two labels only where they are about
    equally common: of 90 % positive texts it calls every other one negative. But where a model
    tells the labels well apart, their texts are two groups in its log-odds. If a mixture of two
    Gaussians of one width explains them better than one does (by Akaike's criterion), and one group
    is clearly rarer, the mean of the groups' means takes the place of the mean of the texts.
    docs/prompting.md says what that is worth.
    """
    mean = log_probabilities.mean(axis=0)
    texts, _, labels = log_probabilities.shape
    odds = np.diff(log_probabilities, axis=2).mean(axis=1)
    if labels != 2 or texts < _GROUP_TEXTS or np.ptp(odds) == 0:
        return mean, None
    one, two = (
        GaussianMixture(
            groups, covariance_type="tied", tol=1e-6, max_iter=5000, random_state=0
        ).fit(odds)
        for groups in (1, 2)
    )
    rarer = float(two.weights_.min())
    if rarer > _RARE or two.aic(odds) + _BETTER > one.aic(odds):
        return mean, None
    members = two.predict_proba(odds)
    groups = np.einsum("tg,tql->gql", members, log_probabilities)
    groups /= members.sum(axis=0)[:, None, None]
    return groups.mean(axis=0), rarer


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
) -> Calibration:
    """Score the drawn rows, and calibrate on their scores; a repeated text counts once."""
    texts = tuple(dict.fromkeys(rows.unlabelled))
    total = len(rows.labelled) + len(texts)
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
    labels, label_names = rows.labelled.labels, rows.labelled.label_names
    return calibrate(step, unlabelled, labelled, labels, label_names)
