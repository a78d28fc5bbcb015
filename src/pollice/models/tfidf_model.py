"""The model of the method baseline before it saw signs and characters: only to load saved ones.

Knows nothing about fitting, and nothing about files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from pollice.models.linear_head import LinearHead

_WORDS = r"(?u)\w+(?:'\w+)?|[!?]"


@dataclass(frozen=True, kw_only=True)
class TfidfModel:
    """TF-IDF of word n-grams and a linear head."""

    terms: tuple[str, ...]
    ngrams: int
    """The most words of a term."""
    idf: NDArray[np.float64]
    """``(terms,)``."""
    head: LinearHead

    @property
    def parameters(self) -> int:
        """The weights of the head."""
        return self.head.weight.size + self.head.bias.size

    @cached_property
    def _vectorizer(self) -> TfidfVectorizer:
        vectorizer = TfidfVectorizer(
            ngram_range=(1, self.ngrams),
            sublinear_tf=True,
            strip_accents="unicode",
            token_pattern=_WORDS,
            vocabulary=self.terms,
        )
        vectorizer.idf_ = self.idf
        return vectorizer

    def judge(self, texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return probabilities ``(texts, labels)``, and how many words each text has."""
        tokenize = self._vectorizer.build_tokenizer()
        words = np.array([len(tokenize(text)) for text in texts], np.int64)
        if not texts:
            return np.zeros((0, len(self.head.bias))), words
        return self.head.predict_proba(self._vectorizer.transform(texts)), words

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the numbers that `from_saved` reads."""
        return {**self.head.arrays(), "idf": self.idf}

    def content(self) -> dict[str, Any]:
        """Return what else it reads, as JSON values."""
        return {"ngrams": self.ngrams, "terms": self.terms}

    @classmethod
    def from_saved(cls, content: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the model of `content` and `arrays`."""
        return cls(
            terms=tuple(content["terms"]),
            ngrams=content["ngrams"],
            idf=arrays["idf"],
            head=LinearHead.from_arrays(arrays),
        )
