"""Hidden states that tell bad from good sentences sharpen noisy log-odds; nothing else moves."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pollice.models.opinion_direction import OpinionDirection, find_direction

FloatArray = NDArray[np.float64]
QUESTIONS, WIDTH = 2, 24


def hidden_of(opinion: FloatArray, seed: int) -> NDArray[np.float32]:
    """Component 3 holds the opinion, all others are noise."""
    states = np.random.default_rng(seed).normal(0, 1, (len(opinion), QUESTIONS, WIDTH))
    states[:, :, 3] += 2 * opinion[:, None]
    return states.astype(np.float32)


def words_of(odds: FloatArray) -> FloatArray:
    pair = np.stack([-np.log1p(np.exp(odds)), -np.log1p(np.exp(-odds))], axis=1)
    return np.repeat(pair[:, None, :], QUESTIONS, axis=1)


OPINION = np.random.default_rng(0).normal(0, 1.5, 400)
WORDS = words_of(OPINION + 1 + np.random.default_rng(1).normal(0, 1.2, 400))
HIDDEN = hidden_of(OPINION, seed=2)
REFERENCES = hidden_of(np.where(np.arange(32) % 2, 2.0, -2.0), seed=3)


def odds_of(log_probabilities: FloatArray) -> FloatArray:
    odds: FloatArray = np.diff(log_probabilities, axis=2)[..., 0].mean(axis=1)
    return odds


def found() -> OpinionDirection:
    direction = find_direction(REFERENCES, WORDS[:200], HIDDEN[:200])
    assert direction is not None
    return direction


def test_the_mixture_is_nearer_to_the_opinion_on_texts_that_it_was_not_learned_on() -> None:
    mixed = odds_of(found().mixed(WORDS[200:], HIDDEN[200:]))
    before = np.corrcoef(odds_of(WORDS[200:]), OPINION[200:])[0, 1]
    assert np.corrcoef(mixed, OPINION[200:])[0, 1] > before + 0.05


def test_mean_and_spread_of_the_texts_stay_where_they_were() -> None:
    mixed, words = odds_of(found().mixed(WORDS[:200], HIDDEN[:200])), odds_of(WORDS[:200])
    assert mixed.mean() == pytest.approx(words.mean(), abs=1e-6)
    assert mixed.std() == pytest.approx(words.std(), abs=1e-6)


def test_columns_turned_round_give_the_same_turned_round() -> None:
    mixed = found().mixed(WORDS, HIDDEN)
    turned = found().turned().mixed(WORDS[..., ::-1], HIDDEN)
    assert turned[..., ::-1] == pytest.approx(mixed)


def test_it_comes_back_from_its_arrays() -> None:
    direction = found()
    again = OpinionDirection.from_arrays(direction.arrays())
    assert again.mixed(WORDS, HIDDEN) == pytest.approx(direction.mixed(WORDS, HIDDEN))
    assert again.agreement == direction.agreement


def test_hidden_states_that_say_something_else_are_left_alone() -> None:
    noise = hidden_of(np.zeros(400), seed=5)
    assert find_direction(REFERENCES, WORDS, noise) is None
    assert find_direction(REFERENCES, WORDS, -HIDDEN) is None
    assert find_direction(REFERENCES, WORDS, np.zeros_like(HIDDEN)) is None
    assert find_direction(REFERENCES, words_of(np.zeros(400)), HIDDEN) is None


def test_without_hidden_states_there_is_no_direction() -> None:
    assert find_direction(REFERENCES, WORDS, HIDDEN[:, :, :0]) is None
    assert find_direction(REFERENCES[:, :, :0], WORDS, HIDDEN) is None
