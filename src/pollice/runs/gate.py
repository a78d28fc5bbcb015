"""The gate: whether another form of a predictor judges as the predictor does, and how fast it is.

Knows nothing about how a form is made.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from pollice.judging.metrics import evaluate
from pollice.models.exported.classifier import ExportedClassifier
from pollice.predictions.predict import predict
from pollice.predictions.predictor import Predictor
from pollice.predictions.table import Predictions

MOST_DIFFERENCE = 1e-4
"""How far a probability of a form in float32 may be from that of the model in float32."""
LEAST_SAME_LABELS = 0.99
MOST_ACCURACY_LOST = 0.005
MOST_ECE_ADDED = 0.01

_BATCH_ROWS = (1, 2, 7)
_LENGTHS = (12, 100)
_NEIGHBOURED = 64
"""How many texts are judged alone and in batches of others."""
_NEIGHBOURS = (3, 8, 32)
_TIMED_SECONDS = 20.0
_ROUNDS = 3

FloatArray = NDArray[np.float64]
JudgeBatch = Callable[[Sequence[Sequence[int]]], FloatArray]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the gate found of a form."""

    rows: int
    """The validation rows that were judged."""
    largest_difference: float
    """Of a probability from that of the model in float32, in batches of 1, 2 and 7 and two
    lengths."""
    same_labels: float
    """The share of validation rows with the same label as before."""
    neighboured: int
    """The texts that were judged alone and in batches."""
    moved_labels: int
    """Those of which the label depends on the other texts of the batch."""
    largest_move: float
    """Of a probability by the other texts of the batch."""
    accuracy_before: float | None = None
    accuracy: float | None = None
    ece_before: float | None = None
    ece: float | None = None


def judge_form(
    form: ExportedClassifier, model: JudgeBatch, before: Predictions, texts: Sequence[str]
) -> Figures:
    """Return the figures of a form.

    Args:
        form: The exported predictor.
        model: The same model in float32 under PyTorch.
        before: What the predictor says of the validation texts, with labels where there are any.
        texts: The validation texts.
    """
    tokens = form.read(texts).tokens
    after = predict(form, texts, gold=before.gold, description="judging by the form")
    judged = [evaluate(each) if each.gold is not None else None for each in (before, after)]
    accuracies = [None if each is None else each.accuracy for each in judged]
    errors = [None if each is None else each.expected_calibration_error for each in judged]
    moved, largest = judge_neighbours(form.judge_batch, tokens[:_NEIGHBOURED])
    return Figures(
        rows=len(texts),
        largest_difference=_largest_difference(form, model, tokens),
        same_labels=float((before.answers == after.answers).mean()),
        neighboured=min(len(tokens), _NEIGHBOURED),
        moved_labels=moved,
        largest_move=largest,
        accuracy_before=accuracies[0],
        accuracy=accuracies[1],
        ece_before=errors[0],
        ece=errors[1],
    )


def judge_neighbours(judge: JudgeBatch, tokens: Sequence[Sequence[int]]) -> tuple[int, float]:
    """Return how many labels, and how far a probability, depend on the other texts of a batch.

    Every piece is judged alone, then in batches of 3, 8 and 32 that were drawn at random.
    """
    alone = np.concatenate([judge([row]) for row in tokens])
    moved = np.zeros(len(tokens), np.bool_)
    largest = 0.0
    chance = np.random.default_rng(0)
    for size in _NEIGHBOURS:
        order = chance.permutation(len(tokens))
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            found = judge([tokens[row] for row in rows])
            moved[rows] |= found.argmax(axis=1) != alone[rows].argmax(axis=1)
            largest = max(largest, float(np.abs(found - alone[rows]).max()))
    return int(moved.sum()), largest


def _largest_difference(
    form: ExportedClassifier, model: JudgeBatch, tokens: Sequence[Sequence[int]]
) -> float:
    """Compare rows of tokens of the validation texts; the last row of a batch is shorter."""
    frame = form.settings.frame
    words = [token for row in tokens for token in row[len(frame.lead) : -len(frame.trail) or None]]
    words = words or [form.settings.pad]
    largest = 0.0
    for longest in _LENGTHS:
        length = min(longest, frame.room)
        for rows in _BATCH_ROWS:
            batch = []
            for row in range(rows):
                kept = length if row < rows - 1 or rows == 1 else 1 + length // 2
                start = row * length
                inner = [words[(start + place) % len(words)] for place in range(kept)]
                batch.append([*frame.lead, *inner, *frame.trail])
            difference = np.abs(form.judge_batch(batch) - model(batch)).max()
            # Of nan and a number, max() keeps whichever comes first.
            largest = float(np.maximum(largest, difference))
    return largest


def refusals(figures: Figures, *, quantized: bool) -> list[str]:
    """Return why a form is refused, each as a clause with its figure; empty: it is accepted."""
    found = []
    # Each is written so that nan is refused too.
    if not quantized and not figures.largest_difference <= MOST_DIFFERENCE:
        found.append(
            f"a probability differs by {figures.largest_difference:.2g} "
            f"(at most {MOST_DIFFERENCE:g})"
        )
    if quantized and not figures.same_labels >= LEAST_SAME_LABELS:
        found.append(
            f"{figures.same_labels:.1%} of {figures.rows:,} labels are the same "
            f"(at least {LEAST_SAME_LABELS:.0%})"
        )
    if figures.moved_labels:
        found.append(
            f"{figures.moved_labels} of {figures.neighboured} texts get another label in a batch "
            f"than alone (none may; a probability moves by up to {figures.largest_move:.2g})"
        )
    if quantized and figures.accuracy is not None and figures.accuracy_before is not None:
        lost = figures.accuracy_before - figures.accuracy
        if not lost <= MOST_ACCURACY_LOST + 1e-9:
            found.append(
                f"the accuracy falls from {figures.accuracy_before:.3f} to {figures.accuracy:.3f} "
                "(by at most 0.005)"
            )
    if quantized and figures.ece is not None and figures.ece_before is not None:
        added = figures.ece - figures.ece_before
        if not added <= MOST_ECE_ADDED + 1e-9:
            found.append(
                f"the calibration error rises from {figures.ece_before:.3f} to {figures.ece:.3f} "
                "(by at most 0.01)"
            )
    return found


def measure_rates(
    predictors: Mapping[str, Predictor], texts: Sequence[str], *, rounds: int = _ROUNDS
) -> dict[str, float]:
    """Return the texts a second of each predictor: the median of rounds in which all take turns."""
    sample = list(texts)
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    for turn in range(rounds + 1):
        for name, predictor in predictors.items():
            begun = perf_counter()
            predictor.score(sample)
            taken = perf_counter() - begun
            if turn == 0:  # runtimes prepare themselves at each new shape: it is not counted
                most = max(32, int(len(sample) * _TIMED_SECONDS / rounds / max(taken, 1e-9)))
                sample = sample[:most] if most < len(sample) else sample
                continue
            seconds[name].append(taken)
    return {name: len(sample) / median(taken) for name, taken in seconds.items()}
