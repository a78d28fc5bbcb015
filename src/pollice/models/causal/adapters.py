"""LoRA adapters on a causal language model: attached, saved with their base's hash, merged.

Knows nothing about prompts, and nothing about how an adapter is trained.
"""

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from transformers import PreTrainedModel

from pollice.errors import CheckpointError
from pollice.models.causal.adapter_config import ADAPTER_WEIGHTS, read_adapter_config
from pollice.models.pretrained.checkpoint_files import weights_sha256
from pollice.models.pretrained.devices import quiet
from pollice.models.pretrained.explaining import opening
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weight_checks import is_finite
from pollice.models.pretrained.weights import load_causal
from pollice.predictions.saved_files import damaged, read_saved_json

Targets = Literal["all", "q_and_v"]
"""Which linear layers are adapted: all but the output, or the queries' and values' alone."""

_MODULES: dict[Targets, str | list[str]] = {"all": "all-linear", "q_and_v": ["q_proj", "v_proj"]}
_BASE = "base.json"


@dataclass(frozen=True, kw_only=True)
class AdapterShape:
    """How large an adapter is, and where."""

    rank: int
    alpha: int
    dropout: float
    targets: Targets


def attach(model: PreTrainedModel, shape: AdapterShape, *, seed: int) -> PeftModel:
    """Put a new adapter, which changes nothing yet, into a model; only it can be trained.

    Its weights are float32 in any model. The layers of ``model`` itself are replaced.
    """
    config = LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        lora_dropout=shape.dropout,
        target_modules=_MODULES[shape.targets],
        task_type="CAUSAL_LM",
    )
    # PEFT draws an adapter's first weights from the global generator: forked, so that the numbers
    # which the caller draws later are the same with and without an adapter.
    with torch.random.fork_rng(), _without_warnings():
        torch.manual_seed(seed)
        try:
            return get_peft_model(model, config)
        except ValueError as error:
            raise CheckpointError(
                f"targets is {shape.targets!r}, but this checkpoint ({model.config.model_type}) "
                "has no layers named so. Use targets='all'."
            ) from error


@torch.no_grad()
def round_to_base(model: PeftModel) -> None:
    """Hold a trained adapter in its base's data type, in which training has computed it."""
    base: Any = model.get_base_model()
    for name, weights in model.named_parameters():
        if "lora_" in name:
            weights.data = weights.data.to(base.dtype)


def trainable_parameters(model: PeftModel) -> int:
    """Return how many weights the adapter has."""
    return sum(weights.numel() for weights in model.parameters() if weights.requires_grad)


def save_adapter(model: PeftModel, folder: Path, *, base_sha256: str) -> None:
    """Write the adapter as safetensors, and the hash of the weights that it was trained on."""
    with _without_warnings():
        model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink()  # a form that nobody filled in
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = None  # a place on this machine
    # PEFT keeps a set, whose order changes from run to run; sorted, equal adapters are equal files.
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    (folder / _BASE).write_text(json.dumps({"sha256": base_sha256}, indent=2), encoding="utf-8")


def check_base(folder: Path, checkpoint: Path) -> str:
    """Return the hash of an adapter's base; refuse an adapter for other weights.

    Raises:
        CheckpointError: the adapter was trained on weights with another hash.
    """
    trained = str(read_saved_json(folder / _BASE, "sha256")["sha256"])
    found = weights_sha256(checkpoint)
    if found != trained:
        raise CheckpointError(
            f"The adapter in {folder} was trained on weights with sha256 {trained}, but those in "
            f"{checkpoint} have {found}. Put the checkpoint that it was trained on there."
        )
    return found


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Put a saved adapter into its base; see `check_base` and `read_adapter_config`."""
    config = read_adapter_config(folder)
    with opening(folder, "has an adapter that cannot be loaded"), _without_warnings():
        # Otherwise PEFT would hold a bfloat16 adapter in float32, and its scores would differ from
        # those that were judged before it was saved.
        adapted = PeftModel.from_pretrained(
            model, str(folder), config=config, autocast_adapter_dtype=False
        )
    _check_adapter(folder / ADAPTER_WEIGHTS, adapted)
    return adapted


def _check_adapter(path: Path, adapted: PeftModel) -> None:
    """Refuse adapter weights of other layers, which PEFT would leave out, and of NaN."""
    # Not "auto", which would ask the Hub for the configuration of the base.
    expected = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
    odd = sorted(names ^ set(expected))
    if odd:
        raise damaged(path, "an adapter for the layers of its base", f"{odd[0]} does not fit")
    for name, weights in expected.items():
        if not is_finite(weights):
            raise damaged(path, "finite numbers", f"{name} holds NaN or infinity")


def save_merged(checkpoint: Path, adapter: Path, folder: Path, *, dtype: torch.dtype) -> None:
    """Write a checkpoint whose weights have the adapter added; it needs no adapter any more."""
    base = load_causal(checkpoint, dtype=dtype, device=torch.device("cpu"))
    merged: Any = load_adapter(base, adapter)
    with quiet(), _without_warnings():
        merged.merge_and_unload(safe_merge=True).save_pretrained(folder)
    TextTokenizer(checkpoint).save(folder)
    shutil.rmtree(adapter)


_changing_filters = RLock()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep back what peft brings up against transformers' names: nobody can mend it here.

    One thread at a time: the filters are the whole process's, and a second thread that leaves the
    block first would leave its own behind. Only loading and saving waits, never scoring.
    """
    with _changing_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
