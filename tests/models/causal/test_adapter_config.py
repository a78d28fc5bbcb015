"""Of an adapter's configuration, what pollice wrote is taken, and nothing else."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from foreign_code import MARKER, change
from pollice.errors import CheckpointError
from pollice.models.causal import adapters
from pollice.models.causal.adapter_config import read_adapter_config
from pollice.models.pretrained.weights import load_causal
from tiny import tiny_causal

AGAIN = "Copy the predictor again from where it was saved."


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the folder of an adapter; its base lies beside it."""
    shape = adapters.AdapterShape(rank=4, alpha=8, dropout=0.1, targets="all")
    model = adapters.attach(base(tmp_path), shape, seed=0)
    adapters.save_adapter(model, tmp_path / "adapter", base_sha256="")
    return tmp_path / "adapter"


def base(folder: Path) -> Any:
    checkpoint = tiny_causal(folder / "base", "gemma3")
    return load_causal(checkpoint, dtype=torch.float32, device=torch.device("cpu"))


def refused(folder: Path, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        adapters.load_adapter(base(folder.parent), folder)


def test_what_was_saved_is_read(saved: Path) -> None:
    config = read_adapter_config(saved)
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 8, 0.1)
    assert config.target_modules is not None
    assert "q_proj" in config.target_modules
    assert adapters.load_adapter(base(saved.parent), saved)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auto_mapping", {"base_model_class": "Theirs", "parent_library": "theirs"}),
        ("megatron_config", {"a": 1}),
        ("use_rslora", True),
        ("modules_to_save", ["lm_head"]),
        ("peft_type", "PROMPT_TUNING"),
        ("bias", "all"),
        ("something_new", 1),
    ],
)
def test_what_pollice_never_sets_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    """PEFT would import the module that the file names."""
    (saved.parent / "theirs.py").write_text(f"open({MARKER!r}, 'w')")
    monkeypatch.chdir(saved.parent)
    monkeypatch.syspath_prepend(str(saved.parent))
    change(saved / "adapter_config.json", megatron_core="theirs", **{name: value})
    refused(
        saved,
        f"Expected an adapter that pollice saved, but {saved}/adapter_config.json sets {name} to "
        f"{value!r}, which pollice never does. {AGAIN}",
    )
    assert "theirs" not in sys.modules
    assert not (saved.parent / MARKER).exists()


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"r": 4}'])
def test_a_damaged_configuration_is_said(saved: Path, content: str) -> None:
    (saved / "adapter_config.json").write_text(content)
    refused(
        saved,
        f"Expected an adapter that pollice saved, but {saved}/adapter_config.json cannot be read "
        f"as one. {AGAIN}",
    )


def test_an_adapter_as_a_pickle_is_refused(saved: Path) -> None:
    (saved / "adapter_model.safetensors").rename(saved / "adapter_model.bin")
    refused(
        saved,
        f"Expected an adapter as safetensors, but {saved} has no adapter_model.safetensors. "
        f"{AGAIN}",
    )
