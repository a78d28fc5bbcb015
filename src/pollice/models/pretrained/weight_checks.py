"""Whether loaded weights are the model's: every layer in its place, every number finite.

Knows nothing about files and formats.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from pollice.errors import CheckpointError

# What older versions of transformers saved with a layer, though it is computed and not learned.
_COMPUTED = (".bias_mask", ".inv_freq", ".masked_bias", ".attn.bias", "position_ids")


def check_layers(folder: Path, model: nn.Module, left_over: Iterable[str]) -> None:
    """Refuse weights of a layer that the configuration leaves out.

    Weights of other heads are no fault: an encoder is often published with the head that it was
    trained with.

    Args:
        folder: Of the checkpoint.
        model: As it was built from the configuration.
        left_over: The names of the weights that found no place in it.

    Raises:
        CheckpointError: there are such weights.
    """
    lists = {
        name: len(module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
    }
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    for name in sorted(left_over):
        if name.endswith(_COMPUTED):
            continue
        place = _layer_list(name, lists, prefix)
        if place is not None:
            raise CheckpointError(
                f"Expected a model of all the layers that the checkpoint {folder} has weights for, "
                f"but its configuration gives {lists[place]} in {place}, without a place for "
                f"{name}. Fetch its config.json again from where it was published."
            )


def _layer_list(name: str, lists: Iterable[str], prefix: str) -> str | None:
    """Return the list of layers that a weight belongs to; None: none of this model."""
    # Weights of a bare encoder lack the prefix that a classifier gives them, and the other way.
    forms = (name, name.removeprefix(prefix), f"{prefix}{name}")
    return next(
        (place for place in lists if any(form.startswith(f"{place}.") for form in forms)), None
    )


@torch.no_grad()
def check_finite(folder: Path, model: nn.Module) -> None:
    """Refuse weights with a number that is not finite: every answer would be without meaning.

    Raises:
        CheckpointError: a weight holds NaN or infinity.
    """
    for name, weights in model.named_parameters():
        if weights.is_floating_point() and not is_finite(weights):
            raise CheckpointError(
                f"Expected finite numbers in the weights of {folder}, but {name} holds NaN or "
                "infinity. Fetch the checkpoint again from where it was published."
            )


def is_finite(values: Tensor) -> bool:
    """Tell whether all numbers of a tensor are finite."""
    if not values.numel() or values.is_meta:
        return True
    # Least and greatest in one pass, which takes no memory; NaN is the answer where there is one.
    least, greatest = torch.aminmax(values if values.itemsize > 1 else values.float())
    return bool(torch.isfinite(least) & torch.isfinite(greatest))
