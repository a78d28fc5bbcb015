"""Predictor: gives every text a probability for every label.

Knows nothing about models, and nothing about how texts are read from files.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pollice.predictions.pieces import Piece

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a predictor says about texts."""

    probabilities: FloatArray
    """``(texts, labels)``; rows sum to 1."""
    tokens: NDArray[np.int64]
    """``(texts,)``: the tokens of each text that the model read."""
    truncated: NDArray[np.bool_]
    """``(texts,)``: whether part of the text was cut off before the model read it."""
    variants: Mapping[str, FloatArray] = field(default_factory=dict)
    """Other probabilities from the same pass, such as those before calibration."""


class Predictor(ABC):
    """Gives every text a probability for every label."""

    label_names: tuple[str, ...]
    """The order of the probability columns."""

    @abstractmethod
    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts in one pass. The scores of a text do not depend on its neighbours."""

    def word_weights(self, text: str, label: str) -> Sequence[Piece] | None:
        """Return what each word adds to the log-odds of a label, in the order of the text.

        None, as it comes: the predictor does not know. Then `pollice.explain` leaves words out.
        """
        return None

    def predict_proba(self, texts: Sequence[str]) -> FloatArray:
        """Return probabilities as ``(texts, labels)``; rows sum to 1."""
        return self.score(texts).probabilities

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write all that `load` needs into an existing empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the loaded predictor gives the same scores."""

    @property
    def parameters(self) -> int:
        """The number of weights that a prediction uses."""
        return 0

    @property
    def facts(self) -> Mapping[str, Any]:
        """What `fit` decided or found, for the report: JSON values by name."""
        return {}
