"""Checkpoints that would run code of their own, as somebody who wishes us ill would make them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny import tiny_causal, tiny_encoder, tiny_entailment

MARKER = "CODE HAS RUN"
"""The name of the file that foreign code writes, in the folder that holds the checkpoint."""

_CODE = """
from pathlib import Path
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

Path({marker!r}).touch()


class Theirs(PreTrainedConfig):
    model_type = "theirs"


class TheirTokenizer(PreTrainedTokenizerFast):
    pass
"""


def change(path: Path, **entries: Any) -> None:
    """Set entries of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **entries}), encoding="utf-8")


def plant_code(folder: Path) -> None:
    """Put a Python file into a checkpoint, which writes the marker when it is run."""
    code = _CODE.format(marker=str(folder.parent / MARKER))
    (folder / "theirs.py").write_text(code, encoding="utf-8")


def with_foreign_architecture(folder: Path) -> Path:
    """Let a checkpoint ask for a configuration and models of its own."""
    plant_code(folder)
    kinds = ("Model", "ModelForCausalLM", "ModelForSequenceClassification")
    names = {f"Auto{kind}": "theirs.Theirs" for kind in (*kinds, "Config")}
    change(folder / "config.json", model_type="theirs", auto_map=names)
    return folder


def with_foreign_tokenizer(folder: Path) -> Path:
    """Let a checkpoint ask for a tokenizer of its own, beside an unknown configuration."""
    with_foreign_architecture(folder)
    names = {"AutoTokenizer": ["theirs.TheirTokenizer", "theirs.TheirTokenizer"]}
    change(folder / "tokenizer_config.json", tokenizer_class="TheirTokenizer", auto_map=names)
    return folder


CHECKPOINTS: dict[str, Callable[[Path], Path]] = {
    "features": lambda folder: tiny_encoder(folder, "bert"),
    "finetune": lambda folder: tiny_encoder(folder, "bert"),
    "trainer": lambda folder: tiny_encoder(folder, "bert"),
    "nli": tiny_entailment,
    "prompt": lambda folder: tiny_causal(folder, "gemma3"),
    "lora": lambda folder: tiny_causal(folder, "gemma3"),
}
"""For each method that takes a checkpoint, one that it takes."""
