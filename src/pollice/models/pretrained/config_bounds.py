"""The numbers of a configuration that a model can be built from: checked before it is built.

A configuration is a text of somebody else's: 10 million layers would be built for hours. Knows
nothing about weights.
"""

from collections.abc import Iterable
from typing import Any

from pollice.errors import CheckpointError

_LAYERS = (1, 1_000)  # the deepest published language models have 126
_HEADS = (1, 4_096)
_WIDTHS = (1, 1_000_000)
_EXPERTS = (0, 10_000)
_WORDS = (1, 10_000_000)
_PLACES = (1, 1_000_000_000)

BOUNDS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(
        (
            "num_hidden_layers",
            "num_layers",
            "n_layer",
            "n_layers",
            "encoder_layers",
            "decoder_layers",
        ),
        _LAYERS,
    ),
    **dict.fromkeys(
        ("num_attention_heads", "num_key_value_heads", "num_heads", "n_head", "n_heads"), _HEADS
    ),
    **dict.fromkeys(
        (
            "hidden_size",
            "intermediate_size",
            "embedding_size",
            "d_model",
            "d_ff",
            "dim",
            "hidden_dim",
            "ffn_dim",
            "head_dim",
            "n_embd",
            "n_inner",
        ),
        _WIDTHS,
    ),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), _EXPERTS),
    "vocab_size": _WORDS,
    "max_position_embeddings": _PLACES,
    "n_positions": _PLACES,
}
"""The least and the most of what a configuration may say, by its entry."""


def check_bounds(name: str, entries: Iterable[tuple[str, Any]]) -> None:
    """Refuse entries that are no whole numbers, or outside their bounds.

    Args:
        name: Of the checkpoint, for the message.
        entries: Of its configuration and of those inside it.

    Raises:
        CheckpointError: one of `BOUNDS` is broken.
    """
    for key, value in entries:
        if key not in BOUNDS or value is None:
            continue
        least, most = BOUNDS[key]
        # A model whose layers differ has one number for each of them.
        for one in value if isinstance(value, list) else [value]:
            whole = isinstance(one, int) and not isinstance(one, bool)
            if not whole or not least <= one <= most:
                raise CheckpointError(
                    f"Expected a whole number from {least:,} to {most:,} for {key} in the "
                    f"configuration of {name}, but found {_shown(one)}. Fetch its config.json "
                    "again from where it was published."
                )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
