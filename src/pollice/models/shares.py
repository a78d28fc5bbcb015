"""Biases by which so many texts get each label as a user expects.

Knows nothing about models, and nothing about what the labels mean.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from pollice.errors import PromptError

FloatArray = NDArray[np.float64]

_SHARPER = (
    1.0,
    0.5,
    0.25,
    0.1,
)  # probabilities come closer to answers, so that those have the shares
_ROUNDS = 60
_LEAST = 1e-12


def check_shares(prior: Mapping[str, float], label_names: Sequence[str]) -> None:
    """Refuse shares of what is no label, and shares that are none or do not sum to 1.

    Raises:
        PromptError: naming the label or the sum.
    """
    unknown = [label for label in prior if label not in label_names]
    if unknown:
        raise PromptError(
            f"A share is expected of {unknown[0]!r}, but the labels are: {', '.join(label_names)}."
        )
    total = sum(prior.values())
    left_out = len(label_names) - len(prior)
    whole = total < 1 if left_out else abs(total - 1) < 1e-6
    if prior and not (whole and all(0 < share < 1 for share in prior.values())):
        raise PromptError(
            f"Expected shares between 0 and 1 that sum to {'less than 1' if left_out else '1'}, "
            f"but those of {', '.join(prior)} sum to {total:g}. Write for example positive=0.9."
        )


def all_shares(prior: Mapping[str, float], label_names: Sequence[str]) -> FloatArray:
    """Return the share of every label: those that ``prior`` leaves out share the rest evenly."""
    left_out = [name for name in label_names if name not in prior]
    rest = (1 - sum(prior.values())) / max(1, len(left_out))
    return np.array([prior.get(name, rest) for name in label_names])


def biases_for(probabilities: FloatArray, shares: FloatArray) -> FloatArray:
    """Return what must be added to log-probabilities so that the labels get their shares.

    Args:
        probabilities: Of texts that stand for all, ``(texts, labels)``.
        shares: ``(labels,)``; they sum to 1.
    """
    scores = np.log(probabilities + _LEAST)
    bias = np.zeros(len(shares))
    # From soft to sharp, each from the last one's biases: the mean of sharp answers hardly
    # reacts to a small change, so that a start far off would be hard to mend.
    for sharpness in _SHARPER:
        for _ in range(_ROUNDS):
            found = softmax((scores + bias) / sharpness, axis=1).mean(axis=0)
            bias += sharpness * (np.log(shares) - np.log(found + _LEAST))
    # Softmax ignores a number added to every bias, so any one may be chosen.
    centred: FloatArray = bias - bias.mean()
    return centred


def with_bias(probabilities: FloatArray, bias: FloatArray) -> FloatArray:
    """Return the probabilities of `biases_for`'s biases."""
    biased: FloatArray = softmax(np.log(probabilities + _LEAST) + bias, axis=1)
    return biased
