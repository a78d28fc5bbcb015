"""find_duplicates(): which texts are the same, or nearly so.

Knows nothing about labels, and nothing about splits.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pollice.data.cleaning import normalize
from pollice.system.progress import Advance, stage

_SHINGLE_WORDS = 5
_SIMILARITY = 0.8
_BAND = 4
_BANDS = 32  # at the threshold, a pair shares no band once in 20 million
_SURELY_APART = 0.65  # more than four standard deviations below the threshold
_PROGRESS_ROWS = 500
_WORD = re.compile(r"\w+")
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: Knuth, multiplicative hashing


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Which texts are the same, or nearly so."""

    groups: tuple[int, ...]
    """For each text, the first text of its group."""
    exact: int
    """Texts that repeat an earlier one."""
    near: int
    """Further texts that are nearly an earlier one."""


def find_duplicates(texts: Sequence[str], *, near: bool = True) -> Duplicates:
    """Group the texts that are the same, or nearly so.

    The same: but for case, white space, HTML and Unicode form. Nearly the same: the Jaccard
    similarity of their sets of five-word shingles is 0.8 or more, or a chain of such pairs joins
    them. Candidates are the texts whose MinHash signatures agree in a band (Broder 1997, On the
    resemblance and containment of documents; Leskovec et al., Mining of Massive Datasets, 3.4),
    and each pair is checked on its shingles. Texts below five words have exact duplicates only.
    """
    first: dict[str, int] = {}
    groups = [first.setdefault(normalize(text), row) for row, text in enumerate(texts)]
    exact = len(texts) - len(first)
    if near:
        distinct = list(first.values())
        nearest = _NearDuplicates(list(first)).groups()
        group_of = {row: distinct[group] for row, group in zip(distinct, nearest, strict=True)}
        groups = [group_of[row] for row in groups]
    return Duplicates(groups=tuple(groups), exact=exact, near=len(texts) - exact - len(set(groups)))


class _NearDuplicates:
    """Texts in a union-find forest, whose roots are the first texts of their groups."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.word_numbers: dict[str, int] = {}
        self.parents = list(range(len(texts)))

    def groups(self) -> list[int]:
        with stage("looking for near duplicates", total=len(self.texts)) as advance:
            rows, signatures = self.sign(advance)
        for band in range(0, _BAND * _BANDS, _BAND):
            for bucket in _buckets(signatures[:, band : band + _BAND]):
                self.join(bucket, rows, signatures)
        return [self.root(row) for row in range(len(self.texts))]

    def sign(self, advance: Advance) -> tuple[list[int], NDArray[np.uint32]]:
        """Return the rows long enough for shingles and their signatures ``(rows, hashes)``."""
        # Imported here: it brings scipy along, which the types of a result do without.
        from datasketch import MinHash

        empty = MinHash(num_perm=_BAND * _BANDS, hashfunc=int)
        rows, signatures = [], [np.zeros((0, _BAND * _BANDS), np.uint32)]
        for row in range(len(self.texts)):
            shingles = self.shingles(row)
            if len(shingles):
                minhash = empty.copy()
                minhash.update_batch((shingles >> np.uint64(32)).tolist())
                rows.append(row)
                signatures.append(minhash.hashvalues[np.newaxis])
            if row % _PROGRESS_ROWS == _PROGRESS_ROWS - 1:
                advance(_PROGRESS_ROWS)
        advance(len(self.texts) % _PROGRESS_ROWS)
        return rows, np.concatenate(signatures)

    def shingles(self, row: int) -> NDArray[np.uint64]:
        """Return the sorted 64-bit hashes of a text's shingles; none if it is too short.

        Words are numbered as they come, so that the hashes do not depend on the process.
        """
        words = _WORD.findall(self.texts[row])
        known = self.word_numbers
        numbers = np.array([known.setdefault(word, len(known)) for word in words], np.uint64)
        count = max(0, len(numbers) - _SHINGLE_WORDS + 1)
        hashes = np.zeros(count, np.uint64)
        for offset in range(_SHINGLE_WORDS):
            hashes = (hashes + numbers[offset : offset + count] + np.uint64(1)) * _MIX
            hashes ^= hashes >> np.uint64(29)
        return np.unique(hashes)

    def join(
        self, bucket: NDArray[np.intp], rows: Sequence[int], signatures: NDArray[np.uint32]
    ) -> None:
        """Join the near duplicates among texts that agree in a band."""
        roots = np.array([self.root(rows[place]) for place in bucket])
        shingles: dict[int, NDArray[np.uint64]] = {}
        for last in range(1, len(bucket)):
            apart = np.flatnonzero(roots[:last] != roots[last])
            agreement = np.mean(signatures[bucket[apart]] == signatures[bucket[last]], axis=1)
            for first in apart[agreement > _SURELY_APART]:
                if roots[first] == roots[last]:
                    continue
                for member in (first, last):
                    if member not in shingles:
                        shingles[member] = self.shingles(rows[bucket[member]])
                if _alike(shingles[first], shingles[last]):
                    joined, left = sorted((roots[first], roots[last]))
                    self.parents[left] = int(joined)
                    roots[roots == left] = joined

    def root(self, row: int) -> int:
        while self.parents[row] != row:
            self.parents[row] = self.parents[self.parents[row]]
            row = self.parents[row]
        return row


def _alike(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> bool:
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared >= _SIMILARITY * (len(one) + len(other) - shared)


def _buckets(band: NDArray[np.uint32]) -> Iterator[NDArray[Any]]:
    """Yield the places, in order, of the rows that agree in all columns, where two or more do."""
    _, bucket_of, counts = np.unique(band, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(bucket_of, kind="stable")
    for end, count in zip(np.cumsum(counts), counts, strict=True):
        if count > 1:
            yield order[end - count : end]
