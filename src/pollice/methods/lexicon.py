"""A list of words and their polarity: a reference that needs neither labels nor a model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from pollice.data.dataset import Dataset
from pollice.data.scales import Scale, find_scale
from pollice.errors import DataError
from pollice.memory.footprint import CORE_LIBRARIES, Footprint, Lengths, PlannedMethod
from pollice.method import OPTIONS
from pollice.models.ordered_steps import OrderedSteps, default_steps
from pollice.predictions.predictor import Predictor, Scores

_UNIT = 0.35
"""The compound score that counts as 1 on a scale of opinions."""
_LEXICON_BYTES = 4 * 2**20  # measured: 3.2 MiB for the 7,506 words of vaderSentiment 3.3.2
_FILE = "lexicon.json"


class LexiconScorer(Predictor):
    """VADER's compound score of a text, through the default thresholds of a scale.

    Source: Hutto and Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis
    of Social Media Text". The lexicon is English.
    """

    def __init__(self, steps: OrderedSteps, label_names: tuple[str, ...]) -> None:
        self.label_names = label_names
        self._steps = steps
        self._analyzer = SentimentIntensityAnalyzer()

    @property
    def parameters(self) -> int:
        """The words of the lexicon."""
        return len(self._analyzer.lexicon)

    @property
    def facts(self) -> dict[str, Any]:
        """The lexicon, and the thresholds of its score."""
        return {"lexicon": "vaderSentiment, English", "thresholds": self._steps.said()}

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts; their tokens are words, and none is ever cut."""
        compound = [self._analyzer.polarity_scores(text)["compound"] for text in texts]
        return Scores(
            probabilities=self._steps.probabilities(np.array(compound, np.float64) / _UNIT),
            tokens=np.array([len(text.split()) for text in texts], np.int64),
            truncated=np.zeros(len(texts), np.bool_),
        )

    def save(self, folder: Path) -> None:
        """Write the thresholds; the lexicon is the package's."""
        arrays = {name: array.tolist() for name, array in self._steps.arrays().items()}
        content = {"label_names": self.label_names, "steps": arrays}
        (folder / _FILE).write_text(json.dumps(content, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        arrays = {name: np.array(values, np.float64) for name, values in content["steps"].items()}
        return cls(OrderedSteps.from_arrays(arrays), tuple(content["label_names"]))


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Lexicon(PlannedMethod):
    """A lexicon of English words that carry an opinion: what any model should beat."""

    predictor_type = LexiconScorer
    knows_more_than_labels = True

    seed: int = Field(default=0, ge=0)
    """Part of every method; nothing here is random."""

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what the lexicon takes: some ten thousand words, whatever the texts are."""
        return Footprint.of_process({"weights": _LEXICON_BYTES}, lengths, CORE_LIBRARIES)

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return 0: no label is looked at."""
        return 0

    def check(self, train: Dataset) -> None:
        """Refuse labels that name no scale of opinions."""
        _scale_of(train.label_names)

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> LexiconScorer:
        """Take the default thresholds of the scale that the labels name.

        Raises:
            DataError: they name none.
        """
        scale = _scale_of(train.label_names)
        return LexiconScorer(default_steps(scale, train.label_names), train.label_names)


def _scale_of(label_names: tuple[str, ...]) -> Scale:
    scale = find_scale(label_names)
    if scale is None:
        raise DataError(
            "The method lexicon knows good and bad words only, so it expected labels that name "
            f"a scale of opinions, but found {', '.join(label_names)}. Leave it out, or "
            "rename the labels, such as negative,neutral,positive."
        )
    return scale
