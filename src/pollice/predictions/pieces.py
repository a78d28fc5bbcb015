"""A part of a text with the weight that it has for an answer.

Knows nothing about how a weight is found.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a text, and how much it spoke for the label that is explained."""

    start: int
    end: int
    """``text[start:end]`` is the piece."""
    weight: float
    """How much it adds to the log-odds of the label; negative: it takes from them."""
