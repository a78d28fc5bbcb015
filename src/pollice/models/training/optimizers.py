"""AdamW, its state in 32 or in 8 bits, on the device or paged to the host's memory.

Knows nothing about training loops. All but plain AdamW is bitsandbytes' (arXiv 2110.02861).
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from pollice.errors import OptionError
from pollice.models.pretrained.devices import Device, resolve_device
from pollice.models.training.options import OptimizerOptions

_NESTED = "__bnb_optimizer_quant_state__"
_CODEBOOK = "qmap"  # one tensor for all weights, and safetensors wants each by itself


def prepare_optimizer(options: OptimizerOptions, device: Device) -> None:
    """Refuse an optimizer whose package is not installed; call it before a model is loaded.

    bitsandbytes keeps in one place for all optimizers which weights are exceptions, by their
    numbers: what it knows of an earlier model is forgotten.

    Raises:
        OptionError: bitsandbytes is needed.
    """
    if _is_plain(options, resolve_device(device)):
        return
    if find_spec("bitsandbytes") is None:
        eight = options.optimizer_bits == 8
        wanted = "optimizer_bits is 8" if eight else "paged_optimizer is true"
        raise OptionError(
            f"{wanted}, but that needs bitsandbytes, which is not installed. Install it with: "
            "pip install bitsandbytes, or leave the option out."
        )
    from bitsandbytes.optim.optimizer import GlobalOptimManager

    GlobalOptimManager.get_instance().initialize()


def _is_plain(options: OptimizerOptions, device: torch.device) -> bool:
    return options.optimizer_bits == 32 and not _is_paged(options, device)


def _is_paged(options: OptimizerOptions, device: torch.device) -> bool:
    return options.paged_optimizer and device.type == "cuda"  # on CPU it is in the host's memory


def adamw(
    model: nn.Module, groups: list[dict[str, Any]], options: OptimizerOptions
) -> torch.optim.Optimizer:
    """Return the optimizer of a model's weights, in groups as torch has them.

    The state of embeddings stays in 32 bits, as bitsandbytes advises.
    """
    device = next(model.parameters()).device
    if _is_plain(options, device):
        return torch.optim.AdamW(groups, fused=True)
    from bitsandbytes.optim.adamw import AdamW
    from bitsandbytes.optim.optimizer import GlobalOptimManager

    for module in model.modules():
        if isinstance(module, nn.Embedding):
            GlobalOptimManager.get_instance().register_module_override(
                module, "weight", {"optim_bits": 32}
            )
    optimizer: torch.optim.Optimizer = AdamW(
        groups, optim_bits=options.optimizer_bits, is_paged=_is_paged(options, device)
    )
    return optimizer


def trainer_name(options: OptimizerOptions, device: torch.device) -> str:
    """Return the name that transformers has for the same optimizer."""
    if _is_plain(options, device):
        return "adamw_torch_fused"
    paged = "paged_" if _is_paged(options, device) else ""
    return f"{paged}adamw_{options.optimizer_bits}bit"


def state_tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return what the optimizer knows of one weight as tensors, which can be written."""
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if name == _NESTED:
            tensors |= state_tensors(value)
        elif isinstance(value, int):
            tensors[name] = torch.tensor(value)
        else:
            tensors[name] = value.clone() if name.startswith(_CODEBOOK) else value
    return tensors


def state_value(tensor: Tensor) -> Tensor | int:
    """Return a value as it was before `state_tensors`: whole numbers are counts."""
    return int(tensor) if tensor.dtype == torch.int64 else tensor
