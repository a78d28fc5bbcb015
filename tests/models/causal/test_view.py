"""A view is another model over the same weights: what is changed in one is not in the other."""

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from pollice.models.causal import adapters
from pollice.models.causal.prompts import Ending, Pieces
from pollice.models.causal.scoring import CausalScorer
from pollice.models.causal.view import view_model, view_without_adapter
from pollice.models.pretrained.weights import load_causal
from tiny import CAUSAL_FAMILIES, tiny_causal

TOKENS = torch.tensor([[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]])
ENDINGS = (Ending(tokens=(90, 91), words=(((100,),), ((101, 102),))),)


def loaded(folder: Path, family: str = "gemma3") -> Any:
    checkpoint = tiny_causal(folder / family, family)
    return load_causal(checkpoint, dtype=torch.float32, device=torch.device("cpu"))


def logits(model: Any, tokens: Tensor = TOKENS) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=tokens).logits
    return found


def places(model: Any) -> set[int]:
    """Where the tensors of a model lie in memory."""
    return {tensor.data_ptr() for tensor in chain(model.parameters(), model.buffers())}


def adapter_shape() -> adapters.AdapterShape:
    return adapters.AdapterShape(rank=2, alpha=4, dropout=0.0, targets="all")


def tuned(folder: Path) -> PeftModel:
    model = adapters.attach(loaded(folder), adapter_shape(), seed=0).eval()
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_B" in name:
                weights.normal_()
    return model


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_a_view_says_the_same_by_the_same_tensors(family: str, tmp_path: Path) -> None:
    model = loaded(tmp_path, family)
    view = view_model(model)
    assert torch.equal(logits(view), logits(model))
    assert places(view) == places(model)


def test_what_is_replaced_in_a_view_stays_in_the_model(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    expected, attention = logits(model), model.config._attn_implementation
    view = view_model(model)
    view.set_attn_implementation("eager")
    view.model.layers[0].mlp = torch.nn.Identity()
    assert model.config._attn_implementation == attention != "eager"
    assert torch.equal(logits(model), expected)
    assert not torch.equal(logits(view), expected)


def test_a_forward_that_a_trainer_put_in_place_is_left_behind(tmp_path: Path) -> None:
    """TRL's and accelerate's are functions that go on calling the model they were made for."""
    model = loaded(tmp_path)
    expected, own = logits(model), model.forward
    model.forward = lambda **given: own(**{**given, "input_ids": given["input_ids"] + 1})
    view = view_model(model)
    assert torch.equal(logits(view), expected)
    assert not torch.equal(logits(model), expected)


def test_a_scorer_leaves_its_model_as_it_was(tmp_path: Path) -> None:
    model = loaded(tmp_path)
    expected, attention = logits(model), model.config._attn_implementation
    kinds = [type(module) for module in model.modules()]
    pieces = Pieces(prefix=(5, 6, 7), endings=ENDINGS)
    CausalScorer(model, pieces, batch_tokens=100).score([[8, 9]])
    assert [type(module) for module in model.modules()] == kinds
    assert not any(module._forward_hooks for module in model.modules())
    assert model.config._attn_implementation == attention
    assert torch.equal(logits(model), expected)


def test_without_its_adapter_a_model_says_what_its_base_does(tmp_path: Path) -> None:
    model = tuned(tmp_path)
    after = logits(model)
    view = view_without_adapter(model)
    assert torch.equal(logits(view), logits(loaded(tmp_path)))
    assert torch.equal(logits(model), after)
    assert not torch.equal(logits(view), after)
    assert places(view) < places(model)


def test_a_saved_adapter_is_tried_beside_the_model(tmp_path: Path) -> None:
    model = tuned(tmp_path)
    adapters.save_adapter(model, tmp_path / "adapter", base_sha256="a")
    other = adapters.attach(loaded(tmp_path), adapter_shape(), seed=1).eval()
    before = logits(other)
    tried = adapters.load_adapter(view_without_adapter(other), tmp_path / "adapter").eval()
    assert torch.equal(logits(tried), logits(model))
    assert torch.equal(logits(other), before)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotary_embeddings_that_change_with_the_text_start_anew_each_pass(kind: str) -> None:
    """Transformers writes into the module how far a longer text has stretched them."""
    torch.manual_seed(0)
    factors: dict[str, Any] = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    rope = {"rope_type": kind, "factor": 4.0, "rope_theta": 10_000.0}
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=16,
        rope_parameters={
            **rope,
            **({"original_max_position_embeddings": 16, **factors} if kind == "longrope" else {}),
        },
    )
    model = LlamaForCausalLM(config).eval()
    view = view_model(model)
    short, middle, long = (torch.arange(length)[None] % 64 for length in (8, 20, 40))
    alone = logits(view, middle)
    logits(view, long)
    assert torch.equal(logits(view, middle), alone)
    with ThreadPoolExecutor(4) as threads:
        texts = [short, middle, long] * 20
        expected = [logits(view_model(model), text) for text in texts]
        found = threads.map(lambda text: logits(view, text), texts)
        assert all(map(torch.equal, found, expected))
