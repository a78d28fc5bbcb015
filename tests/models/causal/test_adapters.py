"""An adapter changes nothing until it learns, belongs to its base, and comes back as it was."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import BertConfig, BertModel

from pollice.errors import CheckpointError
from pollice.models.causal import adapters
from pollice.models.causal.adapters import AdapterShape, Targets
from pollice.models.pretrained.checkpoint_files import weights_sha256
from pollice.models.pretrained.weights import load_causal
from pollice.system.hashing import file_sha256
from tiny import tiny_causal

CPU = torch.device("cpu")
TOKENS = torch.tensor([[5, 6, 7, 8, 9, 10]])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_causal(tmp_path_factory.mktemp("adapters") / "gemma", "gemma")


def shape(targets: Targets = "all") -> AdapterShape:
    return AdapterShape(rank=4, alpha=8, dropout=0.1, targets=targets)


def base(checkpoint: Path, dtype: torch.dtype = torch.float32) -> Any:
    return load_causal(checkpoint, dtype=dtype, device=CPU)


def learned(checkpoint: Path, dtype: torch.dtype = torch.float32) -> PeftModel:
    """Return an adapter that changes what the model says."""
    model = adapters.attach(base(checkpoint, dtype), shape(), seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for weights in learning(model).values():
            weights.normal_(std=0.2)
    model.eval()
    return model


def learning(model: PeftModel) -> dict[str, Any]:
    return {name: w for name, w in model.named_parameters() if w.requires_grad}


@torch.no_grad()
def said(model: Any) -> Tensor:
    logits: Tensor = model(TOKENS).logits
    return logits


def test_a_new_adapter_changes_nothing_and_alone_can_learn(checkpoint: Path) -> None:
    expected = said(base(checkpoint))
    model = adapters.attach(base(checkpoint), shape(), seed=0).eval()
    torch.testing.assert_close(said(model), expected)
    assert all("lora_" in name for name in learning(model))
    assert adapters.trainable_parameters(model) == sum(w.numel() for w in learning(model).values())


def test_an_adapter_is_float32_on_any_weights_until_it_is_rounded(checkpoint: Path) -> None:
    model = adapters.attach(base(checkpoint, torch.bfloat16), shape(), seed=0)
    assert {w.dtype for w in learning(model).values()} == {torch.float32}
    adapters.round_to_base(model)
    assert {w.dtype for w in model.parameters()} == {torch.bfloat16}


def test_the_seed_draws_the_adapter_and_nothing_else(checkpoint: Path) -> None:
    state = torch.get_rng_state()
    first, second, other = (
        learning(adapters.attach(base(checkpoint), shape(), seed=seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("targets", "layers"),
    [
        ("all", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        ("q_and_v", {"q_proj", "v_proj"}),
    ],
)
def test_targets_name_the_layers(checkpoint: Path, targets: Targets, layers: set[str]) -> None:
    model = adapters.attach(base(checkpoint), shape(targets), seed=0)
    assert {name.split(".lora_")[0].rsplit(".", 1)[1] for name in learning(model)} == layers


def test_layers_that_a_checkpoint_lacks_are_refused() -> None:
    bert: Any = BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
    sentence = (
        "targets is 'q_and_v', but this checkpoint (bert) has no layers named so. "
        "Use targets='all'."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        adapters.attach(bert, shape("q_and_v"), seed=0)


def test_a_saved_adapter_is_safetensors_and_says_the_same(checkpoint: Path, tmp_path: Path) -> None:
    model = learned(checkpoint)
    adapters.save_adapter(model, tmp_path / "adapter", base_sha256="a")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "base.json",
    }
    assert str(checkpoint) not in (tmp_path / "adapter" / "adapter_config.json").read_text()
    loaded = adapters.load_adapter(base(checkpoint), tmp_path / "adapter").eval()
    assert torch.equal(said(loaded), said(model))
    assert not torch.equal(said(model), said(base(checkpoint)))


def test_merged_weights_say_the_same_without_an_adapter(checkpoint: Path, tmp_path: Path) -> None:
    model = learned(checkpoint)
    adapters.save_adapter(model, tmp_path / "adapter", base_sha256="a")
    adapters.save_merged(checkpoint, tmp_path / "adapter", tmp_path / "merged", dtype=torch.float32)
    torch.testing.assert_close(said(base(tmp_path / "merged")), said(model), rtol=0, atol=1e-4)
    assert not (tmp_path / "adapter").exists()


def test_an_adapter_for_other_weights_is_refused_with_both_hashes(
    checkpoint: Path, tmp_path: Path
) -> None:
    other = tiny_causal(tmp_path / "other", "llama")
    mine, theirs = (file_sha256(folder / "model.safetensors") for folder in (checkpoint, other))
    folder = tmp_path / "adapter"
    adapters.save_adapter(learned(checkpoint), folder, base_sha256=weights_sha256(checkpoint))
    assert adapters.check_base(folder, checkpoint) == mine
    sentence = (
        f"The adapter in {folder} was trained on weights with sha256 {mine}, but those in {other} "
        f"have {theirs}. Put the checkpoint that it was trained on there."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        adapters.check_base(folder, other)


def test_weights_in_several_files_have_one_hash(tmp_path: Path) -> None:
    hashes = set()
    for contents in (("a", "b"), ("b", "a"), ("a", "b")):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, content in zip(("model-1", "model-2"), contents, strict=True):
            (folder / f"{name}.safetensors").write_text(content)
        hashes.add(weights_sha256(folder))
    assert len(hashes) == 2


def test_changed_weights_have_another_hash(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("a")
    first = weights_sha256(tmp_path)
    path.write_text(json.dumps({"other": 1}))
    assert first != weights_sha256(tmp_path) == file_sha256(path)
