"""N-grams of tokens as numbers: learned from texts, and found again in others.

Knows nothing about what a token is, and nothing about labels. Longer n-grams are kept as numbers
and not as strings, so that a million of them take 8 MB.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Numbers = NDArray[np.int64]
Tokens = NDArray[np.int32]
"""``(tokens and gaps,)`` of one text: the column of each token, and -1 for an unknown one or a gap
between two runs."""
Runs = Iterable[Sequence[str]]
"""The tokens of one text; no n-gram reaches from one run into the next."""

_UNKNOWN = -1  # the number of a token that is not known, and of the gap between two runs
_TOKENS_AT_ONCE = 2**20


@dataclass(frozen=True, kw_only=True)
class Ngrams:
    """The n-grams that are known. Each is a column of the features: single tokens come first.

    An n-gram is known only if it is without its last token, too. So a longer one is the pair of
    that column and of its last token's.
    """

    tokens: tuple[str, ...]
    """The n-grams of one token."""
    longer: Numbers
    """``(longer n-grams,)``, rising: the first column of the pair times the number of tokens,
    plus the second."""
    longest: int
    """The most tokens of an n-gram."""

    @property
    def size(self) -> int:
        """How many n-grams are known."""
        return len(self.tokens) + len(self.longer)

    @cached_property
    def column_of(self) -> dict[str, int]:
        """The column of each single token."""
        return {token: column for column, token in enumerate(self.tokens)}

    def number(self, runs: Runs) -> Tokens:
        """Return the columns of a text's tokens."""
        get = self.column_of.get
        numbers: list[int] = []
        for run in runs:
            numbers += [get(token, _UNKNOWN) for token in run]
            numbers.append(_UNKNOWN)
        return np.array(numbers, np.int32)

    def find(self, texts: Sequence[Tokens]) -> csr_matrix:
        """Return which n-grams are in each numbered text: ones, ``(texts, n-grams)``."""
        size, starts, columns = max(self.size, 1), [0], list[NDArray[np.int32]]()
        for part in _parts(texts):
            found = self._find(part)
            # minlength, as the last texts may hold nothing that is known
            counts = np.bincount(found // size, minlength=len(part))
            starts += (starts[-1] + counts.cumsum()).tolist()
            columns.append((found % size).astype(np.int32))
        indices = np.concatenate([np.zeros(0, np.int32), *columns])
        ones = np.ones(len(indices))
        return csr_matrix((ones, indices, starts), shape=(len(texts), self.size))

    def _find(self, texts: Sequence[Tokens]) -> Numbers:
        """Return row times size plus column of every n-gram in each text, once and rising."""
        flat, row = _joined(texts)
        found = []
        for current in self._columns_at(flat):
            known = current >= 0
            found.append(row[: len(current)][known] * self.size + current[known])
        # To sort and compare neighbours is several times as fast as the hashing of numpy's unique.
        rising = np.sort(np.concatenate(found))
        return rising[np.diff(rising, prepend=-1) > 0]

    def places(self, text: Tokens) -> Iterator[tuple[int, Numbers]]:
        """Yield each length of n-grams with the column of the one that begins at each token.

        A column of -1: none that is known begins there.
        """
        return enumerate(self._columns_at(text.astype(np.int64)), start=1)

    def _columns_at(self, flat: Numbers) -> Iterator[Numbers]:
        current = flat
        for length in range(1, self.longest + 1):
            if length > 1:
                current = self._extended(current, flat[length - 1 :])
            yield current

    def _extended(self, shorter: Numbers, last: Numbers) -> Numbers:
        """Return the columns of the n-grams that begin with ``shorter`` and end with ``last``."""
        shorter = shorter[: len(last)]
        if not len(self.longer):
            return np.full(len(last), _UNKNOWN)
        columns = np.full(len(last), _UNKNOWN)
        whole = np.flatnonzero((shorter >= 0) & (last >= 0))
        pair = shorter[whole] * len(self.tokens) + last[whole]
        # Looked up from the least to the largest, neighbours are in the processor's cache.
        order = np.argsort(pair)
        whole, pair = whole[order], pair[order]
        place = np.minimum(np.searchsorted(self.longer, pair), len(self.longer) - 1)
        known = self.longer[place] == pair
        columns[whole[known]] = len(self.tokens) + place[known]
        return columns


def learn_ngrams(texts: Iterable[Runs], *, longest: int, limit: int) -> tuple[Ngrams, list[Tokens]]:
    """Return the n-grams of the texts, and the texts as `Ngrams.number` gives them.

    Args:
        texts: The runs of each text.
        longest: The most tokens of an n-gram.
        limit: The most n-grams: those in the most texts are kept, of equals the shorter ones and
            then those that come first.
    """
    columns: dict[str, int] = {}
    numbered = [_number_all(runs, columns) for runs in texts]
    pairs, counts = _count(numbered, len(columns), longest)
    every = np.concatenate(counts)
    kept = np.zeros(len(every), np.bool_)
    # No n-gram is in more texts than its beginning or its last token: if it is kept, so are they.
    kept[np.argsort(-every, kind="stable")[:limit]] = True
    renumbered = np.where(kept, kept.cumsum() - 1, _UNKNOWN)
    singles = renumbered[: len(columns)]
    known = int(kept[: len(columns)].sum())
    longer = [
        renumbered[pair // len(columns)][chosen] * known + singles[pair % len(columns)][chosen]
        for pair, chosen in zip(pairs, _split(kept, counts)[1:], strict=True)
    ]
    tokens = tuple(token for token, column in columns.items() if kept[column])
    ngrams = Ngrams(
        tokens=tokens,
        longer=np.concatenate([np.zeros(0, np.int64), *longer]),
        longest=longest,
    )
    # The gap is the last entry, which the number -1 picks.
    with_gap = np.append(singles, _UNKNOWN).astype(np.int32)
    return ngrams, [with_gap[numbers] for numbers in numbered]


def _split(values: NDArray[np.bool_], like: Sequence[Numbers]) -> list[NDArray[np.bool_]]:
    return np.split(values, np.cumsum([len(each) for each in like])[:-1])


def _number_all(runs: Runs, columns: dict[str, int]) -> Tokens:
    """Return the tokens of a text as numbers; a new token gets the next one."""
    numbers: list[int] = []
    for run in runs:
        numbers += [columns.setdefault(token, len(columns)) for token in run]
        numbers.append(_UNKNOWN)
    return np.array(numbers, np.int32)


def _count(
    texts: Sequence[Tokens], tokens: int, longest: int
) -> tuple[list[Numbers], list[Numbers]]:
    """Return the pairs of the n-grams of two tokens and more, and how many texts hold each n-gram.

    One array of each for every length; the counts begin with those of single tokens.
    """
    flat, row = _joined(texts)
    current, first = flat, 0
    pairs, counts = list[Numbers](), [_texts_with(row, flat, tokens)]
    for length in range(2, longest + 1):
        last = flat[length - 1 :]
        whole = (current[: len(last)] >= 0) & (last >= 0)
        pair, place = np.unique((current[: len(last)] * tokens + last)[whole], return_inverse=True)
        first += len(counts[-1])
        current = np.full(len(last), _UNKNOWN)
        current[whole] = first + place
        pairs.append(pair)
        counts.append(_texts_with(row, current - first, len(pair)))
    return pairs, counts


def _texts_with(row: Numbers, columns: Numbers, size: int) -> Numbers:
    """Return in how many rows each column is; negative columns are none."""
    known = columns >= 0
    once = np.unique(row[: len(columns)][known] * max(size, 1) + columns[known])
    return np.bincount(once % max(size, 1), minlength=size)


def _joined(texts: Sequence[Tokens]) -> tuple[Numbers, Numbers]:
    """Return the numbers of all texts in one array, and the row of each."""
    flat = np.concatenate([np.zeros(0, np.int64), *texts])
    return flat, np.repeat(np.arange(len(texts)), [len(text) for text in texts])


def _parts(texts: Sequence[Tokens]) -> Iterator[Sequence[Tokens]]:
    """Split texts so that few tokens are looked up at once."""
    first, tokens = 0, 0
    for number, text in enumerate(texts):
        tokens += len(text)
        if tokens >= _TOKENS_AT_ONCE:
            yield texts[first : number + 1]
            first, tokens = number + 1, 0
    if first < len(texts):
        yield texts[first:]
