"""Labelled rows stand for all texts, though uncertain ones were checked by hand."""

import numpy as np
import pytest

from pollice.models.row_weights import weights_of


def table(odds: np.ndarray) -> np.ndarray:
    good = 1 / (1 + np.exp(-odds))
    found: np.ndarray = np.stack([1 - good, good], axis=1)
    return found


TEXTS = table(np.linspace(-5, 5, 200))


def test_too_many_uncertain_rows_count_as_much_as_the_clear_ones() -> None:
    """Six rows within the uncertain half of the texts, and two without."""
    weights = weights_of(table(np.array([0, 0.1, -0.2, 0.3, 1, -2, 4, -4.5])), TEXTS)
    assert weights == pytest.approx([4 / 6] * 6 + [2] * 2)
    assert weights.mean() == pytest.approx(1)


@pytest.mark.parametrize("odds", [[0.0, 1, 2], [-4.0, 4, 0.1], []])
def test_rows_of_one_kind_or_with_enough_clear_ones_count_once(odds: list[float]) -> None:
    assert weights_of(table(np.array(odds)), TEXTS).tolist() == [1.0] * len(odds)


def test_without_texts_every_row_counts_once() -> None:
    assert weights_of(table(np.array([0.0, 4.0, 0.1])), TEXTS[:0]).tolist() == [1.0] * 3
