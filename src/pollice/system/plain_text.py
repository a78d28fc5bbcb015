"""Foreign text made harmless to show: what steers a terminal or a page becomes something to see.

Knows nothing about terminals, files and encodings.
"""

import re

# Besides control characters: marks that turn the direction of what follows, so that a name reads as
# another one (https://trojansource.codes), and lone surrogates, which cannot be written.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSEEN_OR_RETURN = re.compile(f"\r|{_UNSEEN.pattern}")


def visible(text: str) -> str:
    """Return text that can be written as UTF-8 and cannot steer a terminal or a page.

    Control characters become their pictures (U+2400 on); the rest of what has no shape,
    such as lone surrogates and bidirectional overrides, becomes U+FFFD.
    """
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNSEEN.sub(lambda found: _picture(ord(found[0])), plain)


def _picture(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else "\ufffd"


def one_line(text: str) -> str:
    """Return visible text without line breaks."""
    return " ".join(visible(text).split())


def escaped(text: str) -> str:
    """Return text for a stream: pictures as in `visible`, and escapes for the rest.

    The escapes are those of JSON, so that JSON which is written in this way keeps its content.
    """
    return _UNSEEN_OR_RETURN.sub(lambda found: _picture_or_escape(found[0]), text)


def _picture_or_escape(letter: str) -> str:
    return _picture(ord(letter)) if letter < " " else _escape(letter)


def _escape(letter: str) -> str:
    """Return the escape of JSON: four digits, or two times four beyond the 16 bits of UTF-16."""
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def escape_letters(text: str) -> str:
    """Return every letter as its escape, for those that an encoding does not have."""
    return "".join(map(_escape, text))
