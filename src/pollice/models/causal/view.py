"""A view of a model: modules of its own, over the weights of another.

Knows nothing about prompts, and nothing about what a view is changed for.

A scorer needs a model whose attention and last layer work its way, and `lora` needs the model from
before tuning beside the tuned one. Toggles and hooks on the one loaded model would do both, but
then a second thread would meet a model that the first is just using otherwise. So each has a view:
its modules can be replaced, and the weights are still loaded once.
"""

import copy
from itertools import chain
from typing import Any, TypeVar, cast

from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

Module = TypeVar("Module", bound=nn.Module)

_CHANGING = ("dynamic", "longrope")  # rotary embeddings that are computed anew as texts get longer


def view_model(model: Module) -> Module:
    """Return a tree of new modules over the very tensors of ``model``, in a few milliseconds.

    Modules without parts, which hold the weights, are shared. Those that hold others are copied,
    and so is the configuration: replacing a part of the view changes nothing in ``model``. Moving
    ``model`` to another device moves the view too.
    """
    tensors = chain(model.parameters(), model.buffers())
    leaves = (module for module in model.modules() if not list(module.children()))
    shared: dict[int, Any] = {id(part): part for part in chain(tensors, leaves)}
    view = copy.deepcopy(model, shared)
    for module in view.modules():
        if id(module) not in shared:
            # Trainers put functions of their own in place of a model's `forward` (TRL its fused
            # loss, accelerate its mixed precision). Those still call the model they were made for.
            vars(module).pop("forward", None)
    _keep_rotary_state_apart(view)
    return view


def view_without_adapter(model: PeftModel) -> PreTrainedModel:
    """Return the model as it was before an adapter was attached, over the same weights.

    Use it to ask the models from before and after tuning at the same time; PEFT's own
    ``disable_adapter`` switches the one model to and fro.
    """
    return cast(PreTrainedModel, view_model(model).unload())


class _OwnRotaryState(nn.Module):
    """A rotary embedding that starts each pass in the state it was loaded in.

    Transformers stretches some (``rope_type`` dynamic or longrope) to the longest text of a pass,
    and writes that into the module: the next pass, or another thread's, would be another.
    """

    def __init__(self, rotary: nn.Module) -> None:
        super().__init__()
        self._rotary = rotary

    def forward(self, *given: Any, **options: Any) -> tuple[Tensor, Tensor]:
        config = self._rotary.config
        rotary = copy.deepcopy(self._rotary, {id(config): config})
        states: tuple[Tensor, Tensor] = rotary(*given, **options)
        return states


def _keep_rotary_state_apart(view: nn.Module) -> None:
    for parent in list(view.modules()):
        for name, module in parent.named_children():
            if _changes_as_it_runs(module) and not isinstance(parent, _OwnRotaryState):
                setattr(parent, name, _OwnRotaryState(module))


def _changes_as_it_runs(module: nn.Module) -> bool:
    kinds = getattr(module, "rope_type", ())  # one, or one for each kind of layer
    names = kinds.values() if isinstance(kinds, dict) else [kinds]
    return any(changing in name for changing in _CHANGING for name in names)
