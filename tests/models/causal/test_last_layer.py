"""The last layer works for the tokens asked about, and their states are those of the whole."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2Model, Qwen3MoeConfig, Qwen3MoeModel

from pollice.models.causal.last_layer import only_for, shorten_last_layer
from pollice.models.causal.view import view_model
from pollice.models.pretrained.weights import load_causal
from tiny import CAUSAL_FAMILIES, tiny_causal

TOKENS = torch.tensor([[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]])
ASKED = torch.tensor([2, 7, 8])
OTHERS = [token for token in range(TOKENS.shape[1]) if token not in ASKED.tolist()]


def shortened(model: Any) -> Any:
    """Return a view of a decoder, its last layer shortened."""
    view = view_model(model)
    shorten_last_layer(view)
    return view


def states(decoder: Any, asked: Tensor | None = None) -> Tensor:
    """Return the last hidden states, ``(tokens, width)``."""
    with torch.no_grad(), nullcontext() if asked is None else only_for(asked):
        last: Tensor = decoder(input_ids=TOKENS).last_hidden_state[0]
    return last


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_the_asked_tokens_have_their_states_and_nobody_else_is_worked_for(
    family: str, tmp_path: Path
) -> None:
    model = load_causal(
        tiny_causal(tmp_path, family=family), dtype=torch.float32, device=torch.device("cpu")
    )
    original: Any = model.base_model
    whole = states(original)
    decoder = shortened(original)
    seen: list[Sequence[int]] = []
    gate = original.get_submodule(f"layers.{len(original.layers) - 1}.mlp.gate_proj")
    hook = gate.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    partly = states(decoder, ASKED)
    hook.remove()
    assert [shape[1] for shape in seen] == [len(ASKED)]
    torch.testing.assert_close(partly[ASKED], whole[ASKED])
    assert not any(torch.allclose(partly[token], whole[token]) for token in OTHERS)
    assert torch.equal(states(decoder), whole), "without a choice, all tokens have theirs"
    assert torch.equal(states(original, ASKED), whole), "the model itself is as it was before"


def test_experts_and_layers_of_other_names_go_the_whole_way() -> None:
    """Experts choose tokens by themselves; they must not see a part of them."""
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "num_attention_heads": 2,
        "vocab_size": 32,
        "head_dim": 8,
    }
    experts = Qwen3MoeModel(
        Qwen3MoeConfig(
            **shape,
            num_key_value_heads=1,
            num_hidden_layers=1,
            intermediate_size=16,
            moe_intermediate_size=8,
            num_experts=4,
            num_experts_per_tok=2,
        )
    )
    mixture = experts.get_submodule("layers.0.mlp")
    seen: list[Sequence[int]] = []
    mixture.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    found = states(shortened(experts), ASKED)
    torch.testing.assert_close(found[ASKED], states(experts)[ASKED])
    assert {shape[1] for shape in seen} == {TOKENS.shape[1]}
    named_otherwise = GPT2Model(GPT2Config(n_embd=16, n_head=2, n_layer=1, vocab_size=32)).eval()
    found = states(shortened(named_otherwise), ASKED)
    torch.testing.assert_close(found, states(named_otherwise))


def test_a_failure_within_leaves_nothing_behind(tmp_path: Path) -> None:
    model = load_causal(
        tiny_causal(tmp_path, family="llama"), dtype=torch.float32, device=torch.device("cpu")
    )
    decoder = shortened(model.base_model)
    whole = states(decoder)
    with pytest.raises(RuntimeError, match="out of DATA bounds"):
        states(decoder, torch.tensor([99]))
    assert torch.equal(states(decoder), whole)


def test_another_thread_meanwhile_gets_all_states(tmp_path: Path) -> None:
    model = load_causal(
        tiny_causal(tmp_path, family="llama"), dtype=torch.float32, device=torch.device("cpu")
    )
    decoder = shortened(model.base_model)
    whole = states(decoder)
    with only_for(ASKED), ThreadPoolExecutor(1) as other:
        assert torch.equal(other.submit(states, decoder).result(), whole)
