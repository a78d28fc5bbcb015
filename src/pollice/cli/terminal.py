"""The terminal for tables, styles and bars: a rich console that foreign text cannot steer.

Knows nothing about what is printed.
"""

from collections.abc import Iterable
from typing import IO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from pollice.cli.streams import PlainStream
from pollice.system.plain_text import escaped

_BRAILLE = dict.fromkeys(range(0x2800, 0x2900), "*")
_STAND_INS = _BRAILLE | str.maketrans(
    "✓…·“”─━│╸╺\N{EN DASH}\N{EM DASH}\N{NO-BREAK SPACE}", '+~*""--|---- '
)
"""Our own signs and those of bars, for encodings that lack them; other letters become escapes."""


class Terminal(Console):
    """A console that shows the control characters of texts, and obeys only its own."""

    @property
    def file(self) -> IO[str]:
        """The stream itself: the filter of plain text would show this console's own styles too."""
        stream = super().file
        return stream.behind if isinstance(stream, PlainStream) else stream

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        Console.file.fset(self, new_file)  # type: ignore[attr-defined]  # mypy takes it for a value

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of what is printed, with every foreign control character shown."""
        for segment in super().render(renderable, options):
            plain = Segment(self._writable(escaped(segment.text)), segment.style)
            yield segment if segment.control else plain

    def _writable(self, text: str) -> str:
        """Put stand-ins for signs that the stream's encoding does not have."""
        if text.isascii() or self.encoding.startswith("utf"):
            return text
        return "".join(self._letter(letter) for letter in text)

    def _letter(self, letter: str) -> str:
        try:
            letter.encode(self.encoding)
        except UnicodeEncodeError:
            return letter.translate(_STAND_INS)
        return letter

    def on_broken_pipe(self) -> None:
        """Leave it to the caller that nobody reads on, who knows the exit code."""
        raise  # rich calls this while it handles a BrokenPipeError
