"""Words and signs, and characters where words say little, under logistic regressions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from safetensors.numpy import save_file

from pollice.data.dataset import Dataset
from pollice.memory.footprint import CORE_LIBRARIES, Footprint, Lengths, PlannedMethod
from pollice.method import OPTIONS
from pollice.models.ngram_model import (
    VIEWS,
    Characters,
    NgramModel,
    NgramOptions,
    fit_ngram_model,
)
from pollice.models.tfidf_model import TfidfModel
from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.saved_files import (
    check_length,
    damaged,
    read_label_names,
    read_saved_arrays,
    read_saved_json,
)
from pollice.system.progress import stage

_CONTENT, _ARRAYS = "vocabulary.json", "head.safetensors"
_PER_BLOCK = ("importance", "weight")
"""The arrays of each view, by number."""

# Of a plan of memory, from IMDB and Rotten Tomatoes: 400 to 12,000 rows (docs/memory.md).
_CHARACTERS_PER_WORD = 4.9  # signs count as words
_DIFFERENT_WORDS = 0.75  # the exponent of Heaps' law
_DIFFERENT_PAIRS = 12.3  # as many as there are different words
_DIFFERENT_LONGER = 0.8  # of all n-grams of three words and more
_DIFFERENT_CHARACTERS = (125.0, 0.485)  # n-grams of them, by Heaps' law
_SEEN_ONCE = 1_000_000  # words of English: of more, 97 % are in several texts
_FEATURE_BYTES = 250  # a number in each of the 25 vectors of L-BFGS, and its name
_COLUMN_BYTES = 60  # for each label: a weight for each strength that is tried
_WORD_BYTES = 60  # a word or sign while n-grams are counted, and its entries of the features
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
        path, weights = folder / _CONTENT, folder / _ARRAYS
        content = read_saved_json(path)
        names = read_label_names(path, content)
        if "views" in content:
            return cls(_read_ngram_model(path, weights, content["views"], len(names)), names)
        return cls(_read_tfidf_model(path, weights, len(names)), names)


def _read_ngram_model(path: Path, weights: Path, views: Any, labels: int) -> NgramModel:
    if not isinstance(views, dict) or not views or not set(views) <= set(VIEWS):
        raise damaged(path, f"views among {', '.join(VIEWS)}", "it has others or none")
    for name, view in views.items():
        _check_terms(path, view.get("tokens") if isinstance(view, dict) else None)
        if not isinstance(view.get("longest"), int):
            raise damaged(path, f"the most tokens of an n-gram in {name}", "it has none")
    blocks = [f"{kind}.{number}" for kind in _PER_BLOCK for number in range(len(views))]
    longer = [f"longer.{name}" for name in views]
    arrays = read_saved_arrays(weights, *blocks, *longer, "bias", "present", "sharpness")
    columns = len(arrays["bias"])
    present = arrays["present"]
    if len(present) not in (columns, columns + 1) or not set(present.tolist()) <= set(
        range(labels)
    ):
        raise damaged(weights, f"columns of the {labels} labels", "present names others")
    for number, (name, view) in enumerate(views.items()):
        size = len(view["tokens"]) + len(arrays[f"longer.{name}"])
        for kind in _PER_BLOCK:
            what = f"numbers in {kind}.{number}, one for each n-gram"
            check_length(weights, what, len(arrays[f"{kind}.{number}"]), size)
    return NgramModel.from_saved(views, arrays, labels)


def _read_tfidf_model(path: Path, weights: Path, labels: int) -> TfidfModel:
    content = read_saved_json(path, "ngrams", "terms")
    _check_terms(path, content["terms"])
    terms = len(content["terms"])
    arrays = read_saved_arrays(weights, "idf", "mean", "scale", "weight", "bias")
    check_length(weights, "numbers in idf, one for each term", len(arrays["idf"]), terms)
    model = TfidfModel.from_saved(content, arrays)
    model.head.check_shape(weights, terms, labels)
    return model


def _check_terms(path: Path, terms: Any) -> None:
    if not isinstance(terms, list) or len(set(map(str, terms))) < max(len(terms), 1):
        raise damaged(path, "a list of different terms", "it has none")


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Baseline(PlannedMethod):
    """N-grams of words and signs, and of characters: what every other must beat."""

    predictor_type = BagOfWords
    takes_weights = True

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
                weights=train.weights,
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
