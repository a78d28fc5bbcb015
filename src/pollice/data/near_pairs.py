"""find_near_pairs(): the pairs among many texts that have most of their shingles in common.

Knows nothing about words, and nothing about what follows for a pair.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pollice.data.shingles import Hashes, ShingleSets

MANY_TEXTS = 10
"""A shingle that stands in more texts than these is a form that they share, such as a footer."""

_SIMILARITY = 0.8
_SKETCH = 24
_SKETCH_SHARE = 0.25  # a pair at the threshold has less than this in common once in a billion
_BUCKET_BITS = 26  # a table of 64 MiB, so that two shingles seldom count as one


class ShingleCounts:
    """In how many texts each shingle stands, up to what a byte holds."""

    def __init__(self) -> None:
        self._counts = np.zeros(1 << _BUCKET_BITS, np.uint8)

    def add(self, sets: ShingleSets) -> None:
        """Count the shingles of further texts."""
        buckets, times = np.unique(_buckets(sets.hashes), return_counts=True)
        # The sum is of 64 bits, as `times` is; a sum of bytes would wrap round and look rare again.
        self._counts[buckets] = np.minimum(self._counts[buckets] + times, 255)

    def keep_own(self, sets: ShingleSets) -> ShingleSets:
        """Leave out the shingles that stand in many texts."""
        # Two shingles in one bucket make a count too high, never too low: no common form stays.
        return sets.keep(self._counts[_buckets(sets.hashes)] <= MANY_TEXTS)


def _buckets(hashes: Hashes) -> Hashes:
    return hashes >> np.uint32(32 - _BUCKET_BITS)


def find_near_pairs(sets: ShingleSets, own: ShingleSets) -> Iterator[tuple[int, int]]:
    """Yield the places of two texts that are alike in all their shingles and in their own.

    Alike is a Jaccard similarity of 0.8 or more. Candidates share a quarter of the 24 smallest
    hashes of their own shingles (Broder 1997, On the resemblance and containment of documents,
    section 4); since few texts have each, they are few, whatever the texts. Texts without a shingle
    of their own make no pair.
    """
    starts, own_starts = sets.starts, own.starts
    for one, other in _candidates(sets, own):
        if _are_alike(sets, starts, one, other) and _are_alike(own, own_starts, one, other):
            yield one, other


def _candidates(sets: ShingleSets, own: ShingleSets) -> list[tuple[int, int]]:
    # Each text's hashes are sorted, so a rank below _SKETCH means one of its smallest.
    ranks = np.arange(len(own.hashes)) - own.starts[own.places]
    sketches = own.keep(ranks < _SKETCH)
    # Stable: the texts of one hash stay in rising order, so a pair has one form, (lower, higher).
    order = np.argsort(sketches.hashes, kind="stable")
    hashes, places = sketches.hashes[order], sketches.places[order]
    pairs = [np.zeros(0, np.int64)]
    # An own shingle stands in MANY_TEXTS texts at most, once in each, so equal hashes lie closer
    # than that: this finds every pair, and its work is bounded whatever the texts are.
    for distance in range(1, MANY_TEXTS):
        shared = hashes[distance:] == hashes[:-distance]
        ones, others = places[:-distance][shared], places[distance:][shared]
        fitting = _similar_sizes(sets, ones, others) & _similar_sizes(own, ones, others)
        # Two places in one number, so that np.unique counts how many hashes a pair shares.
        pairs.append(ones[fitting] << 32 | others[fitting])
    found, times = np.unique(np.concatenate(pairs), return_counts=True)
    ones, others = found >> 32, found & 0xFFFFFFFF
    least = _SKETCH_SHARE * np.minimum(sketches.sizes[ones], sketches.sizes[others])
    enough = times >= least
    return list(zip(ones[enough].tolist(), others[enough].tolist(), strict=True))


def _similar_sizes(
    sets: ShingleSets, ones: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Tell of which pairs the sizes allow that they are alike."""
    sizes = sets.sizes[ones], sets.sizes[others]
    # Jaccard is at most the smaller size over the larger: no pair above the threshold is lost.
    return np.minimum(*sizes) >= _SIMILARITY * np.maximum(*sizes)


def _are_alike(sets: ShingleSets, starts: NDArray[np.int64], one: int, other: int) -> bool:
    first, second = (
        sets.hashes[starts[place] : starts[place] + sets.sizes[place]] for place in (one, other)
    )
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared >= _SIMILARITY * (len(first) + len(second) - shared)
