"""What of a text carries meaning in any language: words and signs, or characters.

Knows nothing about labels, and nothing about which tokens a model has seen before.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

# Scripts that put no blank between words: there each character is a token of its own.
_UNSPACED = (
    "\u0e00-\u0e3e\u0e40-\u0e4f"  # Thai, without its digits and its currency sign
    "\u0e80-\u0ecf"  # Lao
    "\u1000-\u103f\u1050-\u108f\uaa60-\uaa7f\ua9e0-\ua9fe"  # Burmese
    "\u1780-\u17d3"  # Khmer
    "\u1950-\u19df\u1a20-\u1aad"  # Tai Le, New Tai Lue, Tai Tham
    "\u3005-\u3007\u3040-\u309f\u30a0-\u30ff\u31f0-\u31ff"  # Japanese syllables
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Chinese characters
)
# The soft hyphen, joiners, marks of direction, the byte order mark and variation selectors: they
# change how a text is shown, and would make two tokens of one.
_INVISIBLE = re.compile(
    "[\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]+"
)
_LAST_MARK = 0x1FFFF  # the only ones beyond it are invisible
_APOSTROPHES = str.maketrans("\u2019\u02bc", "''")
BLANK = " "
"""Stands before and after each word in `characters`."""


def fold(text: str) -> str:
    """Return the text in the form in which tokens are compared.

    Unicode form NFKC and case folded, without invisible characters. Accents stay: "schon" and
    "schön" are two words.
    """
    if text.isascii():  # such a text is in every form already
        return text.lower()
    plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold()
    # Folding the case can take a text out of its form: it is no stable operation of Unicode.
    return unicodedata.normalize("NFKC", plain).translate(_APOSTROPHES)


def words_and_signs(text: str) -> list[str]:
    """Return the words of a text and, one by one, its signs: punctuation, symbols, emoji.

    A character of a script without blanks, such as Chinese or Thai, is a token of its own.
    """
    folded = fold(text)
    return _pattern_for(folded).findall(folded)


def find_tokens(folded: str) -> Iterator[tuple[str, int, int]]:
    """Yield each word or sign of a folded text, with its beginning and end there."""
    return ((match[0], *match.span()) for match in _pattern_for(folded).finditer(folded))


def characters(text: str) -> Iterator[Sequence[str]]:
    """Return each word of a text, as far as blanks part them, with a blank before and after it."""
    return (f"{BLANK}{word}{BLANK}" for word in fold(text).split())


def is_unspaced(token: str) -> bool:
    """Return whether a token is of a script that puts no blank between words."""
    return _unspaced().match(token) is not None


@cache
def _unspaced() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]")


def _pattern_for(folded: str) -> re.Pattern[str]:
    return _ASCII if folded.isascii() else _pattern()


# What `_pattern` finds in a text of ASCII alone, and three times as fast.
_ASCII = re.compile(r"\w+(?:'\w+)*|\S")


@cache
def _pattern() -> re.Pattern[str]:
    """Return the pattern of one token.

    Python's ``\\w`` leaves out the signs that carry vowels in Hindi, Tamil or Thai, and so would
    break a word at each of them; here they belong to what stands before them.
    """
    marks = _marks()
    letter = rf"(?![{_UNSPACED}])[\w{marks}]"
    word = f"(?:{letter})+"
    return re.compile(rf"[{_UNSPACED}][{marks}]*|{word}(?:'{word})*|\S")


def _marks() -> str:
    """Return all combining marks, as ranges within a character class."""
    ranges: list[list[int]] = []
    for code in range(_LAST_MARK + 1):
        if unicodedata.category(chr(code)).startswith("M"):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
