"""Tiny causal checkpoints, one with the real Mistral tokenizer, and how they are tuned in tests."""

import json
import shutil
from pathlib import Path
from typing import Any

import mistral_common
import torch
from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

from pollice.data.dataset import Dataset
from pollice.methods.lora import Lora
from pollice.models.causal.tuned_scorer import TunedScorer
from pollice.models.pretrained.devices import quiet
from tiny import opinions

ROWS = opinions(124)
TRAIN, VALIDATION = ROWS.take(range(64)), ROWS.take(range(64, 84))
UNSEEN = ROWS.take(range(84, 124))
OPTIONS: dict[str, Any] = {
    "dtype": "float32",
    "device": "cpu",
    "max_tokens": 24,
    "learning_rate": 0.01,
    "epochs": 4,
    "batch_size": 8,
    "batch_tokens": 256,
}
_INST = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}"
    "{{ eos_token }}{% else %}[INST] {{ m.content }}[/INST]{% endif %}{% endfor %}"
)
_VOCABULARY = "mistral_instruct_tokenizer_240323.model.v3"


def tuned(checkpoint: Path, workdir: Path, train: Dataset = TRAIN, **options: Any) -> TunedScorer:
    """Return the predictor of a tuning; ``workdir`` is made."""
    workdir.mkdir(exist_ok=True)
    method = Lora(checkpoint=str(checkpoint), **{**OPTIONS, **options})
    return method.fit(train, VALIDATION, workdir=workdir)


def log_of(workdir: Path) -> list[dict[str, Any]]:
    """Return the rows of training.jsonl, without the clock."""
    lines = (workdir / "training.jsonl").read_text(encoding="utf-8").splitlines()
    clock = ("seconds", "tokens_per_second")
    return [
        {name: value for name, value in json.loads(line).items() if name not in clock}
        for line in lines
    ]


def tiny_mistral(folder: Path) -> Path:
    """Save a random Mistral with the published tokenizer of version 3 and its chat template."""
    folder.mkdir()
    data = Path(mistral_common.__file__).parent / "data"
    shutil.copy(data / _VOCABULARY, folder / "tokenizer.model")
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    about = {"tokenizer_class": "LlamaTokenizer", **roles}
    (folder / "tokenizer_config.json").write_text(json.dumps(about), encoding="utf-8")
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=32768,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
    )
    model = MistralForCausalLM(config)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.normal_(std=0.25)
    with quiet():
        model.save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = _INST
        tokenizer.save_pretrained(folder)
    return folder
