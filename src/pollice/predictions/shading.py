"""A text as stretches, each with how strongly it speaks for or against a label.

Knows nothing about colours: a terminal and a page each have their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pollice.predictions.pieces import Piece

STRONGEST = 3
_BOUNDS = (0.1, 1 / 3, 2 / 3)
"""Of the greatest weight in the text: from each share on, the shade is one darker."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A part of a text: from -3, strongly against the label, to 3, strongly for it."""

    text: str
    shade: int = 0
    weight: float = 0.0
    """Of the piece; 0 where nothing was looked at."""

    @property
    def length(self) -> int:
        """The number of characters."""
        return len(self.text)

    @property
    def sign(self) -> str:
        """The shade for readers without colours, such as ``++``; empty where there is none."""
        return ("+" if self.shade > 0 else "-") * abs(self.shade)


def shade(text: str, pieces: Sequence[Piece]) -> tuple[Stretch, ...]:
    """Return the whole text as stretches: the pieces with their shades, and what is between."""
    greatest = max((abs(piece.weight) for piece in pieces), default=0.0)
    stretches, done = list[Stretch](), 0
    for piece in sorted(pieces, key=lambda piece: piece.start):
        stretches.append(Stretch(text=text[done : piece.start]))
        level = sum(abs(piece.weight) >= bound * greatest for bound in _BOUNDS) if greatest else 0
        stretches.append(
            Stretch(
                text=text[piece.start : piece.end],
                shade=level if piece.weight > 0 else -level,
                weight=piece.weight,
            )
        )
        done = piece.end
    stretches.append(Stretch(text=text[done:]))
    return tuple(stretch for stretch in stretches if stretch.text)
