"""Checkpoints of published shapes with random weights, and opinions for them: made offline.

Knows nothing about what is measured.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from pollice.data.dataset import Dataset
from pollice.models.causal.questions import default_template
from pollice.models.pretrained.names import bundled

FILLERS = [f"word{number}" for number in range(200)]
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "vocab_size": 1024,
}


def write_checkpoint(name: str, folder: Path, *, tiny: bool) -> None:
    """Write a checkpoint of the published shape, layer by layer, and a tokenizer for it."""
    config = AutoConfig.for_model(**{**bundled()[name], **(TINY if tiny else {})})
    kind: Any = AutoModelForCausalLM
    with torch.device("meta"):
        model = kind.from_config(config, dtype=torch.bfloat16)
    folder.mkdir(parents=True)
    config.architectures = [type(model).__name__]
    tokenizer = _tokenizer(config.vocab_size)
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_weights(model, folder)


def _write_weights(model: Any, folder: Path) -> None:
    """Write one file a layer; all layers have the same random numbers, drawn once."""
    tied = model.config.tie_word_embeddings
    shapes = {
        name: tensor.shape
        for name, tensor in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
    drawn: dict[str, torch.Tensor] = {}
    generator = torch.Generator().manual_seed(0)
    place: dict[str, str] = {}
    for part, names in _by_layer(shapes).items():
        tensors = {}
        for name in names:
            key = re.sub(r"\.\d+\.", ".", name)
            if key not in drawn:
                drawn[key] = _random(shapes[name], model.config.model_type, generator)
            tensors[name] = drawn[key]
        file = f"model-{part}.safetensors"
        save_file(tensors, folder / file, metadata={"format": "pt"})
        place |= dict.fromkeys(names, file)
    size = sum(2 * shape.numel() for shape in shapes.values())
    index = {"metadata": {"total_size": size}, "weight_map": place}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _by_layer(names: Mapping[str, Any]) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {}
    for name in names:
        layer = re.search(r"\.layers\.(\d+)\.", name)
        parts.setdefault(f"layer{int(layer[1]):03d}" if layer else "rest", []).append(name)
    return parts


def _random(shape: Any, family: str, generator: Any) -> Any:
    if len(shape) == 1:  # Gemma's norms scale by one more than their weights
        number = 0.0 if family.startswith("gemma") else 1.0
        return torch.full(shape, number, dtype=torch.bfloat16)
    block = torch.empty(min(shape.numel(), 2**22), dtype=torch.float32)
    block = block.normal_(std=0.02, generator=generator).bfloat16()
    times = -(-shape.numel() // block.numel())
    return block.repeat(times)[: shape.numel()].view(shape).clone()


def _tokenizer(vocabulary: int) -> Any:
    """Return a tokenizer of whole words: our fillers, and what the built-in questions need."""
    questions = default_template(("negative", "positive")).questions
    asked = " ".join(
        f"{question.ask} {question.answer} {' '.join(sum(question.words.values(), ()))}"
        for question in questions
    )
    words = ["<pad>", "<s>", "</s>", "<unk>", *FILLERS, *re.findall(r"\w+|[^\w\s]+", asked)]
    table = {word: number for number, word in enumerate(dict.fromkeys([*words, ":", "."]))}
    assert len(table) <= vocabulary
    tokenizer = Tokenizer(models.WordLevel(table, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", table["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


def opinions(rows: int, tokens: int) -> Dataset:
    """Return rows of so many words, with the labels in turn."""
    draw = np.random.default_rng(0)
    return Dataset(
        ids=tuple(map(str, range(rows))),
        texts=tuple(" ".join(draw.choice(FILLERS, tokens)) for _ in range(rows)),
        labels=tuple(("negative", "positive")[row % 2] for row in range(rows)),
        label_names=("negative", "positive"),
    )
