"""The temperature of a trained classifier: how sure it may be, by rows that it did not learn from.

Knows nothing about training. Scaling by one number (arXiv 1706.04599, section 4.2) leaves every
label as it is; what is left of a loss after it says how well an epoch tells the labels apart
(arXiv 2501.19195).
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torch import nn
from transformers import PreTrainedModel

from pollice.models.training.rows import Rows

_BOUNDS = (math.log(0.1), math.log(10))
_SPREAD = 0.5  # of the logarithm, before any row is seen: ten rows that are right prove little


def tempered(log_probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return log-probabilities ``(rows, labels)`` at another temperature; above 1: less sure."""
    scaled: NDArray[np.float64] = log_softmax(log_probabilities / temperature, axis=1)
    return scaled


def find_temperature(rows: Rows, log_probabilities: NDArray[np.float64]) -> float:
    """Return the likeliest temperature, whose logarithm is expected near 0.

    Args:
        rows: What was judged.
        log_probabilities: ``(rows, labels)`` as the classifier gives them.
    """

    def badness(logarithm: float) -> float:
        loss, _ = rows.judge(tempered(log_probabilities, math.exp(logarithm)))
        return loss * rows.texts + (logarithm / _SPREAD) ** 2 / 2

    return math.exp(minimize_scalar(badness, bounds=_BOUNDS, method="bounded").x)


@torch.no_grad()
def set_temperature(model: PreTrainedModel, temperature: float) -> None:
    """Divide the logits of a classifier for good, in the weights of its last layer."""
    last: Any = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    for weights in last.parameters():
        weights.div_(temperature)
