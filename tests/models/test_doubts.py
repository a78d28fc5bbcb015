"""Answers that cannot be trusted are named in words, and others are not."""

import numpy as np
import pytest

from pollice.data.scales import find_scale
from pollice.models.doubts import Leaning, doubts_of_answers, doubts_of_labels

NAMES = ("negative", "positive")


def table(positive: int, of: int = 20) -> np.ndarray:
    return np.array([[0.1, 0.9]] * positive + [[0.9, 0.1]] * (of - positive))


def test_bare_numbers_say_which_end_was_taken_for_the_best() -> None:
    (found,) = doubts_of_labels(("5", "1"), find_scale(("5", "1")))
    assert found == (
        "The labels are bare numbers, so nothing says which end is the best: 1 was taken for the "
        "worst opinion and 5 for the best. Rename them if that is wrong, or if they are no "
        "opinions at all."
    )


def test_names_that_mean_nothing_by_themselves_are_named() -> None:
    (found,) = doubts_of_labels(("yes", "no"), None)
    assert found == (
        "The labels yes, no do not say what they mean, so a question that fits every text cannot "
        "be asked. Describe them, give a template of your own, or name them after what they mean."
    )


@pytest.mark.parametrize("names", [NAMES, ("1 star", "5 stars"), ("sports", "politics")])
def test_names_that_mean_something_are_not_doubted(names: tuple[str, ...]) -> None:
    assert doubts_of_labels(names, find_scale(names)) == ()


def test_one_answer_for_nearly_all_is_doubted() -> None:
    (found,) = doubts_of_answers({"raw": table(19), "batch": table(19)}, "batch", NAMES, Leaning())
    assert found == (
        "95% of 20 unlabelled texts got the label positive. Either nearly all of them are, or the "
        "question does not tell these labels apart: check some by hand."
    )


def test_calibration_that_turns_the_commonest_label_is_doubted() -> None:
    (found,) = doubts_of_answers({"raw": table(14), "batch": table(8)}, "batch", NAMES, Leaning())
    assert found == (
        "Before calibration positive was the commonest label (70% of the texts), and after it "
        "negative is (60%). Calibration without labels assumes that the labels are not very "
        "unevenly common: if you know their shares, state them."
    )


def test_texts_that_look_one_sided_are_doubted() -> None:
    (found,) = doubts_of_answers({"raw": table(19), "batch": table(11)}, "batch", NAMES, Leaning())
    assert found == (
        "Before calibration 95% of the texts got the label positive, and after it 55%. If most "
        "texts really are positive, calibration without labels is wrong, since it assumes that the "
        "labels are not very unevenly common: state their shares."
    )


@pytest.mark.parametrize(
    ("raw", "batch", "step", "lean", "rows"),
    [
        (12, 11, "batch", None, 20),
        (19, 11, "batch", 0.1, 20),
        (14, 8, "raw", None, 20),
        (14, 8, "platt", None, 20),
        (7, 7, "batch", None, 7),
    ],
)
def test_nothing_is_doubted_without_a_reason(
    raw: int, batch: int, step: str, lean: float | None, rows: int
) -> None:
    steps = {"raw": table(raw, rows), "batch": table(batch, rows), "platt": table(batch, rows)}
    assert doubts_of_answers(steps, step, NAMES, Leaning(lean=lean, ends=NAMES)) == ()


@pytest.mark.parametrize(("lean", "end"), [(0.6, "negative"), (-0.6, "positive")])
def test_texts_that_lean_away_from_the_references_are_doubted(lean: float, end: str) -> None:
    steps = {"raw": table(14), "batch": table(8)}
    (found,) = doubts_of_answers(steps, "batch", NAMES, Leaning(lean=lean, ends=NAMES))
    assert found == (
        f"The texts look one-sided: most lean to {end}. Sentences of known opinion were used to "
        "allow for that, as far as they can; if you know how common the labels are, state their "
        "shares."
    )
