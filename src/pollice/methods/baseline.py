"""Words and word pairs, weighted by how rare they are, under a logistic regression."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from safetensors.numpy import load_file, save_file
from sklearn.feature_extraction.text import TfidfVectorizer

from pollice.data.dataset import Dataset
from pollice.errors import DataError
from pollice.memory.footprint import CORE_LIBRARIES, Footprint, Lengths, PlannedMethod
from pollice.method import OPTIONS
from pollice.models.linear_head import LinearHead, fit_head
from pollice.predictions.predictor import Predictor, Scores
from pollice.system.progress import stage

_STRENGTHS = (1.0, 4.0, 16.0, 64.0)

# Of a plan of memory, from 200 to 8,000 IMDB reviews.
_CHARACTERS_PER_WORD = 5.6
_DIFFERENT_WORDS = 0.75  # the exponent of Heaps' law
_DIFFERENT_PAIRS = 12.3  # as many as there are different words
_DIFFERENT_LONGER = 0.8  # of all n-grams of three words and more
_TERM_BYTES = 400  # its string, and two entries of a dict
_VECTORS_BYTES = 200  # a number in each of the 25 vectors of L-BFGS
_ENTRY_BYTES = 16


class BagOfWords(Predictor):
    """TF-IDF of word n-grams and a linear head."""

    def __init__(
        self, vectorizer: TfidfVectorizer, head: LinearHead, label_names: tuple[str, ...]
    ) -> None:
        self.label_names = label_names
        self._vectorizer = vectorizer
        self._head = head
        self._tokenize = vectorizer.build_tokenizer()

    @property
    def parameters(self) -> int:
        """The weights of the head."""
        return self._head.weight.size + self._head.bias.size

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts; their tokens are words, and none is ever cut."""
        words = [len(self._tokenize(text)) for text in texts]
        features = self._vectorizer.transform(texts) if len(texts) else None
        return Scores(
            probabilities=np.zeros((0, len(self.label_names)))
            if features is None
            else self._head.predict_proba(features),
            tokens=np.array(words, np.int64),
            truncated=np.zeros(len(texts), np.bool_),
        )

    def save(self, folder: Path) -> None:
        """Write the vocabulary as JSON and the weights as safetensors."""
        terms = [str(term) for term in self._vectorizer.get_feature_names_out()]
        content = {
            "label_names": self.label_names,
            "ngrams": self._vectorizer.ngram_range[1],
            "terms": terms,
        }
        (folder / "vocabulary.json").write_text(json.dumps(content), encoding="utf-8")
        arrays = {**self._head.arrays(), "idf": np.asarray(self._vectorizer.idf_, np.float64)}
        save_file(arrays, folder / "head.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        content = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        arrays = load_file(folder / "head.safetensors")
        vectorizer = _vectorizer(content["ngrams"])
        vectorizer.set_params(vocabulary=content["terms"])
        vectorizer.idf_ = arrays["idf"]
        return cls(vectorizer, LinearHead.from_arrays(arrays), tuple(content["label_names"]))


def _vectorizer(ngrams: int) -> TfidfVectorizer:
    return TfidfVectorizer(
        ngram_range=(1, ngrams),
        sublinear_tf=True,
        strip_accents="unicode",
        token_pattern=r"(?u)\w+(?:'\w+)?|[!?]",  # one-letter words and marks say much of opinions
    )


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Baseline(PlannedMethod):
    """TF-IDF of words and word pairs, with logistic regression: what every other must beat."""

    predictor_type = BagOfWords
    takes_weights = True

    ngrams: int = Field(default=2, ge=1, le=5)
    """The most words of a feature: 2 takes words and word pairs."""
    seed: int = Field(default=0, ge=0)
    """Part of every method; nothing here is random."""

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> BagOfWords:
        """Fit on the training rows; the regularization is chosen by validation log loss."""
        vectorizer = _vectorizer(self.ngrams)
        with stage("fitting", total=len(train)) as advance:
            try:
                features = vectorizer.fit_transform(train.texts)
            except ValueError as error:
                raise DataError(
                    "Expected words in the training texts, but found none. Check the text column."
                ) from error
            held_out = None
            if len(validation):
                held_out = (vectorizer.transform(validation.texts), validation.labels)
            head = fit_head(
                features,
                train.labels,
                train.label_names,
                validation=held_out,
                strengths=_STRENGTHS,
                weights=train.weights,
            )
            advance(len(train))
        return BagOfWords(vectorizer, head, train.label_names)

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what the terms and the rows take.

        There are as many different words as Heaps' law says. Every label beyond two has vectors
        of its own in the logistic regression.
        """
        words = lengths.characters / _CHARACTERS_PER_WORD
        terms = sum(min(words, count) for count in _different_terms(words, self.ngrams))
        vectors = lengths.labels if lengths.labels > 2 else 1
        parts = {
            "weights": round(terms * (_TERM_BYTES + _VECTORS_BYTES * vectors)),
            "activations": round(words * self.ngrams * _ENTRY_BYTES),
        }
        return Footprint.of_process(parts, lengths, CORE_LIBRARIES)


def _different_terms(words: float, ngrams: int) -> list[float]:
    """Return how many different n-grams there are of one word, of two, and so on."""
    single = words**_DIFFERENT_WORDS
    longer = [_DIFFERENT_LONGER * words] * ngrams
    return [single, _DIFFERENT_PAIRS * single, *longer][:ngrams]
