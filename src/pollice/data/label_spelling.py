"""How a label is spelled: numbers, truth values, Unicode forms, and words for "no value".

Knows nothing about texts, and nothing about what a label means.
"""

import re
import unicodedata
from collections.abc import Collection
from decimal import Decimal

# No exponent of three digits: 1e999999 would be written out. Longer digits are no rating or code.
_NUMBER = re.compile(r"[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,2})?", re.ASCII)
_WHOLE = re.compile(r"([+-]?\d+)\.0+", re.ASCII)
_TRUTH = frozenset({"true", "false"})
_INVISIBLE = re.compile("[\xad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe0e\ufe0f\ufeff]+")
_DIGITS = re.compile(r"[^\W\D]+[.,\u066b]?[^\W\D]*")

NO_VALUE = frozenset({"nan", "-nan", "nat", "<na>", "#n/a"})
"""How programs write that there is no value, in lower case; nobody names a label so."""
PERHAPS_NO_VALUE = frozenset(
    {"none", "null", "na", "n/a", "-", "--", "?", "missing", "unlabeled", "unlabelled"}
)
"""What stands for "no value" but is a label of some data sets too, such as NONE of a stance."""


def is_number(label: str) -> bool:
    """Tell whether a label is a number; neither nan nor infinity is one."""
    return _NUMBER.fullmatch(label) is not None


def plain_number(label: str) -> str:
    """Return a number the shortest way, ``01`` and ``1.0`` as ``1``; other labels unchanged."""
    if not is_number(label):
        return label
    number = Decimal(label)
    if number == number.to_integral_value():
        return str(int(number))
    return format(number.normalize(), "f")


def fold(label: str) -> str:
    """Return what is left of a label without case and blanks."""
    return "".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", label)).casefold().split())


def are_plain(labels: Collection[str]) -> bool:
    """Tell whether all labels, but for words for "no value", are numbers, or all truth values."""
    values = [label for label in labels if label.casefold() not in NO_VALUE | PERHAPS_NO_VALUE]
    return bool(values) and (
        all(map(is_number, values)) or all(value.casefold() in _TRUTH for value in values)
    )


def spell(label: str, *, plain: bool) -> str:
    """Return a label in the one spelling that counts.

    In the Unicode form NFC; ``True`` and ``TRUE`` as ``true``, ``1.0`` as ``1``. ``01`` becomes
    ``1`` only if ``plain``: where other labels are words, it may be a code.
    """
    label = unicodedata.normalize("NFC", label)
    if not label.isascii() and _DIGITS.fullmatch(label):
        # The digits of Arabic, Hindi and other scripts, and the wide ones of Chinese.
        label = "".join(_ascii_digit(letter) for letter in label)
    if label.casefold() in _TRUTH:
        return label.casefold()
    if plain:
        return plain_number(label)
    whole = _WHOLE.fullmatch(label)
    return label if whole is None else whole[1]


def _ascii_digit(letter: str) -> str:
    digit = unicodedata.decimal(letter, None)
    return letter.replace("\u066b", ".") if digit is None else str(digit)
