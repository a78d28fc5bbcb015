"""How an encoder reads texts: cut or in pieces, padded, in batches of like length.

Knows nothing about what is made of them.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pollice.errors import CheckpointError
from pollice.models.batching import aligned, padded
from pollice.models.pieces import Encoded, Frame
from pollice.models.pretrained.devices import on_device
from pollice.models.pretrained.options import LongText
from pollice.models.pretrained.tokenizer import TextTokenizer

TokenRow = Sequence[int] | NDArray[np.int32]
NOTHING: Mapping[str, Any] = MappingProxyType({})
_COUNTED_FROM_PADDING = ("camembert", "roberta", "xlm-roberta")  # positions start after pad's id


class Reader:
    """Turns texts into token ids with the encoder's own control tokens around them."""

    def __init__(
        self, tokenizer: TextTokenizer, *, max_tokens: int, keep: LongText, prefix: str = ""
    ) -> None:
        self._tokenizer = tokenizer
        lead, trail = _surroundings(tokenizer)
        # Whatever part of a long text is read, the prefix stands before it.
        prefixed = tokenizer.encode_texts([prefix.strip()])[0]
        self.frame = Frame(
            prefix=prefix,
            prefixed=tuple(prefixed),
            lead=tuple(lead),
            trail=tuple(trail),
            max_tokens=max_tokens,
            keep=keep,
        )
        if self.frame.room < 1:
            taken = "control tokens and the prefix" if prefix else "control tokens alone"
            raise CheckpointError(
                f"max_tokens is {max_tokens}, but this checkpoint's {taken} take "
                f"{max_tokens - self.frame.room}. Raise max_tokens."
            )

    @property
    def tokenizer(self) -> TextTokenizer:
        """The checkpoint's tokenizer."""
        return self._tokenizer

    def read(self, texts: Sequence[str]) -> Encoded:
        """Encode texts, and cut the long ones or divide them."""
        return self.frame.read(texts, self._tokenizer.encode_texts)

    def pad(
        self, tokens: Sequence[TokenRow], device: torch.device, *, align: bool = True
    ) -> dict[str, Tensor]:
        """Return ``input_ids`` and ``attention_mask``, padded on the right.

        Aligned, a row's rounding is the same in any batch; training does without.
        """
        longest = max(len(row) for row in tokens)
        if align:
            # Not beyond max_tokens: the model may have no position after it.
            longest = max(longest, min(aligned(longest), self.frame.max_tokens))
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
