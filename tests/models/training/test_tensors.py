"""The generators of random numbers go on exactly where their saved states were taken."""

import random

import numpy as np
import torch

from pollice.models.training.tensors import random_states, set_random_states


def drawn() -> list[float]:
    return [
        random.random(),
        random.gauss(0, 1),
        float(np.random.rand()),
        float(np.random.standard_normal()),
        *torch.rand(3).tolist(),
    ]


def test_the_generators_go_on_where_they_were() -> None:
    """Drawn once before, so that each generator holds half of a pair of normal numbers."""
    drawn()
    states = random_states()
    expected = [drawn(), drawn()]
    drawn()
    set_random_states(states)
    assert [drawn(), drawn()] == expected
