"""Words and signs, and characters where words say little, under logistic regressions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from safetensors.numpy import load_file, save_file

from pollice.data.dataset import Dataset
from pollice.memory.footprint import CORE_LIBRARIES, Footprint, Lengths, PlannedMethod
from pollice.method import OPTIONS
from pollice.models.ngram_model import (
    Characters,
    NgramModel,
    NgramOptions,
    fit_ngram_model,
)
from pollice.models.tfidf_model import TfidfModel
from pollice.predictions.predictor import Predictor, Scores
from pollice.system.progress import stage

_CONTENT, _ARRAYS = "vocabulary.json", "head.safetensors"

# Of a plan of memory. Numbers of n-grams are from IMDB and Rotten Tomatoes; bytes are reckoned
# from the arrays that are held at once, and not yet compared with measured peaks.
_CHARACTERS_PER_WORD = 4.9  # signs count as words
_DIFFERENT_WORDS = 0.75  # the exponent of Heaps' law
_DIFFERENT_PAIRS = 12.3  # as many as there are different words
_DIFFERENT_LONGER = 0.8  # of all n-grams of three words and more
_DIFFERENT_CHARACTERS = (125.0, 0.485)  # n-grams of them, by Heaps' law
_SEEN_ONCE = 1_000_000  # words of English: of more, 97 % are in several texts
_FEATURE_BYTES = 250  # a number in each of the 25 vectors of L-BFGS, and its name
_COLUMN_BYTES = 60  # for each label: a weight for each strength that is tried
_WORD_BYTES = 120  # a word or sign while n-grams are counted, and its entries of the features
_CHARACTER_BYTES = 90  # a character, likewise


class BagOfWords(Predictor):
    """N-grams, and logistic regressions on them."""

    def __init__(self, model: NgramModel | TfidfModel, label_names: tuple[str, ...]) -> None:
        self.label_names = label_names
        self._model = model

    @property
    def parameters(self) -> int:
        """The weights of the regressions."""
        return self._model.parameters

    @property
    def facts(self) -> Mapping[str, Any]:
        """How many n-grams are known, of words and signs and of characters."""
        if isinstance(self._model, TfidfModel):
            return {}
        return {"n-grams": {name: each.size for name, each in self._model.ngrams.items()}}

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts; their tokens are those that are known, and none is ever cut."""
        probabilities, known = self._model.judge(texts)
        return Scores(
            probabilities=probabilities,
            tokens=known,
            truncated=np.zeros(len(texts), np.bool_),
        )

    def save(self, folder: Path) -> None:
        """Write the tokens as JSON, and longer n-grams and weights as safetensors."""
        content = self._model.content()
        if isinstance(self._model, NgramModel):
            content = {"views": content}
        content = {"label_names": self.label_names, **content}
        (folder / _CONTENT).write_text(json.dumps(content), encoding="utf-8")
        save_file(self._model.arrays(), folder / _ARRAYS)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote, in this version or one that took words and pairs alone."""
        content = json.loads((folder / _CONTENT).read_text(encoding="utf-8"))
        arrays = load_file(folder / _ARRAYS)
        names = tuple(content["label_names"])
        if "views" in content:
            return cls(NgramModel.from_saved(content["views"], arrays, len(names)), names)
        return cls(TfidfModel.from_saved(content, arrays), names)


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Baseline(PlannedMethod):
    """N-grams of words and signs, and of characters: what every other must beat."""

    predictor_type = BagOfWords

    ngrams: int = Field(default=3, ge=1, le=5)
    """The most words and signs of a feature: 3 takes them alone, in pairs and in triples."""
    characters: Characters = "auto"
    """Whether n-grams of up to 5 characters are taken too. auto: where more than 3 % of all words
    are in one training text only, and for scripts without blanks between words."""
    max_features: int = Field(default=1_000_000, ge=1)
    """The most n-grams of words and signs, and of characters: those in the most texts."""
    seed: int = Field(default=0, ge=0)
    """Part of every method; nothing here is random."""

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> BagOfWords:
        """Fit on the training rows; the regularization is chosen by validation log loss."""
        options = NgramOptions(
            words=self.ngrams, characters=self.characters, limit=self.max_features
        )
        with stage("fitting", total=len(train)) as advance:
            model = fit_ngram_model(
                (train.texts, train.labels),
                (validation.texts, validation.labels),
                train.label_names,
                options,
            )
            advance(len(train))
        return BagOfWords(model, train.label_names)

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what the n-grams and the rows take.

        There are as many different ones as Heaps' law says. Whether characters are taken is not
        known of texts that are not read: it is taken for so where there are few.
        """
        words = lengths.characters / _CHARACTERS_PER_WORD
        counts = [sum(min(words, count) for count in _different_terms(words, self.ngrams))]
        read = words * self.ngrams * _WORD_BYTES
        if self.characters == "always" or (self.characters == "auto" and words < _SEEN_ONCE):
            factor, exponent = _DIFFERENT_CHARACTERS
            counts.append(factor * lengths.characters**exponent)
            read += lengths.characters * _CHARACTER_BYTES
        kept = sum(min(count, self.max_features) for count in counts)
        columns = lengths.labels if lengths.labels > 2 else 1
        parts = {
            "weights": round(kept * (_FEATURE_BYTES + _COLUMN_BYTES * columns)),
            "activations": round(read),
        }
        return Footprint.of_process(parts, lengths, CORE_LIBRARIES)


def _different_terms(words: float, ngrams: int) -> list[float]:
    """Return how many different n-grams there are of one word, of two, and so on."""
    single = words**_DIFFERENT_WORDS
    longer = [_DIFFERENT_LONGER * words] * ngrams
    return [single, _DIFFERENT_PAIRS * single, *longer][:ngrams]
