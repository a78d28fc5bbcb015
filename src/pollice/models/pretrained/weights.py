"""Tokenizer and weights of a checkpoint: on a device, in a data type, complete or refused.

Knows nothing about tasks: what the weights are used for is not its concern.
"""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    PreTrainedModel,
)

from pollice.errors import CheckpointError
from pollice.models.pretrained.devices import Device, resolve_device, resolve_dtype
from pollice.models.pretrained.explaining import opening
from pollice.models.pretrained.options import ReadingOptions
from pollice.models.pretrained.safety import check_config, check_weights
from pollice.models.pretrained.weight_checks import check_finite, check_layers

FOUR_BIT_NEEDS_CUDA = (
    "weights is 'nf4', but 4-bit weights need a CUDA GPU and this runs on the CPU. "
    "Use weights='bfloat16'."
)


def check_four_bit(device: Device) -> None:
    """Refuse 4-bit weights where they cannot be had.

    Raises:
        CheckpointError: there is no CUDA GPU, or bitsandbytes is not installed.
    """
    if resolve_device(device).type != "cuda":
        raise CheckpointError(FOUR_BIT_NEEDS_CUDA)
    if find_spec("bitsandbytes") is None:
        raise CheckpointError(
            "weights is 'nf4', but 4-bit weights need bitsandbytes, which is not installed. "
            "Install it with: pip install bitsandbytes, or use weights='bfloat16'."
        )


def load_language_model(
    checkpoint: Path, settings: ReadingOptions, *, four_bit: bool
) -> PreTrainedModel:
    """Load a causal language model, its weights in the settings' data type or in NF4.

    NF4 computes in bfloat16, and in float16 on GPUs without it (QLoRA, arXiv 2305.14314).
    """
    device = resolve_device(settings.device)
    if not four_bit:
        return load_causal(checkpoint, dtype=resolve_dtype(settings.dtype, device), device=device)
    check_four_bit(settings.device)
    if device.type == "cuda":
        # device_map places weights as they are read, so each process must name its own GPU here.
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    native = resolve_dtype("auto", device) == torch.bfloat16
    dtype = torch.bfloat16 if native else torch.float16
    quantization: dict[str, Any] = {
        "device_map": {"": device},
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        ),
    }
    return load_causal(checkpoint, dtype=dtype, device=device, **quantization)


_POOLER = ("pooler.",)  # read by no method as it comes: new heads are trained together with it


def load_causal(
    folder: Path, *, dtype: torch.dtype, device: torch.device, **options: Any
) -> PreTrainedModel:
    """Load a causal language model, in evaluation mode; refuse those that fill gaps instead."""
    config = read_config(folder)
    # AutoModelForCausalLM takes BERT and its like too, with no more than a warning.
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        raise CheckpointError(
            f"The checkpoint {folder} ({config.model_type}) fills gaps in a text and does not "
            "predict its next word, so it cannot be prompted. Use a causal language model, or use "
            "this one with the method features or finetune."
        )
    return _placed(_load(AutoModelForCausalLM, folder, dtype=dtype, **options), device)


def load_encoder(folder: Path, *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """Load an encoder without a head, in evaluation mode."""
    return _placed(_load(AutoModel, folder, allow_new=_POOLER, dtype=dtype), device)


def load_classifier(
    folder: Path,
    label_names: Sequence[str] | None = None,
    *,
    new_head: bool,
    dtype: torch.dtype,
    **options: Any,
) -> PreTrainedModel:
    """Load an encoder with a classification head.

    Args:
        folder: The checkpoint.
        label_names: The labels of a new head; None keeps those of the checkpoint.
        new_head: Whether the head may be newly initialised, because it will be trained.
        dtype: The data type of the weights.
        options: Fields of the configuration to change.
    """
    if label_names is not None:
        options |= {
            "num_labels": len(label_names),
            "id2label": dict(enumerate(label_names)),
            "label2id": {name: code for code, name in enumerate(label_names)},
        }
    return _load(
        AutoModelForSequenceClassification,
        folder,
        allow_new=_POOLER if new_head else (),
        new_head=new_head,
        dtype=dtype,
        ignore_mismatched_sizes=new_head,
        **options,
    )


def dropout_options(folder: Path, attention_dropout: float) -> dict[str, float]:
    """Return the configuration's own names for the dropout of attention weights."""
    config = read_config(folder)
    names = ("attention_probs_dropout_prob", "attention_dropout")  # BERT's, DistilBERT's
    return {name: attention_dropout for name in names if hasattr(config, name)}


def _load(
    kind: Any,
    folder: Path,
    *,
    allow_new: tuple[str, ...] = (),
    new_head: bool = False,
    **options: Any,
) -> PreTrainedModel:
    """Load weights; refuse a checkpoint in which some would be newly initialised."""
    with opening(folder, f"cannot be loaded as {kind.__name__}"):
        check_config(folder)
        check_weights(folder)
        model, facts = kind.from_pretrained(
            folder,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
            **options,
        )
    unfit = {name for name, *_ in facts["mismatched_keys"]}  # of another size than configured
    # Weights of a bare encoder lack the prefix that a classifier gives them. Of an empty tuple
    # startswith is false: unless it is allowed, nothing may be new.
    encoder = f"{model.base_model_prefix}."
    new = sorted(
        name
        for name in facts["missing_keys"] | unfit
        if not name.removeprefix(encoder).startswith(allow_new)
        and not (new_head and not name.startswith(encoder))
    )
    if new:
        raise CheckpointError(
            f"The checkpoint {folder} has no weights for {', '.join(new[:3])}: they would be "
            "newly initialised, and the scores would be random. Use a checkpoint that has them, "
            "train them with the method finetune, or use a causal checkpoint with the method "
            "prompt."
        )
    check_layers(folder, model, facts["unexpected_keys"])
    check_finite(folder, model)
    model.eval()
    loaded: PreTrainedModel = model
    return loaded


def _placed(model: Any, device: torch.device) -> PreTrainedModel:
    placed: PreTrainedModel = model.to(device)
    return placed


def read_config(folder: Path) -> Any:
    """Read a checkpoint's configuration, without its weights."""
    with opening(folder, "has no configuration that can be read"):
        check_config(folder)
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
