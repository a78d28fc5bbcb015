"""A second opinion of the same pass: the direction from bad to good sentences in hidden states.

Knows nothing about models, and nothing about how log-odds become probabilities.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
HiddenStates = NDArray[np.float32]

_SHARE = 0.5  # of the direction, for one part of the model's own words; docs/prompting.md: a trial
_RIDGE = 1.0  # of the mean of the kernel's diagonal
_AGREE = 0.5  # correlation with the model's own words: below it, the direction shows something else
_LEAST = 1e-6


@dataclass(frozen=True, kw_only=True)
class OpinionDirection:
    """The good pole's log-odds, mixed from the model's words and from its hidden states."""

    own: float
    """What the mean log-odds of the model's words are multiplied by."""
    weight: FloatArray
    """``(questions, width)``: of the hidden states."""
    offset: float
    agreement: float
    """The correlation of both over the texts that this was learned on."""

    def mixed(self, log_probabilities: FloatArray, hidden: HiddenStates) -> FloatArray:
        """Return log-probabilities ``(texts, questions, 2)``, all questions moved alike."""
        words = _odds(log_probabilities)
        odds = self.own * words + np.einsum("tqw,qw->t", hidden, self.weight) + self.offset
        # Half to each pole, as in `centring`: the difference moves, and the sum stays.
        half = (odds - words) / 2
        moved: FloatArray = log_probabilities + np.stack([-half, half], axis=-1)[:, None, :]
        return moved

    def turned(self) -> "OpinionDirection":
        """Return the same for columns of which the good pole is the first."""
        return OpinionDirection(
            own=self.own, weight=-self.weight, offset=-self.offset, agreement=self.agreement
        )

    def arrays(self) -> dict[str, FloatArray]:
        """Return what `from_arrays` reads."""
        plain = np.array([self.own, self.offset, self.agreement])
        return {"plain": plain, "weight": self.weight}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, FloatArray]) -> Self:
        """Return the direction of `arrays`."""
        own, offset, agreement = (float(value) for value in arrays["plain"])
        return cls(own=own, weight=arrays["weight"], offset=offset, agreement=agreement)


def find_direction(
    references: HiddenStates, log_probabilities: FloatArray, hidden: HiddenStates
) -> OpinionDirection | None:
    """Return the direction, on the scale of the model's own log-odds; None where there is none.

    For each question a ridge regression tells the bad sentences from the good ones by their hidden
    states. Its values of the texts, averaged over the questions, get the mean and the spread of the
    texts' log-odds; so does the mixture of both. No label is read, and nothing is asked twice.

    Args:
        references: Hidden states of `pollice.models.centring.REFERENCE_TEXTS`, bad and good in
            turns, ``(sentences, questions, width)``.
        log_probabilities: Of unlabelled texts, ``(texts, questions, 2)``, the bad pole first.
        hidden: Of the same texts, ``(texts, questions, width)``.
    """
    if not hidden.shape[-1] or not references.shape[-1]:
        return None
    known = np.where(np.arange(len(references)) % 2, 1.0, -1.0)
    weight = np.stack(
        [
            _ridge(references[:, question], hidden[:, question], known)
            for question in range(hidden.shape[1])
        ]
    )
    words = _odds(log_probabilities)
    found = np.einsum("tqw,qw->t", hidden, weight)
    if min(words.std(), found.std()) < _LEAST:
        return None
    agreement = float(np.corrcoef(words, found)[0, 1])
    if agreement < _AGREE:
        return None
    # Everything below is linear in `words` and `found`, so that it folds into three numbers.
    unit = float(words.std() / found.std())
    mixture = words + _SHARE * unit * found
    stretch = float(words.std() / mixture.std())
    return OpinionDirection(
        own=stretch,
        weight=stretch * _SHARE * unit * weight,
        offset=float(words.mean() - stretch * mixture.mean()),
        agreement=agreement,
    )


def _ridge(references: HiddenStates, texts: HiddenStates, known: FloatArray) -> FloatArray:
    """Return a question's weights, by which its values of the texts have a spread of 1."""
    # The spread of both: few texts alone may hardly vary in some component.
    scale = np.concatenate([references, texts]).astype(np.float64).std(axis=0) + _LEAST
    centred = (references - references.mean(axis=0)) / scale
    # In the dual form: there are far fewer sentences than components.
    kernel = centred @ centred.T
    ridge = _RIDGE * float(np.trace(kernel)) / len(kernel) + _LEAST
    dual = np.linalg.solve(kernel + ridge * np.eye(len(kernel)), known)
    weight: FloatArray = (centred.T @ dual) / scale
    spread = float((texts @ weight).std())
    return weight / spread if spread > _LEAST else np.zeros_like(weight)


def _odds(log_probabilities: FloatArray) -> FloatArray:
    """Return the second column less the first, averaged over the questions, ``(texts,)``."""
    odds: FloatArray = np.diff(log_probabilities, axis=2)[..., 0].mean(axis=1)
    return odds
