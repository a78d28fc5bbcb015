"""Texts as an encoder reads them: which tokens stand around them, and how long ones are cut.

Knows nothing about tokenizers and models: PyTorch is not needed here, so that predictors which
were exported read texts in the very same way.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pollice.models.batching import Keep, cut

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Texts to token ids, nothing added around them."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Texts as an encoder reads them: each in one piece, or a long one in several."""

    tokens: list[list[int]]
    """For each piece its ids, with the control tokens around them."""
    owners: NDArray[np.int64]
    """``(pieces,)``: the text that each piece is of, in order."""
    truncated: NDArray[np.bool_]
    """``(texts,)``."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """``(pieces,)``, control tokens counted."""
        return np.array([len(tokens) for tokens in self.tokens], np.int64)

    def average(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the means over each text's pieces: ``(texts, columns)``."""
        totals = np.zeros((len(self.truncated), table.shape[1]))
        # Not `totals[owners] += table`: with an owner named twice, that adds one of its pieces
        # only.
        np.add.at(totals, self.owners, table)
        pieces: NDArray[np.int64] = np.bincount(self.owners, minlength=len(totals))
        return totals / pieces[:, None]

    def tokens_read(self) -> NDArray[np.int64]:
        """Return the tokens of all pieces of each text, ``(texts,)``."""
        totals = np.zeros(len(self.truncated), np.int64)
        np.add.at(totals, self.owners, self.lengths)
        return totals


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What stands around every text, and how many tokens of it are read."""

    prefix: str = ""
    """What is put before every text, and stays there whatever part of it is read."""
    prefixed: tuple[int, ...] = ()
    """The tokens of the prefix."""
    lead: tuple[int, ...]
    """The control tokens before the prefix."""
    trail: tuple[int, ...]
    """The control tokens after a text."""
    max_tokens: int
    """The most tokens of a piece, all those around it counted."""
    keep: Keep | Literal["chunks"]
    """What is read of a longer text; chunks: all of it, in pieces."""

    @property
    def room(self) -> int:
        """The tokens that are left for a text."""
        return self.max_tokens - len(self.lead) - len(self.prefixed) - len(self.trail)

    def read(self, texts: Sequence[str], encode: Encode) -> Encoded:
        """Encode texts, and cut the long ones or divide them."""
        # Together, since many tokenizers read a word otherwise where nothing is before it.
        whole = encode([self.prefix + text for text in texts])
        encoded = [tokens[len(self.prefixed) :] for tokens in whole]
        divided = [self._pieces(tokens) for tokens in encoded]
        lead = (*self.lead, *self.prefixed)
        in_pieces = self.keep == "chunks"
        return Encoded(
            tokens=[[*lead, *piece, *self.trail] for pieces in divided for piece in pieces],
            owners=np.repeat(np.arange(len(divided)), [len(pieces) for pieces in divided]),
            truncated=np.array(
                [not in_pieces and len(tokens) > self.room for tokens in encoded], np.bool_
            ),
        )

    def _pieces(self, tokens: Sequence[int]) -> list[list[int]]:
        """Return one piece that was cut, or as few as hold all, of like length."""
        if self.keep != "chunks":
            return [cut(tokens, self.room, self.keep)]
        pieces = max(1, -(-len(tokens) // self.room))
        # Like lengths, since all pieces weigh the same in `Encoded.average`: a short rest would
        # weigh as much as a full piece.
        bounds = [len(tokens) * piece // pieces for piece in range(pieces + 1)]
        return [list(tokens[start:end]) for start, end in pairwise(bounds)]
