"""The configuration of a saved adapter: what pollice wrote is taken, and nothing else.

Knows nothing about the adapter's weights.
"""

import json
from pathlib import Path
from typing import Any

from peft import LoraConfig

from pollice.errors import CheckpointError

ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""The file that the weights of an adapter are in."""

_FILE = "adapter_config.json"
_TAKEN = ("r", "lora_alpha", "lora_dropout", "target_modules", "task_type")
# They say who wrote the file, or count only where another entry is set.
_WITHOUT_INFLUENCE = (
    "base_model_name_or_path",
    "inference_mode",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "revision",
)


def read_adapter_config(folder: Path) -> LoraConfig:
    """Read the configuration of an adapter that pollice saved.

    PEFT itself would take every entry of the file: ``megatron_config`` lets its older versions
    import whatever module ``megatron_core`` names, and others change what the weights mean.

    Raises:
        CheckpointError: the file cannot be read, or sets what pollice never sets; or the weights
            are not safetensors.
    """
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise CheckpointError(
            f"Expected an adapter as safetensors, but {folder} has no {ADAPTER_WEIGHTS}. "
            "Copy the predictor again from where it was saved."
        )
    try:
        content = dict(json.loads((folder / _FILE).read_text(encoding="utf-8")))
        config = LoraConfig(**{name: content[name] for name in _TAKEN})
        kind = content["peft_type"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise CheckpointError(
            f"Expected an adapter that pollice saved, but {folder / _FILE} cannot be read as one. "
            "Copy the predictor again from where it was saved."
        ) from None
    untouched: Any = LoraConfig()
    usual = untouched.to_dict()
    for name in sorted(content.keys() - {*_TAKEN, *_WITHOUT_INFLUENCE}):
        if content[name] and content[name] != usual.get(name):
            raise _foreign(folder, name, content[name])
    if kind != "LORA":
        raise _foreign(folder, "peft_type", kind)
    return config


def _foreign(folder: Path, name: str, value: Any) -> CheckpointError:
    return CheckpointError(
        f"Expected an adapter that pollice saved, but {folder / _FILE} sets {name} to {value!r}, "
        "which pollice never does. Copy the predictor again from where it was saved."
    )
