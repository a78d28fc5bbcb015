"""Where the tokens of `pollice.models.tokens` stand in the text as it was written.

Knows nothing about models. Tokens are found in folded text, which has other lengths: a ligature
becomes two letters, and a letter with its accent one.
"""

import re
import unicodedata
from collections.abc import Iterator

from pollice.models.tokens import BLANK, find_tokens, fold

Span = tuple[int, int]
Located = list[tuple[str, Span]]
"""The tokens of one run, each with its place in the text."""


def locate_words_and_signs(text: str) -> list[Located]:
    """Return what `words_and_signs` finds, as one run."""
    run = [
        (token, (places[start][0], places[end - 1][1]))
        for folded, places in _folded_words(text)
        for token, start, end in find_tokens(folded)
    ]
    return [run]


def locate_characters(text: str) -> list[Located]:
    """Return what `characters` finds; the blanks stand where their neighbours stand."""
    return [
        [(BLANK, places[0]), *zip(folded, places, strict=True), (BLANK, places[-1])]
        for folded, places in _folded_words(text)
    ]


def _folded_words(text: str) -> Iterator[tuple[str, list[Span]]]:
    """Yield each folded word, as far as blanks part them, and the place of each character."""
    for match in re.finditer(r"\S+", text):
        folded, places = _folded(match[0], match.start())
        # Folding makes a blank and a mark of some signs, such as a lone accent.
        for word in re.finditer(r"\S+", folded):
            yield word[0], places[word.start() : word.end()]


def _folded(word: str, offset: int) -> tuple[str, list[Span]]:
    folded = fold(word)
    letters, places = "", list[Span]()
    for start, end in _letters(word):
        part = fold(word[start:end])
        letters += part
        places += [(offset + start, offset + end)] * len(part)
    if letters == folded:
        return folded, places
    # Where letters change with their neighbours, all of the word is the place of each.
    return folded, [(offset, offset + len(word))] * len(folded)


def _letters(word: str) -> Iterator[Span]:
    """Yield where each letter is, together with the marks on it."""
    start = 0
    for place in range(1, len(word) + 1):
        if place == len(word) or unicodedata.category(word[place])[0] != "M":
            yield start, place
            start = place
