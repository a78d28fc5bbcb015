"""Which rows go through a model together, and which tokens of a long text are kept.

Knows nothing about models: only lengths and token ids.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Keep = Literal["head_tail", "head", "tail"]
"""Which end of a text that is too long is kept."""

ALIGNMENT = 16
"""Padded lengths are multiples of this, so that rounding does not depend on a row's neighbours.

Measured with torch 2.13 on AVX-512: matrix products of a row are the same bits in any batch, and
so is attention once the number of keys is a multiple of 16; else its last keys are summed apart.
"""

_HEAD_SHARE = 0.25  # 128 of 510 tokens: Sun et al. 2019, "How to Fine-Tune BERT", section 5.3.1


def cut(tokens: Sequence[int], limit: int, keep: Keep) -> list[int]:
    """Return at most ``limit`` tokens: of the head, of the tail, or a quarter head, rest tail."""
    if len(tokens) <= limit:
        return list(tokens)
    head = {"head": limit, "tail": 0, "head_tail": int(limit * _HEAD_SHARE)}[keep]
    # Not tokens[-(limit - head):], which keeps everything where the head takes the whole limit.
    return [*tokens[:head], *tokens[len(tokens) - (limit - head) :]]


def aligned(length: int) -> int:
    """Return the length, rounded up to `ALIGNMENT`."""
    return -(-length // ALIGNMENT) * ALIGNMENT


def padded(rows: Sequence[Sequence[int]], length: int, fill: int) -> NDArray[np.int64]:
    """Return ``(rows, length)``: each row, and ``fill`` after it."""
    table = np.full((len(rows), length), fill, np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table


def length_batches(
    lengths: Sequence[int] | NDArray[np.int64], *, batch_tokens: int, extra: int = 0
) -> list[NDArray[np.int64]]:
    """Group rows of like length, longest first, so that memory is at its peak at once.

    Args:
        lengths: The tokens of each row.
        batch_tokens: The most tokens of a batch, padding counted; a row longer than that
            goes alone.
        extra: Tokens that every row has besides its own.

    Returns:
        Row numbers, one array a batch; every row is in exactly one.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batches = []
    start = 0
    while start < len(order):
        # The first row is the longest of its batch, so all others are padded to it.
        rows = max(1, batch_tokens // max(1, int(lengths[order[start]]) + extra))
        batches.append(order[start : start + rows])
        start += rows
    return batches
