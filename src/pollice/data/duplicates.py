"""find_duplicates(): which texts are the same, or nearly so.

Knows nothing about labels, and nothing about splits.

What is a copy and what is not:

- "Nothing to add." is a copy of "nothing to add": neither case, nor white space, HTML, invisible
  characters or final punctuation make another text.
- A text of five words or more is nearly another one if four fifths of their runs of five words are
  the same. Punctuation is no word; in scripts without blanks, such as Chinese and Thai, each
  character is one. Numbers of three digits or more, such as those of an order, count as one number.
- Words that many texts have in common, such as a footer, a form or a question before each answer,
  make no copies: what the texts have besides them must be nearly the same too. "Dear team, ticket
  4711 is still open" is a copy of the same with 4712, but two answers to one question are not.
- A shorter text is compared letter by letter: a comma, or a letter that is doubled, is no
  difference, but "good" and "not good", or ":)" and ":(", are two texts.

The work grows in proportion to the texts, whatever they are.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pollice.data.cleaning import normalize
from pollice.data.near_pairs import ShingleCounts, find_near_pairs
from pollice.data.shingles import (
    SHINGLE_WORDS,
    Numbers,
    ShingleSets,
    WordNumbers,
    hash_shingles,
    join_sets,
    spell,
    split_words,
)
from pollice.system.progress import stage

_BATCH_ROWS = 500


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Which texts are the same, or nearly so."""

    groups: tuple[int, ...]
    """For each text, the first text of its group."""
    keys: tuple[bytes, ...]
    """For each text, a hash of its normal form: equal for texts that are the same."""
    exact: int
    """Texts that repeat an earlier one."""
    near: int
    """Further texts that are nearly an earlier one."""


def find_duplicates(texts: Sequence[str], *, near: bool = True) -> Duplicates:
    """Group the texts that are the same, or nearly so.

    The same: of one normal form (`pollice.data.cleaning.normalize`). Nearly the same: of the same
    words; or the Jaccard similarity of the sets of five-word shingles is 0.8 or more, that of all
    and that of those which stand in at most ten different texts; or a chain of such pairs.
    """
    first: dict[bytes, int] = {}
    found = _NearDuplicates() if near else None
    keys: list[bytes] = []
    with stage("looking for copies", total=len(texts)) as advance:
        for start in range(0, len(texts), _BATCH_ROWS):
            forms = [normalize(text) for text in texts[start : start + _BATCH_ROWS]]
            new = []
            for form in forms:
                key = key_of(form)
                # Only new forms go on: an exact copy must not make its shingles look like those
                # of many different texts.
                if first.setdefault(key, len(keys)) == len(keys):
                    new.append(form)
                keys.append(key)
            if found:
                found.add(new)
            advance(len(forms))
    groups = [first[key] for key in keys]
    if found:
        # A dict keeps its order, so this has the rows in the order in which `found` counted them.
        distinct = list(first.values())
        nearest = found.find_groups()
        group_of = {row: distinct[group] for row, group in zip(distinct, nearest, strict=True)}
        groups = [group_of[row] for row in groups]
    exact = len(texts) - len(first)
    return Duplicates(
        groups=tuple(groups),
        keys=tuple(keys),
        exact=exact,
        near=len(texts) - exact - len(set(groups)),
    )


def key_of(form: str) -> bytes:
    """Return a hash of 16 bytes of a normalized text, the same on every machine."""
    return _hash(form.encode("utf-8", "surrogatepass"))


def text_key(text: str) -> bytes:
    """Return the key of a text: that of its normal form, so that copies have the same."""
    return key_of(normalize(text))


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


class _NearDuplicates:
    """Different texts in a union-find forest, whose roots are the first texts of their groups."""

    def __init__(self) -> None:
        self.parents: list[int] = []
        self.word_numbers = WordNumbers()
        self.first_with: dict[bytes, int] = {}
        self.long_texts: list[int] = []
        self.batches: list[ShingleSets] = []
        self.counts = ShingleCounts()

    def add(self, forms: Sequence[str]) -> None:
        """Join the normalized texts that have the same words; keep the shingles of the others."""
        numbered: list[Numbers] = []
        for form in forms:
            text = len(self.parents)
            words = split_words(form)
            if len(words) < SHINGLE_WORDS:
                self.parents.append(self.first_with.setdefault(key_of(spell(form)), text))
                continue
            numbers = self.word_numbers.of(words)
            # Texts that differ in punctuation or long numbers only join here, and their shingles
            # are counted once.
            same = self.first_with.setdefault(_hash(numbers.tobytes()), text)
            self.parents.append(same)
            if same == text:
                self.long_texts.append(text)
                numbered.append(numbers)
        if numbered:
            self.batches.append(hash_shingles(numbered))
            self.counts.add(self.batches[-1])

    def find_groups(self) -> list[int]:
        """Return the first text of the group of each."""
        if self.batches:
            sets = join_sets(self.batches)
            own = self.counts.keep_own(sets)
            for one, other in find_near_pairs(sets, own):
                self.join(self.long_texts[one], self.long_texts[other])
        return [self.root(text) for text in range(len(self.parents))]

    def join(self, one: int, other: int) -> None:
        # The earlier text stays the root, so that groups do not depend on the order of the joins.
        first, later = sorted((self.root(one), self.root(other)))
        self.parents[later] = first

    def root(self, text: int) -> int:
        # Path halving, in a loop: a long chain of copies would be too deep for recursion.
        while self.parents[text] != text:
            self.parents[text] = self.parents[self.parents[text]]
            text = self.parents[text]
        return text
