"""The way to the terminal: what is printed never fails, and foreign text never steers a terminal.

Every command prints through the two streams that `plain_streams` sets, or through `terminal`.
Knows nothing about what is printed.
"""

import codecs
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, TextIO

from pollice.system.plain_text import escape_letters, escaped

_ESCAPING = "pollice-escaping"
"""The name of the error handler of encodings: what an encoding lacks is written as an escape."""

_OUTPUTS = ("stdout", "stderr")


def _escape_unknown(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)  # it is set for writing alone
    return escape_letters(error.object[error.start : error.end]), error.end


codecs.register_error(_ESCAPING, _escape_unknown)


class PlainStream:
    """A stream for text without styles: control characters are shown, not obeyed.

    Everything but writing is what the stream behind it does.
    """

    def __init__(self, stream: TextIO) -> None:
        self.behind = stream

    def write(self, text: str) -> int:
        """Write text; return its number of characters."""
        self.behind.write(escaped(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write every line, without adding line ends."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        # click writes to the bytes below a stream that says it is ASCII, and so past the filter.
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self.behind, name)


@contextmanager
def plain_streams() -> Iterator[None]:
    """Let standard output and standard error take every text while this context lasts."""
    before = {name: getattr(sys, name) for name in _OUTPUTS}
    errors = {stream: stream.errors for stream in before.values() if _can_change(stream)}
    for stream in errors:
        stream.reconfigure(errors=_ESCAPING)
    for name, stream in before.items():
        if stream is not None:
            setattr(sys, name, PlainStream(stream))
    try:
        yield
    finally:
        for name, stream in before.items():
            setattr(sys, name, stream)
        for stream, handler in errors.items():
            stream.reconfigure(errors=handler)


def _can_change(stream: Any) -> bool:
    return isinstance(stream, TextIOWrapper)
