"""Which layer of an encoder a weight belongs to: its learning rate, and whether it learns at all.

Knows nothing about the training loop.
"""

import re
from collections import defaultdict
from typing import Any

import peft
from torch import nn
from transformers import PreTrainedModel

from pollice.errors import CheckpointError, counted
from pollice.models.training.options import TrainingOptions

_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")  # those of BERT, DistilBERT and ModernBERT


def layer_count(model: nn.Module) -> int:
    """Return how many layers an encoder has."""
    numbers = [_LAYER.search(name) for name, _ in model.named_parameters()]
    return max((int(match[1]) + 1 for match in numbers if match), default=0)


def depth(name: str, layers: int) -> int:
    """Return a weight's place: 0 for embeddings, then the layers from 1 on, the head above them."""
    match = _LAYER.search(name)
    if match:
        return int(match[1]) + 1
    return 0 if "embeddings" in name else layers + 1


def freeze(model: PreTrainedModel, frozen_layers: int) -> None:
    """Let the lowest layers, and the embeddings, not learn.

    Raises:
        CheckpointError: the encoder has fewer layers.
    """
    layers = layer_count(model)
    if frozen_layers > layers:
        raise CheckpointError(
            f"frozen_layers is {frozen_layers}, but this checkpoint has "
            f"{counted(layers, 'layer')}. Lower frozen_layers."
        )
    for name, parameter in model.named_parameters():
        if frozen_layers and depth(name, layers) <= frozen_layers:
            parameter.requires_grad_(False)


def parameter_groups(model: PreTrainedModel, options: TrainingOptions) -> list[dict[str, Any]]:
    """Return the optimizer's groups, each with its weights by name as ``named``.

    A group's ``share`` is what its rate is of the highest one. Biases and norms are never decayed.
    """
    layers = layer_count(model)
    encoder = f"{model.base_model_prefix}."
    of_head = (options.head_learning_rate or options.learning_rate) / options.learning_rate
    members: dict[tuple[float, float], list[str]] = defaultdict(list)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for name, parameter in parameters.items():
        below = layers + 1 - depth(name, layers)
        share = options.layer_decay**below if name.startswith(encoder) else of_head
        decay = options.weight_decay if parameter.dim() > 1 else 0.0
        members[share, decay].append(name)
    return [
        {
            "params": [parameters[name] for name in names],
            "named": {name: parameters[name] for name in names},
            "share": share,
            "weight_decay": decay,
        }
        for (share, decay), names in members.items()
    ]


def add_lora(model: PreTrainedModel, rank: int) -> peft.LoraModel:
    """Put LoRA adapters (arXiv 2106.09685) upon all matrices of the layers; the head learns too.

    The model is changed in place; the adapter's ``merge_and_unload`` makes it plain again.
    """
    layers = layer_count(model)
    matrices = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and 0 < depth(f"{name}.", layers) <= layers
    ]
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=matrices)
    adapter = peft.LoraModel(model, {"default": config}, "default")
    for name, parameter in model.named_parameters():
        if depth(name, layers) > layers:
            parameter.requires_grad_(True)
    return adapter
