"""Stated shares are obeyed: so many texts get each label."""

import re

import numpy as np
import pytest

from pollice.errors import PromptError
from pollice.models.shares import all_shares, biases_for, check_shares, with_bias


@pytest.mark.parametrize("shares", [(0.05, 0.95), (0.5, 0.5), (0.2, 0.3, 0.5)])
def test_answers_have_the_stated_shares(shares: tuple[float, ...]) -> None:
    drawn = np.random.default_rng(0).dirichlet(np.ones(len(shares)), 200)
    found = with_bias(drawn, biases_for(drawn, np.array(shares)))
    counts = np.bincount(found.argmax(axis=1), minlength=len(shares)) / 200
    assert counts == pytest.approx(shares, abs=0.03)
    assert found.sum(axis=1) == pytest.approx(1)


def test_labels_left_out_share_the_rest() -> None:
    assert all_shares({"b": 0.5}, ("a", "b", "c")) == pytest.approx([0.25, 0.5, 0.25])


@pytest.mark.parametrize(
    ("prior", "sentence"),
    [
        ({"x": 0.5}, "A share is expected of 'x', but the labels are: a, b."),
        (
            {"a": 0.5, "b": 0.6},
            "Expected shares between 0 and 1 that sum to 1, but those of a, b sum to 1.1. Write "
            "for example positive=0.9.",
        ),
        (
            {"a": 1.0},
            "Expected shares between 0 and 1 that sum to less than 1, but those of a sum to 1. "
            "Write for example positive=0.9.",
        ),
    ],
)
def test_shares_that_cannot_be_are_refused(prior: dict[str, float], sentence: str) -> None:
    with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
        check_shares(prior, ("a", "b"))
