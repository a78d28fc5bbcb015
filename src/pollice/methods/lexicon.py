"""A list of words and their polarity: a reference that needs neither labels nor a model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
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

FloatArray = NDArray[np.float64]

_UNIT = 0.35
"""The compound score that counts as 1 on a scale of opinions."""
_UPWARDS = 1e-6
"""Added to every compound score, which has four decimals: one that lies just between two steps, as
the 0 of a text without a known word does where there are two, is of the better one."""
_LOOKED_AT = 1000
"""So many training texts, at most, are looked at for such scores."""
_LEXICON_BYTES = 4 * 2**20  # measured: 3.2 MiB for the 7,506 words of vaderSentiment 3.3.2
_FILE = "lexicon.json"


class LexiconScorer(Predictor):
    """VADER's compound score of a text, through the default thresholds of a scale.

    Source: Hutto and Gilbert 2014, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis
    of Social Media Text". The lexicon is English. A score that lies just between two steps is of
    the better one, whatever the labels' names are.
    """

    def __init__(
        self, steps: OrderedSteps, label_names: tuple[str, ...], warnings: Sequence[str] = ()
    ) -> None:
        self.label_names = label_names
        self._steps = steps
        self._warnings = list(warnings)
        self._analyzer = SentimentIntensityAnalyzer()

    @property
    def parameters(self) -> int:
        """The words of the lexicon."""
        return len(self._analyzer.lexicon)

    @property
    def facts(self) -> dict[str, Any]:
        """The lexicon, and the thresholds of its score."""
        warnings = {"warnings": self._warnings} if self._warnings else {}
        return {
            "lexicon": "vaderSentiment, English",
            "thresholds": self._steps.said(),
            **warnings,
        }

    def compound(self, texts: Sequence[str]) -> FloatArray:
        """Return the score of each text, ``(texts,)``, from -1 to 1; 0 without a known word."""
        return np.array(
            [self._analyzer.polarity_scores(text)["compound"] for text in texts], np.float64
        )

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts; their tokens are words, and none is ever cut."""
        return Scores(
            probabilities=self._steps.probabilities((self.compound(texts) + _UPWARDS) / _UNIT),
            tokens=np.array([len(text.split()) for text in texts], np.int64),
            truncated=np.zeros(len(texts), np.bool_),
        )

    def save(self, folder: Path) -> None:
        """Write the thresholds; the lexicon is the package's."""
        arrays = {name: array.tolist() for name, array in self._steps.arrays().items()}
        content = {
            "label_names": self.label_names,
            "steps": arrays,
            "warnings": self._warnings,
        }
        (folder / _FILE).write_text(json.dumps(content, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        arrays = {name: np.array(values, np.float64) for name, values in content["steps"].items()}
        # Folders of before have no warnings.
        warnings = content.get("warnings", ())
        return cls(OrderedSteps.from_arrays(arrays), tuple(content["label_names"]), warnings)


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
        steps = default_steps(scale, train.label_names)
        texts = train.texts[:_LOOKED_AT]
        even = int((LexiconScorer(steps, train.label_names).compound(texts) == 0).sum())
        return LexiconScorer(steps, train.label_names, _doubts(scale, even, len(texts)))


def _doubts(scale: Scale, even: int, texts: int) -> tuple[str, ...]:
    """Say how many texts lie between two poles; with a middle step they are of that."""
    if not even or 0.0 not in scale.cuts:
        return ()
    better = scale.names[scale.cuts.index(0.0) + 1]
    return (
        f"In {even:,} of {texts:,} training texts the lexicon finds no word, or good and bad ones "
        f"that cancel out. Such a text gets {better} and its neighbour with equal probability, and "
        f"is answered with {better}, the better of both.",
    )


def _scale_of(label_names: tuple[str, ...]) -> Scale:
    scale = find_scale(label_names)
    if scale is None:
        raise DataError(
            "The method lexicon knows good and bad words only, so it expected labels that name "
            f"a scale of opinions, but found {', '.join(label_names)}. Leave it out, or "
            "rename the labels, such as negative,neutral,positive."
        )
    return scale
