"""A learned step of the ladder says of each text what the labels of the known texts say."""

import numpy as np
import pytest

from pollice.models.calibrating import calibrate
from pollice.models.calibration import Calibration, LabelScores

NAMES = {2: ("pos", "neg"), 3: ("mixed", "pos", "neg")}  # not in the order of the alphabet


def nothing(labels: int) -> LabelScores:
    """Return the scores of no text."""
    return LabelScores(
        log_probabilities=np.zeros((0, 2, labels)), hidden=np.zeros((0, 2, 5), np.float32)
    )


def scores(codes: list[int], labels: int, seed: int) -> LabelScores:
    """Two questions lean to each text's label, weakly and all of them to the first one."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 0.3, (len(codes), 2, labels))
    logits[np.arange(len(codes)), :, codes] += 1.0
    logits[:, :, 0] += 3.0
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    hidden = draw.normal(0, 0.3, (len(codes), 2, 5))
    hidden[np.arange(len(codes)), :, codes] += 1.0
    return LabelScores(log_probabilities=log_probabilities, hidden=hidden.astype(np.float32))


def learned(labels: int) -> Calibration:
    """Calibrate on 96 texts that are sorted by their labels, as a file of known rows may be."""
    codes = sorted(row % labels for row in range(96))
    known = [NAMES[labels][code] for code in codes]
    return calibrate("auto", nothing(labels), scores(codes, labels, seed=0), known, NAMES[labels])


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("step", ["platt", "probe"])
def test_what_was_learned_is_not_turned_round(step: str, labels: int) -> None:
    """New texts that lean to a label get that label, whatever the order of names and rows."""
    codes = [row % labels for row in range(60)]
    unseen = scores(codes, labels, seed=1)
    steps = learned(labels).probabilities(unseen)
    assert (steps["raw"].argmax(axis=1) == 0).all(), "the model alone always answers the first"
    assert (steps[step].argmax(axis=1) == codes).mean() > 0.9
    assert steps[step][np.arange(60), codes].mean() > 0.5


def test_unequal_shares_of_known_labels_are_kept() -> None:
    """Three quarters known to be the second label: a text that says nothing leans to it."""
    codes = [0] * 24 + [1] * 72
    known = [NAMES[2][code] for code in codes]
    calibration = calibrate("platt", nothing(2), scores(codes, 2, seed=0), known, NAMES[2])
    middle = scores(codes, 2, seed=0).log_probabilities.mean(axis=0, keepdims=True)
    says_nothing = LabelScores(log_probabilities=middle, hidden=np.zeros((1, 2, 5), np.float32))
    assert calibration.probabilities(says_nothing)["platt"][0, 1] > 0.6
