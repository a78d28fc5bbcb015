"""How an encoder reads texts: cut or in pieces, padded, in batches of like length.

Knows nothing about what is made of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pollice.errors import CheckpointError
from pollice.models.batching import aligned, cut, padded
from pollice.models.pretrained.devices import on_device
from pollice.models.pretrained.options import LongText
from pollice.models.pretrained.tokenizer import TextTokenizer

TokenRow = Sequence[int] | NDArray[np.int32]
NOTHING: Mapping[str, Any] = MappingProxyType({})
_COUNTED_FROM_PADDING = ("camembert", "roberta", "xlm-roberta")  # positions start after pad's id


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


class Reader:
    """Turns texts into token ids with the encoder's own control tokens around them."""

    def __init__(
        self, tokenizer: TextTokenizer, *, max_tokens: int, keep: LongText, prefix: str = ""
    ) -> None:
        self._tokenizer = tokenizer
        self._keep = keep
        self._lead, self._trail = _surroundings(tokenizer)
        # Whatever part of a long text is read, the prefix stands before it.
        self._prefix = prefix
        self._prefixed = tokenizer.encode_texts([prefix.strip()])[0]
        self._lead += self._prefixed
        self._max_tokens = max_tokens
        self._room = max_tokens - len(self._lead) - len(self._trail)
        if self._room < 1:
            taken = "control tokens and the prefix" if prefix else "control tokens alone"
            raise CheckpointError(
                f"max_tokens is {max_tokens}, but this checkpoint's {taken} take "
                f"{max_tokens - self._room}. Raise max_tokens."
            )

    def read(self, texts: Sequence[str]) -> Encoded:
        """Encode texts, and cut the long ones or divide them."""
        # Together, since many tokenizers read a word otherwise where nothing is before it.
        whole = self._tokenizer.encode_texts([self._prefix + text for text in texts])
        encoded = [tokens[len(self._prefixed) :] for tokens in whole]
        divided = [self._pieces(tokens) for tokens in encoded]
        in_pieces = self._keep == "chunks"
        return Encoded(
            tokens=[[*self._lead, *piece, *self._trail] for pieces in divided for piece in pieces],
            owners=np.repeat(np.arange(len(divided)), [len(pieces) for pieces in divided]),
            truncated=np.array(
                [not in_pieces and len(tokens) > self._room for tokens in encoded], np.bool_
            ),
        )

    def _pieces(self, tokens: Sequence[int]) -> list[list[int]]:
        """Return one piece that was cut, or as few as hold all, of like length."""
        if self._keep != "chunks":
            return [cut(tokens, self._room, self._keep)]
        pieces = max(1, -(-len(tokens) // self._room))
        # Like lengths, since all pieces weigh the same in `Encoded.average`: a short rest would
        # weigh as much as a full piece.
        bounds = [len(tokens) * piece // pieces for piece in range(pieces + 1)]
        return [list(tokens[start:end]) for start, end in pairwise(bounds)]

    def pad(
        self, tokens: Sequence[TokenRow], device: torch.device, *, align: bool = True
    ) -> dict[str, Tensor]:
        """Return ``input_ids`` and ``attention_mask``, padded on the right.

        Aligned, a row's rounding is the same in any batch; training does without.
        """
        longest = max(len(row) for row in tokens)
        if align:
            # Not beyond max_tokens: the model may have no position after it.
            longest = max(longest, min(aligned(longest), self._max_tokens))
        rows = cast(Sequence[Sequence[int]], tokens)
        ones = [[1] * len(row) for row in rows]
        return {
            "input_ids": on_device(padded(rows, longest, self._tokenizer.pad), device),
            "attention_mask": on_device(padded(ones, longest, 0), device),
        }


def _surroundings(tokenizer: TextTokenizer) -> tuple[list[int], list[int]]:
    """Return the control tokens that the checkpoint puts before and after a text."""
    # Found by an example, since tokenizers describe what they add in many different ways.
    content = tokenizer.encode_texts(["a"])[0]
    whole = list(tokenizer.tokenizer("a")["input_ids"])
    for start in range(len(whole) - len(content) + 1):
        if whole[start : start + len(content)] == content:
            return whole[:start], whole[start + len(content) :]
    raise CheckpointError(
        "This checkpoint's tokenizer changes a text when it adds its control tokens, so texts "
        "cannot be encoded apart from them. Use another checkpoint."
    )


def position_limit(config: Any) -> int | None:
    """Return how many tokens an encoder has positions for; None: as many as there are."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is not None and getattr(config, "model_type", "") in _COUNTED_FROM_PADDING:
        positions -= config.pad_token_id + 1
    return positions


def check_max_tokens(config: Any, max_tokens: int) -> None:
    """Refuse more tokens than an encoder of this configuration has positions for."""
    positions = position_limit(config)
    if positions is not None and max_tokens > positions:
        raise CheckpointError(
            f"max_tokens is {max_tokens}, but this checkpoint reads at most {positions} tokens. "
            "Lower max_tokens."
        )
