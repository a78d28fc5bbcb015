"""Pairs of texts that have most of their shingles in common."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pollice.data.near_pairs import MANY_TEXTS, ShingleCounts, find_near_pairs
from pollice.data.shingles import ShingleSets


def sets_of(texts: list[set[int]]) -> ShingleSets:
    """Return sets of hashes that are spread over all buckets."""
    hashes = [sorted(number * 2_654_435_761 % 2**32 for number in text) for text in texts]
    return ShingleSets(
        hashes=np.array([each for text in hashes for each in text], np.uint32),
        sizes=np.array([len(text) for text in texts], np.int64),
    )


def pairs_of(texts: list[set[int]]) -> set[tuple[int, int]]:
    sets = sets_of(texts)
    counts = ShingleCounts()
    counts.add(sets)
    return set(find_near_pairs(sets, counts.keep_own(sets)))


def similarity(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other)


@settings(deadline=None)
@given(
    st.lists(
        st.sets(st.integers(0, 60), min_size=1).map(lambda few: set(range(100)) - few),
        max_size=MANY_TEXTS,
    )
)
def test_among_few_texts_every_similar_pair_is_found(texts: list[set[int]]) -> None:
    """The threshold is the true similarity, whatever the sketches hold."""
    assert pairs_of(texts) == {
        (one, other)
        for other in range(len(texts))
        for one in range(other)
        if similarity(texts[one], texts[other]) >= 0.8
    }


def test_what_many_texts_share_makes_no_pair() -> None:
    form = set(range(100))
    texts = [form | set(range(1000 * row, 1000 * row + 10)) for row in range(1, 31)]
    assert pairs_of(texts[:MANY_TEXTS])
    assert pairs_of(texts) == set()
    again = [*texts, form | (texts[4] - {5003})]
    assert pairs_of(again) == {(4, 30)}


def test_a_form_alone_makes_no_pair() -> None:
    """A text has a shingle of its own, or nothing tells it from the form."""
    assert pairs_of([set(range(100)) for _ in range(MANY_TEXTS + 1)]) == set()
    assert pairs_of([]) == set()


def test_counts_of_one_shingle_end_at_what_a_byte_holds() -> None:
    """More than 255 texts are still many."""
    counts = ShingleCounts()
    sets = sets_of([{1}])
    for _ in range(300):
        counts.add(sets)
    assert len(counts.keep_own(sets).hashes) == 0
