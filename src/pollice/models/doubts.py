"""Warnings in words: where the answers to a prompt cannot be trusted.

Knows nothing about models; it reads label names, and the probabilities of unlabelled texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pollice.data.scales import Scale

FloatArray = NDArray[np.float64]

_MANY = 0.9  # of the texts with one label: hardly told apart, or one-sided
_MOVED = 0.2  # of the texts that calibration takes a label from: less is a matter of chance
_LEANS = 0.3  # standard deviations: of 95 % positive texts the most, of balanced ones hardly any
_FEW_TEXTS = 8
_UNEVEN = 0.85  # of the texts with one label before calibration
_UNNAMED = "yes no true false ja nein oui non si 0 1 a b c d other"


def doubts_of_labels(label_names: Sequence[str], scale: Scale | None) -> tuple[str, ...]:
    """Return what makes labels doubtful whatever the texts are."""
    if scale is not None and scale.bare_numbers:
        low, high = scale.names[0], scale.names[-1]
        return (
            f"The labels are bare numbers, so nothing says which end is the best: {low} was taken "
            f"for the worst opinion and {high} for the best. Rename them if that is wrong, or if "
            "they are no opinions at all.",
        )
    if scale is not None:
        return ()
    unnamed = [name for name in label_names if _says_nothing(name)]
    if unnamed:
        return (
            f"The labels {', '.join(unnamed)} do not say what they mean, so a question that fits "
            "every text cannot be asked. Describe them, give a template of your own, or name them "
            "after what they mean.",
        )
    return ()


def _says_nothing(name: str) -> bool:
    plain = name.strip().casefold()
    return plain in _UNNAMED.split() or not any(letter.isalpha() for letter in plain)


@dataclass(frozen=True, kw_only=True)
class Leaning:
    """What sentences of known opinion show of unlabelled texts, on a scale."""

    lean: float | None = None
    """How far the texts lean to the worst end, in standard deviations; None: it is not known."""
    ends: tuple[str, ...] = ()
    """The scale's worst and best label."""


def doubts_of_answers(
    steps: Mapping[str, FloatArray], step: str, label_names: Sequence[str], leaning: Leaning
) -> tuple[str, ...]:
    """Return what makes the answers to unlabelled texts doubtful.

    Args:
        steps: For each step of the ladder ``(texts, labels)``.
        step: The step that decides.
        label_names: The order of the columns.
        leaning: What is known of the texts' balance; else the raw answers must do.
    """
    answers = steps.get(step)
    if answers is None or len(answers) < _FEW_TEXTS:
        return ()
    found = []
    common, share = _commonest(answers, label_names)
    if share >= _MANY:
        found.append(
            f"{share:.0%} of {len(answers)} unlabelled texts got the label {common}. Either nearly "
            "all of them are, or the question does not tell these labels apart: check some by hand."
        )
    if step == "batch" and leaning.lean is not None:
        found += _doubts_of_leaning(leaning.lean, leaning.ends)
    elif step == "batch":
        found += _doubts_of_shift(steps["raw"], answers, label_names)
    return tuple(found)


def _doubts_of_leaning(lean: float, ends: tuple[str, ...]) -> list[str]:
    if abs(lean) < _LEANS:
        return []
    return [
        f"The texts look one-sided: most lean to {ends[0] if lean > 0 else ends[-1]}. Sentences of "
        "known opinion were used to allow for that, as far as they can; if you know how common the "
        "labels are, state their shares."
    ]


def _doubts_of_shift(
    raw_table: FloatArray, answers: FloatArray, label_names: Sequence[str]
) -> list[str]:
    """Compare with the answers before calibration, which has nothing else to go by."""
    common, share = _commonest(answers, label_names)
    raw, raw_share = _commonest(raw_table, label_names)
    # How common the label that led before is now, whichever label leads after calibration.
    left = float(np.mean(answers.argmax(axis=1) == label_names.index(raw)))
    if raw_share - left <= _MOVED:
        return []
    if raw != common:
        return [
            f"Before calibration {raw} was the commonest label ({raw_share:.0%} of the texts), and "
            f"after it {common} is ({share:.0%}). Calibration without labels assumes that the "
            "labels are not very unevenly common: if you know their shares, state them."
        ]
    if raw_share < _UNEVEN:
        return []
    return [
        f"Before calibration {raw_share:.0%} of the texts got the label {raw}, and after it "
        f"{share:.0%}. If most texts really are {raw}, calibration without labels is wrong, "
        "since it assumes that the labels are not very unevenly common: state their shares."
    ]


def _commonest(probabilities: FloatArray, label_names: Sequence[str]) -> tuple[str, float]:
    counts = np.bincount(probabilities.argmax(axis=1), minlength=len(label_names))
    return label_names[int(counts.argmax())], float(counts.max() / counts.sum())
