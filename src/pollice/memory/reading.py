"""What a model takes in memory that only reads: the bytes of each part, from its anatomy.

Knows nothing about methods. The formulas are for the tensors that live at the peak.
"""

from pollice.memory.footprint import Parts
from pollice.memory.planned_model import KEPT_BLOCKS, PlannedModel

QUESTION_TOKENS = 48
"""The tokens of a question around a text, about."""
_WORKSPACE = 2.3  # measured: products and attention need somewhat more than their results again


def largest_batch(row: int, rows: int, batch_tokens: int) -> int:
    """Return the tokens of the largest batch: rows of like length, the longest first.

    Args:
        row: The tokens of the longest row.
        rows: How many there are.
        batch_tokens: The most tokens of a batch; a longer row is a batch of its own.
    """
    return min(max(1, batch_tokens // row), rows) * row


def reading_parts(model: PlannedModel, tokens: int, keys: int = 0) -> Parts:
    """Return the weights, the activations and what loading takes.

    Args:
        model: The model that reads.
        tokens: Those that go through it at once.
        keys: How many scores each query has in memory; 0 where a fused kernel keeps none.
    """
    live = round(_WORKSPACE * tokens * _live_bytes(model, keys))
    return {
        "weights": model.weight_bytes,
        "activations": model.with_kept_blocks(live),
        "loading": _loading_bytes(model, live),
    }


def prefix_bytes(model: PlannedModel, tokens: int) -> int:
    """Return the keys and values of a prefix that all texts share."""
    return tokens * (model.anatomy.key_value_bytes or 0) * model.device.number_bytes // 2


def _live_bytes(model: PlannedModel, keys: int) -> int:
    """Return the bytes of a token in the largest step of a layer, while nothing is kept."""
    anatomy = model.anatomy
    width = anatomy.width
    queries = anatomy.heads * anatomy.head_size
    shared = anatomy.key_value_heads * anatomy.head_size
    attention = 2 * width + 2 * queries + 2 * shared + 2 * anatomy.heads * keys
    halves = 3 if anatomy.gated else 2
    feed_forward = 2 * width + halves * anatomy.feed_forward
    upcast = 8 * width if anatomy.norm == "RMSNorm" else 0
    return model.device.number_bytes * max(attention, feed_forward) + upcast


def _loading_bytes(model: PlannedModel, live: int) -> int:
    """Return what loading takes beyond what reading takes later.

    A file of another data type lies mapped beside the converted weights until all are there.
    """
    anatomy = model.anatomy
    if model.device.cuda or anatomy.stored_bytes == model.device.number_bytes:
        return 0
    return max(0, anatomy.stored_bytes * anatomy.parameters - KEPT_BLOCKS - live)
