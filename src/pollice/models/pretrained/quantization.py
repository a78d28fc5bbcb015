"""Causal language models as they are held: in a data type, or in 4 bits by bitsandbytes.

Knows nothing about what they are used for.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel

from pollice.errors import CheckpointError
from pollice.models.pretrained.weights import Device, load_causal, resolve_device, resolve_dtype
from pollice.models.training.options import ReadingOptions

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
