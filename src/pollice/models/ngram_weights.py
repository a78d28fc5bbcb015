"""What each word of a text adds to the log-odds of a label, in a model of n-grams.

The weight of an n-gram is shared equally among the places where it is found, and there among its
tokens. So the weights of all words and the bias of the model add up to its log-odds.
Knows nothing about how the model is fitted.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from pollice.models.ngram_model import NgramModel
from pollice.models.ngrams import Ngrams, Tokens
from pollice.models.token_spans import (
    Located,
    Span,
    locate_characters,
    locate_words_and_signs,
)
from pollice.predictions.pieces import Piece

_LOCATE: Mapping[str, Callable[[str], list[Located]]] = {
    "words": locate_words_and_signs,
    "characters": locate_characters,
}
"""By the name of the view."""


def weigh_words(model: NgramModel, text: str, label: int) -> tuple[Piece, ...]:
    """Return the words and signs of a text with what they add to the log-odds of a label.

    Args:
        model: The model.
        text: The text.
        label: The column of the label.
    """
    words = _without_overlaps([span for run in locate_words_and_signs(text) for _, span in run])
    starts = [start for start, _ in words]
    totals = np.zeros(len(words))
    for name, found, tokens, spans in _weighed(model, text, label):
        for weight, span in zip(_of_tokens(model.ngrams[name], tokens, found), spans, strict=True):
            if span is not None:
                totals[bisect_right(starts, span[0]) - 1] += weight
    return tuple(
        Piece(start=start, end=end, weight=float(weight))
        for (start, end), weight in zip(words, totals, strict=True)
    )


def _weighed(
    model: NgramModel, text: str, label: int
) -> list[tuple[str, Mapping[int, float], Tokens, list[Span | None]]]:
    """Return for each view: its name, each column's weight, the tokens, and where they stand."""
    views = list[tuple[str, csr_matrix, Tokens, list[Span | None]]]()
    for name, ngrams in model.ngrams.items():
        runs = _LOCATE[name](text)
        tokens = ngrams.number([token for token, _ in run] for run in runs)
        spans: list[Span | None] = []
        for run in runs:
            spans += [*(span for _, span in run), None]  # None is the gap after a run
        views.append((name, ngrams.find([tokens]), tokens, spans))
    weights = model.head.contributions([matrix for _, matrix, _, _ in views], label)
    return [
        (name, dict(zip(matrix.indices.tolist(), each.tolist(), strict=True)), tokens, spans)
        for (name, matrix, tokens, spans), each in zip(views, weights, strict=True)
    ]


def _of_tokens(
    ngrams: Ngrams, tokens: Tokens, weight_of: Mapping[int, float]
) -> NDArray[np.float64]:
    """Return the weight of each token: its shares of the n-grams that it is part of."""
    weights = np.zeros(len(tokens))
    for length, columns in ngrams.places(tokens):
        begins = np.flatnonzero(columns >= 0)
        found, places = np.unique(columns[begins], return_inverse=True)
        times = np.bincount(places, minlength=len(found))
        share = np.array([weight_of[column] for column in found.tolist()]) / times / length
        for offset in range(length):
            np.add.at(weights, begins + offset, share[places])
    return weights


def _without_overlaps(spans: Sequence[Span]) -> list[Span]:
    """Join spans that overlap: signs such as one half are written as several tokens."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
