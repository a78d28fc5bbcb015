"""Attention to a shared prefix equals ordinary attention to a copy of it in every row."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from pollice.errors import CheckpointError
from pollice.models.causal.attention import Packing, attend, use_shared_prefix
from pollice.models.pretrained.weights import load_causal
from tiny import CAUSAL_FAMILIES, tiny_causal

ROWS, QUERIES, PREFIX, WIDTH = 3, 5, 7, 8
LAYER = cast(nn.Module, SimpleNamespace(layer_idx=1))


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def ordinary(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Heads last but one, as `attend` returns them."""
    seen = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=0.3, enable_gqa=True
    )
    return seen.transpose(1, 2)


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("hidden", [0, 3])
def test_a_prefix_in_common_equals_a_copy_in_every_row(
    heads: int, groups: int, hidden: int
) -> None:
    """``hidden``: how many tokens of the prefix lie outside the window."""
    query = random(ROWS, heads, QUERIES, WIDTH)
    key, value = random(ROWS, groups, QUERIES, WIDTH), random(ROWS, groups, QUERIES, WIDTH) * 2
    ahead = random(1, groups, PREFIX, WIDTH), random(1, groups, PREFIX, WIDTH) * 3
    mask = torch.zeros(ROWS, 1, QUERIES, PREFIX + QUERIES)
    mask[..., PREFIX:] = torch.full((QUERIES, QUERIES), -torch.inf).triu(1)
    mask[..., :hidden] = -torch.inf
    other = random(1, groups, PREFIX, WIDTH) + 9
    options: Any = {"scaling": 0.3, "shared_prefix": [(other, other), ahead]}
    expected = ordinary(
        query,
        torch.cat([ahead[0].expand(ROWS, -1, -1, -1), key], dim=-2),
        torch.cat([ahead[1].expand(ROWS, -1, -1, -1), value], dim=-2),
        mask,
    )
    seen, _ = attend(LAYER, query, key, value, mask, **options)
    torch.testing.assert_close(seen, expected)
    if not hidden:
        seen, _ = attend(LAYER, query, key, value, mask[..., PREFIX:], **options)
        torch.testing.assert_close(seen, expected)


REAL = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [1, 1, 0, 1, 1]]).bool()


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("prefixed", [False, True])
def test_rows_packed_into_one_attend_as_padded_ones(
    heads: int, groups: int, prefixed: bool
) -> None:
    query = random(ROWS, heads, QUERIES, WIDTH) * 2
    key, value = random(ROWS, groups, QUERIES, WIDTH), random(ROWS, groups, QUERIES, WIDTH) * 2
    ahead = random(1, groups, PREFIX, WIDTH), random(1, groups, PREFIX, WIDTH) * 3
    options: Any = {"scaling": 0.3, "shared_prefix": [ahead, ahead] if prefixed else None}
    visible = torch.ones(QUERIES, QUERIES).tril().bool() & REAL[:, None, :]
    mask = torch.zeros(ROWS, 1, QUERIES, QUERIES).masked_fill(~visible[:, None], -1e30)
    padded, _ = attend(LAYER, query, key, value, mask, **options)
    query, key, value = (
        states.transpose(1, 2)[REAL].transpose(0, 1)[None] for states in (query, key, value)
    )
    seen, _ = attend(LAYER, query, key, value, mask, packing=Packing(REAL), **options)
    torch.testing.assert_close(seen, padded[REAL][None])


def test_what_is_packed_are_the_tokens_in_their_order() -> None:
    table = torch.arange(ROWS * QUERIES).view(ROWS, QUERIES)
    assert Packing(REAL).pack(table).tolist() == [[0, 1, 2, 3, 4, 5, 7, 10, 11, 13, 14]]


def test_scores_are_capped() -> None:
    query, key = random(1, 1, 1, WIDTH) * 50, random(1, 1, 2, WIDTH) * 50
    value = torch.eye(2)[None, None]
    value = random(1, 1, 2, WIDTH)
    capped = 2 * torch.tanh((query @ key.transpose(2, 3)) * 0.5 / 2)
    seen, _ = attend(LAYER, query, key, value, None, scaling=0.5, softcap=2.0)
    torch.testing.assert_close(seen.transpose(1, 2), capped.softmax(dim=-1) @ value)


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_the_model_still_answers_others_as_before(family: str, tmp_path: Path) -> None:
    """Whoever calls it without a mask gets the causal one."""
    model = load_causal(
        tiny_causal(tmp_path, family=family), dtype=torch.float32, device=torch.device("cpu")
    )
    tokens = torch.tensor([[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]])
    with torch.no_grad():
        before = model(input_ids=tokens).logits
        use_shared_prefix(model)
        torch.testing.assert_close(model(input_ids=tokens).logits, before, atol=1e-5, rtol=1e-5)


def test_an_attention_of_another_kind_is_refused(tmp_path: Path) -> None:
    """Attention sinks take a share of every query's attention, which `attend` does not know."""
    model = load_causal(
        tiny_causal(tmp_path, family="llama"), dtype=torch.float32, device=torch.device("cpu")
    )
    model.get_submodule("model.layers.0.self_attn").register_parameter(
        "sinks", nn.Parameter(torch.zeros(4))
    )
    sentence = (
        "Expected a model with ordinary attention, but LlamaForCausalLM has one of its own kind, "
        "which cannot share a prefix. Use another checkpoint."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        use_shared_prefix(model)
