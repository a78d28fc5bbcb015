"""Where labels are equally likely: sentences of known opinion hold the texts' middle in place."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pollice.models.centring import (
    REFERENCE_TEXTS,
    Reference,
    find_centre,
    find_reference,
    find_unit,
)


def scores(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log-probabilities of two questions that agree, ``(texts, 2, 2)``."""
    pair = np.stack([-np.log1p(np.exp(odds)), -np.log1p(np.exp(-odds))], axis=1)
    return np.repeat(pair[:, None, :], 2, axis=1)


def references(middle: float, reach: float) -> NDArray[np.float64]:
    signs = np.where(np.arange(len(REFERENCE_TEXTS)) % 2, 1, -1)
    return scores(middle + reach * signs)


def test_the_references_show_a_models_own_middle() -> None:
    found = find_reference(references(2.0, 3.0))
    assert found is not None
    assert found.middle == pytest.approx(2)
    assert found.reach == pytest.approx(3)


def test_a_model_that_cannot_tell_them_apart_has_no_middle() -> None:
    assert find_reference(scores(np.random.default_rng(0).normal(size=32))) is None
    assert find_reference(references(2.0, -3.0)) is None


def test_one_sided_texts_do_not_move_the_middle_far() -> None:
    odds = np.random.default_rng(0).normal(4, 1, 60)
    centre = find_centre(scores(odds), Reference(middle=2, reach=3))
    found = float((centre.shift[:, 1] - centre.shift[:, 0]).mean())
    assert found == pytest.approx(2 + 0.1 * odds.std(), abs=0.02)
    assert centre.moved == pytest.approx(found - odds.mean(), abs=0.02)
    alone = find_centre(scores(odds))
    assert float((alone.shift[:, 1] - alone.shift[:, 0]).mean()) == pytest.approx(odds.mean())


def test_texts_whose_middle_is_the_references_keep_it() -> None:
    odds = np.linspace(-1, 5, 60)
    centre = find_centre(scores(odds), Reference(middle=2.05, reach=3))
    assert centre.moved == 0


def test_a_weaker_model_counts_in_smaller_units() -> None:
    shifted = scores(np.linspace(-1, 1, 20))
    strong, weak = (find_unit(shifted, Reference(middle=0, reach=reach)) for reach in (2.82, 0.7))
    assert strong == pytest.approx(1)
    assert weak == pytest.approx(0.25, abs=0.01)
    assert find_unit(shifted, None) == pytest.approx(np.linspace(-1, 1, 20).std() / 1.5, abs=0.01)
