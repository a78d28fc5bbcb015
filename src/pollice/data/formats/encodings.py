"""How a file's bytes spell letters: the encodings that a person may name, or a mark may say.

Knows nothing about files.
"""

import codecs
from encodings.aliases import aliases
from pathlib import Path

from pollice.errors import DataError, OptionError, did_you_mean

UTF8 = "utf-8"
_NO_TEXT_ENCODINGS = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"}
"""Encodings of Python's that no file has."""
LIKELY = "cp1252 or latin-1 (Western), cp1251 (Cyrillic), gb18030 (Chinese), shift_jis (Japanese)"


def known_encoding(name: str) -> str:
    """Return Python's name of an encoding.

    Raises:
        OptionError: there is no such encoding of text.
    """
    try:
        "a".encode(name)  # refuses what is no encoding of text, such as base64
        found = codecs.lookup(name).name
        if found.replace("_", "-") in _NO_TEXT_ENCODINGS:
            raise LookupError(name)
        return found
    except (LookupError, ValueError) as error:
        raise OptionError(
            f"Expected the name of an encoding, such as cp1252 or utf-16, but found {name!r}."
            f"{did_you_mean(name, _text_encodings())}"
        ) from error


def _text_encodings() -> list[str]:
    """Return the names of encodings of text; Python also calls base64 and rot13 encodings."""
    return [
        name
        for name in (*aliases, *aliases.values())
        if not aliases.get(name, name).endswith(("_codec", "rot_13", "tactis", "mbcs", "oem"))
    ]


def check_mark(path: Path, head: bytes, encoding: str) -> None:
    """Refuse UTF-16 that does not say so: its every other byte is NUL where text is Latin."""
    if encoding.startswith(("utf-16", "utf-32")):
        return
    halves = [head[::2], head[1::2]]
    for place, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        full, other = halves[place].count(0), halves[1 - place].count(0)
        if full > len(halves[place]) / 3 and other < full / 10:
            raise DataError(
                f"Expected {spoken(encoding)}, but {path} seems to be UTF-16 without a mark. "
                f"Save it again as UTF-8, or give its encoding, as --encoding {name}."
            )


def encoding_notes(
    path: Path, head: bytes, given: str | None, found: str | None
) -> tuple[str, ...]:
    """Return a sentence on an encoding that a person should know of."""
    if given is None and found not in (None, UTF8):
        return (f"{path.name}: read as {spoken(str(found))}, as its first bytes say.",)
    if given not in (None, UTF8, "ascii") and not head.isascii() and _is_utf8(head):
        return (
            f"{path.name}: read as {given}, but it is valid UTF-8 too. If letters look wrong, "
            "leave the encoding out.",
        )
    return ()


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder(UTF8)().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def spoken(encoding: str) -> str:
    """Return an encoding's name as people write it: UTF-8, but cp1252."""
    name = encoding.removesuffix("-le").removesuffix("-be")
    return name.upper() if name.startswith("utf") else name
