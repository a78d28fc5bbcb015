"""Training a tiny checkpoint on separable opinions, and all that came of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from pollice.data.dataset import Dataset
from pollice.models.encoder.reader import Reader
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import load_classifier
from pollice.models.training.job import Job, classifier_identity
from pollice.models.training.loop import train_classifier
from pollice.models.training.options import TrainingOptions
from pollice.models.training.rows import read_rows
from tiny import opinions

OPINIONS = opinions(96)
TRAIN, VALIDATION = OPINIONS.take(range(64)), OPINIONS.take(range(64, 96))
USUAL: Mapping[str, Any] = {
    **{"epochs": 3, "learning_rate": 0.003, "max_tokens": 32, "dtype": "float32"},
    **{"head_learning_rate": None, "temperature": False, "long_text": "head", "device": "cpu"},
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A model that was trained, and what was logged."""

    facts: dict[str, Any]
    weights: dict[str, Tensor]
    steps: list[dict[str, Any]]
    epochs: list[dict[str, Any]]


def trained(
    checkpoint: Path,
    folder: Path,
    *,
    train: Dataset = TRAIN,
    validation: Dataset = VALIDATION,
    prepare: Callable[[Any], object] = lambda model: None,
    **options: Any,
) -> Outcome:
    """Train in ``folder``; ``prepare`` may change the new model before."""
    settings = TrainingOptions(checkpoint=str(checkpoint), **{**USUAL, **options})
    reader = Reader(
        TextTokenizer(checkpoint), max_tokens=settings.max_tokens, keep=settings.long_text
    )
    torch.manual_seed(settings.seed)
    model: Any = load_classifier(checkpoint, train.label_names, new_head=True, dtype=torch.float32)
    prepare(model)
    folder.mkdir(exist_ok=True)
    rows = read_rows(reader, train, folder, "training")
    held_out = read_rows(reader, validation, folder, "validation")
    job = Job(
        train=rows,
        validation=held_out,
        reader=reader,
        options=settings,
        identity=classifier_identity(settings, train.label_names, rows, held_out),
        workdir=folder,
    )
    facts = train_classifier(model, job)
    assert not model.training
    lines = (folder / "training.jsonl").read_text(encoding="utf-8").splitlines()
    logged = [json.loads(line) for line in lines]
    return Outcome(
        facts=facts,
        weights=model.state_dict(),
        steps=[row for row in logged if "loss" in row],
        epochs=[row for row in logged if "loss" not in row],
    )


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Tell whether all tensors are equal, bit by bit."""
    assert first.keys() == second.keys()
    return all(torch.equal(value, second[name]) for name, value in first.items())


def last_state(folder: Path) -> dict[str, Tensor]:
    """Return the weights and the optimizer's tensors in the newest resume point of a run."""
    newest = sorted((folder / "checkpoints").iterdir())[-1]
    weights = load_file(newest / "weights.safetensors")
    return weights | load_file(newest / "optimizer.safetensors")


def at_forward(number: int, act: Callable[[], object]) -> Callable[[Any], object]:
    """Return what makes a model ``act`` when it is called for the ``number``-th time."""
    calls = 0

    def count(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            act()

    return lambda model: model.register_forward_pre_hook(count)
