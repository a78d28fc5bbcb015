"""Judges texts by n-grams of words and signs, and by those of characters where words say little.

Knows nothing about methods, and nothing about files: it is numbers, and plain content by name.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from operator import itemgetter
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from pollice.errors import DataError
from pollice.models.ngrams import Ngrams, Runs, Tokens, learn_ngrams
from pollice.models.one_against_rest import (
    Block,
    OneAgainstRest,
    Weighting,
    fit_one_against_rest,
)
from pollice.models.soft_labels import SoftLabels, copy_by_label
from pollice.models.tokens import BLANK, characters, is_unspaced, words_and_signs

Rows = tuple[Sequence[str], Sequence[str]]
"""Texts, and the label of each."""
Characters = Literal["auto", "always", "never"]

LONGEST_CHARACTERS = 5
_KNOWN = 0.97  # the sentences of Rotten Tomatoes, all 8,900, do not reach it
_UNSPACED = 0.1
_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class View:
    """One way to see a text as tokens."""

    runs: Callable[[str], Runs]
    weightings: tuple[Weighting, ...]
    """Those that the validation rows choose from."""


def _one_run(text: str) -> Runs:
    return (words_and_signs(text),)


VIEWS: Mapping[str, View] = {
    "words": View(runs=_one_run, weightings=("ratios", "rarity")),
    "characters": View(runs=characters, weightings=("rarity",)),
}
"""By name. Log-count ratios are better on many long texts, rarity on few or short ones."""


@dataclass(frozen=True, kw_only=True)
class NgramOptions:
    """How many n-grams are taken."""

    words: int
    """The most words and signs of an n-gram."""
    characters: Characters
    limit: int
    """The most n-grams of words and signs, and of characters."""


@dataclass(frozen=True, kw_only=True)
class NgramModel:
    """The n-grams of each view that is used, and a logistic regression on them."""

    ngrams: Mapping[str, Ngrams]
    """By the name of the view, in the order of the head's blocks."""
    head: OneAgainstRest

    @property
    def parameters(self) -> int:
        """The weights of the head."""
        return self.head.parameters

    def judge(self, texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return probabilities ``(texts, labels)``, and the tokens that are known ``(texts,)``.

        The tokens are words and signs, or in a text without known ones its known characters. So 0
        means that nothing of the text is known.
        """
        # In one go, the numbers of many texts do not fit into the processor's cache: half as fast.
        starts = range(0, max(1, len(texts)), _TEXTS_AT_ONCE)
        judged = [self._judge_some(texts[start : start + _TEXTS_AT_ONCE]) for start in starts]
        probabilities, known = zip(*judged, strict=True)
        return np.concatenate(probabilities), np.concatenate(known)

    def _judge_some(self, texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        numbered = {name: self._number(name, texts) for name in self.ngrams}
        blocks = [self.ngrams[name].find(tokens) for name, tokens in numbered.items()]
        known = np.zeros(len(texts), np.int64)
        for name, tokens in reversed(numbered.items()):
            seen = _count_known(self.ngrams[name], tokens)
            known = np.where(seen > 0, seen, known)
        return self.head.predict_proba(blocks), known

    def find(self, texts: Sequence[str]) -> list[csr_matrix]:
        """Return the features of texts: for each view ones, ``(texts, n-grams)``."""
        return [self.ngrams[name].find(self._number(name, texts)) for name in self.ngrams]

    def _number(self, name: str, texts: Sequence[str]) -> list[Tokens]:
        return [self.ngrams[name].number(VIEWS[name].runs(text)) for text in texts]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the numbers that `from_saved` reads."""
        longer = {f"longer.{name}": each.longer for name, each in self.ngrams.items()}
        return {**self.head.arrays(), **longer}

    def content(self) -> dict[str, Any]:
        """Return what else it reads, as JSON values."""
        return {
            name: {"tokens": each.tokens, "longest": each.longest}
            for name, each in self.ngrams.items()
        }

    @classmethod
    def from_saved(
        cls, content: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], labels: int
    ) -> Self:
        """Return the model of `content` and `arrays`."""
        ngrams = {
            name: Ngrams(
                tokens=tuple(view["tokens"]),
                longer=arrays[f"longer.{name}"],
                longest=view["longest"],
            )
            for name, view in content.items()
        }
        return cls(ngrams=ngrams, head=OneAgainstRest.from_arrays(arrays, labels))


def fit_ngram_model(
    train: Rows,
    validation: Rows,
    label_names: Sequence[str],
    options: NgramOptions,
    *,
    weights: Sequence[float] | None = None,
    soft_labels: SoftLabels | None = None,
) -> NgramModel:
    """Learn the n-grams and the head from training rows; validation rows choose its strength.

    Args:
        train: What is learned from.
        validation: What the strength is chosen by; may be empty.
        label_names: The order of the columns.
        options: How many n-grams are taken.
        weights: How much each training row counts; None: all alike.
        soft_labels: The probabilities of the training rows' labels; None: the labels are certain.

    Raises:
        DataError: no training text has a word or a sign.
    """
    views, matrices = dict[str, Ngrams](), list[csr_matrix]()
    for name, view in VIEWS.items():
        if name == "characters" and not _needs_characters(options.characters, train[0]):
            continue
        longest = LONGEST_CHARACTERS if name == "characters" else options.words
        runs = (view.runs(text) for text in train[0])
        views[name], numbered = learn_ngrams(runs, longest=longest, limit=options.limit)
        if not views[name].size:
            raise DataError(
                "Expected words in the training texts, but found none. Check the text column."
            )
        matrices.append(views[name].find(numbered))
    labels = train[1]
    if soft_labels is not None:
        # Copies of the features and not of the texts: n-grams are counted over texts.
        copies = copy_by_label(soft_labels, label_names, weights)
        matrices = [matrix[copies.rows] for matrix in matrices]
        labels, weights = copies.labels, copies.weights
    held_out = None
    if validation[0]:
        found = [
            ngrams.find([ngrams.number(VIEWS[name].runs(text)) for text in validation[0]])
            for name, ngrams in views.items()
        ]
        held_out = (found, validation[1])
    fitted = []
    for weightings in product(*(VIEWS[name].weightings for name in views)):
        blocks = [
            Block(matrix=matrix, weighting=weighting)
            for matrix, weighting in zip(matrices, weightings, strict=True)
        ]
        fitted.append(
            fit_one_against_rest(blocks, labels, label_names, validation=held_out, weights=weights)
        )
    head, _ = min(fitted, key=itemgetter(1))  # of equals the first
    return NgramModel(ngrams=views, head=head)


def _needs_characters(asked: Characters, texts: Sequence[str]) -> bool:
    """Return whether words alone see too little of texts like these.

    That is so where many words are in one text only, as in few rows, short texts or languages of
    long words, and in scripts without blanks, whose words are of several tokens.
    """
    if asked != "auto":
        return asked == "always"
    tokens, holders, unspaced = Counter[str](), Counter[str](), 0
    for text in texts:
        found = words_and_signs(text)
        tokens.update(found)
        holders.update(set(found))
    unspaced = sum(count for token, count in tokens.items() if is_unspaced(token))
    shared = sum(count for token, count in tokens.items() if holders[token] > 1)
    every = tokens.total()
    return shared < _KNOWN * every or unspaced > _UNSPACED * every


def _count_known(ngrams: Ngrams, texts: Sequence[Tokens]) -> NDArray[np.int64]:
    """Return how many tokens of each text are known; the blanks around words are none."""
    blank = ngrams.column_of.get(BLANK, -1)
    return np.array([np.sum((text >= 0) & (text != blank)) for text in texts], np.int64)
