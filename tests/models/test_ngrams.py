"""N-grams are found as a plain search finds them, the commonest are kept, and nothing is lost."""

import random
from collections import Counter

import numpy as np
import pytest

from pollice.models.ngrams import Ngrams, learn_ngrams

Runs = list[list[str]]


def drawn(texts: int, seed: int = 0) -> list[Runs]:
    draw = random.Random(seed)
    return [
        [draw.choices("abcde", k=draw.randrange(6)) for _ in range(draw.randrange(4))]
        for _ in range(texts)
    ]


def grams(runs: Runs, longest: int) -> set[tuple[str, ...]]:
    return {
        tuple(run[start : start + length])
        for run in runs
        for length in range(1, longest + 1)
        for start in range(len(run) - length + 1)
    }


def spelled(ngrams: Ngrams) -> list[tuple[str, ...]]:
    """Return what each column is, from the pairs that are kept."""
    found: list[tuple[str, ...]] = [(token,) for token in ngrams.tokens]
    for pair in ngrams.longer.tolist():
        first, last = divmod(pair, len(ngrams.tokens))
        found.append((*found[first], ngrams.tokens[last]))
    return found


@pytest.mark.parametrize("longest", [1, 2, 3, 5])
def test_a_text_has_the_ngrams_that_are_in_it_and_no_others(longest: int) -> None:
    texts, others = drawn(30), drawn(30, seed=1)
    ngrams, numbered = learn_ngrams(texts, longest=longest, limit=10**6)
    names = spelled(ngrams)
    assert set(names) == set().union(*(grams(runs, longest) for runs in texts))
    assert len(names) == len(set(names)) == ngrams.size
    for rows, tokens in ((texts, numbered), (others, [ngrams.number(runs) for runs in others])):
        matrix = ngrams.find(tokens)
        assert matrix.shape == (30, ngrams.size)
        for row, runs in enumerate(rows):
            found = {names[column] for column in matrix[row].indices}
            assert found == grams(runs, longest) & set(names)
            assert matrix[row].sum() == len(found)


def test_learning_numbers_texts_as_looking_them_up_does() -> None:
    texts = drawn(20)
    ngrams, numbered = learn_ngrams(texts, longest=3, limit=7)
    for runs, tokens in zip(texts, numbered, strict=True):
        np.testing.assert_array_equal(tokens, ngrams.number(runs))


@pytest.mark.parametrize("limit", [1, 3, 8, 40])
def test_the_ngrams_of_the_most_texts_are_kept(limit: int) -> None:
    texts = drawn(40)
    ngrams, numbered = learn_ngrams(texts, longest=3, limit=limit)
    counts = Counter(gram for runs in texts for gram in grams(runs, 3))
    assert ngrams.size == limit
    least = min(counts[gram] for gram in spelled(ngrams))
    assert least >= max(counts[gram] for gram in counts.keys() - set(spelled(ngrams)))
    assert ngrams.find(numbered).sum() == sum(counts[gram] for gram in spelled(ngrams))


def test_unknown_tokens_part_what_is_around_them() -> None:
    ngrams, _ = learn_ngrams([[["a", "b"]]], longest=2, limit=10)
    found = ngrams.find([ngrams.number([["a", "x", "b"]]), ngrams.number([["a"], ["b"]])])
    assert [spelled(ngrams)[column] for column in found.indices] == [("a",), ("b",)] * 2


def test_no_texts_and_empty_texts_have_no_ngrams() -> None:
    ngrams, numbered = learn_ngrams([[], [[]]], longest=3, limit=10)
    assert ngrams.size == 0
    assert ngrams.find(numbered).shape == (2, 0)
    assert ngrams.find([]).shape == (0, 0)
