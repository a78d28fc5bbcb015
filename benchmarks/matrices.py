"""How fast the machine multiplies matrices of a model's shapes, and how much of that a prompt asks.

Knows nothing about contenders.
"""

import time
from typing import Any

import numpy as np
import torch

_TOKENS = 2048  # as many as pollice puts into a batch
_SECONDS = 1.0


def layer_shapes(config: Any) -> list[tuple[int, int]]:
    """Return (in, out) of the products of one layer: gated, as in Gemma, Llama and Mistral."""
    hidden, heads = config.hidden_size, config.num_attention_heads
    width = getattr(config, "head_dim", None) or hidden // heads
    keys = config.num_key_value_heads * width
    return [
        (hidden, heads * width),
        (hidden, keys),
        (hidden, keys),
        (heads * width, hidden),
        (hidden, config.intermediate_size),
        (hidden, config.intermediate_size),
        (config.intermediate_size, hidden),
    ]


def gigaflops(config: Any, dtype: torch.dtype) -> float:
    """Return the 10^9 operations a second of one layer's products, on an idle machine."""
    pairs = [
        (torch.randn(_TOKENS, given, dtype=dtype), torch.randn(made, given, dtype=dtype))
        for given, made in layer_shapes(config)
    ]
    operations = sum(2 * _TOKENS * given * made for given, made in layer_shapes(config))
    for tokens, weight in pairs:
        torch.nn.functional.linear(tokens, weight)
    times: list[float] = []
    while sum(times) < _SECONDS or len(times) < 3:
        start = time.perf_counter()
        for tokens, weight in pairs:
            torch.nn.functional.linear(tokens, weight)
        times.append(time.perf_counter() - start)
    return operations / float(np.median(times)) / 1e9


def operations(config: Any, tokens: int, *, before: int = 0) -> int:
    """Return the operations of some tokens through the decoder, its vocabulary left out.

    Two for each weight of a product, and four for each (query, key) pair and width of a head.

    Args:
        config: The model's.
        tokens: How many go through.
        before: How many stand before them and are remembered.
    """
    layers: int = config.num_hidden_layers
    products = layers * sum(a * b for a, b in layer_shapes(config))
    heads_width = layer_shapes(config)[0][1]
    seen = before + 1 + np.arange(tokens)
    window = getattr(config, "sliding_window", None) or before + tokens
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * layers
    pairs = sum(
        int((np.minimum(seen, window) if kind == "sliding_attention" else seen).sum())
        for kind in kinds
    )
    return 2 * products * tokens + 4 * heads_width * pairs
