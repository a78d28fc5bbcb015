"""Texts as sets of shingles: the runs of five words that two texts can have in common.

Knows nothing about which texts are duplicates.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]
Hashes = NDArray[np.uint32]

SHINGLE_WORDS = 5
_LEAST_DIGITS = 3  # of an order or ticket number; shorter ones may be ratings, which tell
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: Knuth, multiplicative hashing


def _gaps() -> str:
    """Return the characters below the Chinese ones that part words: punctuation, signs, blanks."""
    characters = (*map(chr, range(0x3400)), *map(chr, range(0xFE00, 0x10000)))
    return re.escape(
        "".join(
            character
            for character in characters
            if unicodedata.category(character) in {"Sm", "Sk", "Sc"}
            or unicodedata.category(character)[0] in "PZC"
        )
    )


_WORD = re.compile(f"[^{_gaps()}]+")
_ALONE = re.compile(  # scripts without blanks between words; arrows, symbols and emoji
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2190-\u2bff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U0001f000-\U0001faff"
    "\U00020000-\U0003ffff])"
)
_SIGN = re.compile(  # faces such as :-) or <3, then grades and numbers: A+, A-, -5, C#
    r"[:;=]['^o-]?[()\[\]{}|/\\<>]+|</?3|[+#]+|(?<!\w)-(?=\d)|(?<=\w)-$"
)
_APOSTROPHE = re.compile("['\u2019]")
_REPEATED = re.compile(r"([^\W\d_])\1+")


def split_words(text: str) -> list[str]:
    """Return the words of a normalized text; without blanks in its script, its characters."""
    return _WORD.findall(text if text.isascii() else _ALONE.sub(r" \1 ", text))


def spell(text: str) -> str:
    """Return what tells a short text apart, character by character: its letters and its signs.

    Punctuation counts only as a sign, such as ``:)``, and a doubled letter once.
    """
    words = split_words(_APOSTROPHE.sub("", text))
    return _REPEATED.sub(r"\1", " ".join([*words, *_SIGN.findall(text)])) if words else text


class WordNumbers(dict[str, int]):
    """A 64-bit number for every word, the same on every machine, and one for all long numbers."""

    def __missing__(self, word: str) -> int:
        """Number a word that comes for the first time."""
        known = "0" if len(word) >= _LEAST_DIGITS and word.isdecimal() else word
        # Not hash(), which differs in every process. Texts given in Python may hold half a
        # surrogate pair, which plain UTF-8 refuses.
        digest = hashlib.blake2b(known.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = self[word] = int.from_bytes(digest, "big")
        return number

    def of(self, words: Sequence[str]) -> Numbers:
        """Return the numbers of words, in their order."""
        return np.fromiter(map(self.__getitem__, words), np.uint64, count=len(words))


@dataclass(frozen=True, kw_only=True)
class ShingleSets:
    """The shingles of several texts as hashes, one text after the other, each text's sorted."""

    hashes: Hashes
    sizes: NDArray[np.int64]
    """How many shingles each text has."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each text's shingles start."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def places(self) -> NDArray[np.int64]:
        """The place among the texts of each shingle."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def keep(self, kept: NDArray[np.bool_]) -> "ShingleSets":
        """Return the sets of the shingles that are to be kept, ``(shingles,)``."""
        # minlength: a text that loses every shingle keeps its place, with the size 0.
        sizes = np.bincount(self.places[kept], minlength=len(self.sizes))
        return ShingleSets(hashes=self.hashes[kept], sizes=sizes)


def join_sets(batches: Sequence[ShingleSets]) -> ShingleSets:
    """Return the sets of all batches, in their order."""
    return ShingleSets(
        hashes=np.concatenate([batch.hashes for batch in batches]),
        sizes=np.concatenate([batch.sizes for batch in batches]),
    )


def hash_shingles(texts: Sequence[Numbers]) -> ShingleSets:
    """Return the shingles of texts given by the numbers of their words, five or more each."""
    lengths = np.array([len(text) for text in texts], np.int64)
    numbers = np.concatenate(texts)
    count = len(numbers) - SHINGLE_WORDS + 1
    hashes = np.zeros(count, np.uint64)
    for offset in range(SHINGLE_WORDS):
        # Wraps modulo 2**64 on purpose. A product carries low bits up only; the shift below
        # brings high ones down again.
        hashes = (hashes + numbers[offset : offset + count]) * _MIX
        hashes ^= hashes >> np.uint64(29)
    places = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)
    # A run that begins in one text and ends in the next is no shingle.
    whole = places[:count] == places[SHINGLE_WORDS - 1 :]
    # The text above, the upper half of the hash below: one sort orders by text, then by hash.
    placed = np.sort(places[:count][whole] << np.uint64(32) | hashes[whole] >> np.uint64(32))
    distinct = placed[np.append(True, placed[1:] != placed[:-1])]
    sizes = np.bincount((distinct >> np.uint64(32)).astype(np.int64), minlength=len(texts))
    # The cast drops the upper half, which is the text's place.
    return ShingleSets(hashes=distinct.astype(np.uint32), sizes=sizes)
