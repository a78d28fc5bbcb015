"""transformers' TrainingArguments, made of the options of a training run.

Knows nothing about rows or models.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from transformers import TrainingArguments

from pollice.models.hugging_face.options import TrainerOptions
from pollice.models.pretrained.devices import quiet, resolve_dtype
from pollice.models.training.optimizers import trainer_name
from pollice.models.training.peers import Peers


class OneGpuArguments(TrainingArguments):
    """Arguments of a process that uses one GPU, however many it sees.

    Trainer would spread each batch over all of them. Several GPUs are used by several processes.
    """

    @property
    def n_gpu(self) -> int:
        """The GPUs of this process: one, or none."""
        found: int = super().n_gpu
        return min(found, 1)


_OURS: Mapping[str, Any] = MappingProxyType(
    {
        "save_strategy": "no",  # Trainer's own saves are not atomic, and some are pickles
        # `ResumableRun` counts steps by their log lines. The filter would hide a loss that is NaN.
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "dataloader_pin_memory": False,
        # The data set has only row numbers, and no model has an argument of that name.
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "log_level": "error",
        "log_level_replica": "error",
    }
)
"""What Trainer would save, print or leave out by itself is off."""


def training_arguments(
    kind: type[OneGpuArguments],
    options: TrainerOptions,
    workdir: Path,
    peers: Peers,
    *,
    evaluates: bool,
    **more: Any,
) -> OneGpuArguments:
    """Return the arguments of a run; ``more`` adds some, or replaces those of the same name."""
    device = peers.device
    arguments: dict[str, Any] = {
        "output_dir": str(workdir),
        "num_train_epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "per_device_train_batch_size": options.batch_size,  # of no effect: see StepSampler
        "per_device_eval_batch_size": -(-options.batch_size // peers.size),
        "gradient_accumulation_steps": options.gradient_accumulation_steps,
        # So num_items_in_batch counts the rows of all processes, by which a loss is divided.
        "average_tokens_across_devices": True,
        "weight_decay": options.weight_decay,
        "warmup_steps": options.warmup,
        "lr_scheduler_type": options.lr_scheduler,
        # Not 0: Trainer would measure no norm, and a line without one is no step to `on_log`.
        "max_grad_norm": math.inf if options.clip_norm is None else options.clip_norm,
        "optim": trainer_name(options, device),
        "eval_strategy": "epoch" if evaluates else "no",
        "report_to": list(options.report_to) or "none",
        "seed": options.seed,
        "bf16": resolve_dtype(options.dtype, device) == torch.bfloat16,
        "use_cpu": device.type == "cpu",
        "ddp_backend": "gloo" if peers.size > 1 and device.type == "cpu" else None,
    }
    with quiet():
        return kind(**{**_OURS, **arguments, **more})
