"""A view of a model: modules of its own, over the weights of another.

Knows nothing about prompts, and nothing about what a view is changed for.

A scorer needs a model whose attention and last layer work its way, and `lora` needs the model from
before tuning beside the tuned one. Toggles and hooks on the one loaded model would do both, but
then a second thread would meet a model that the first is just using otherwise. So each has a view:
its modules can be replaced, and the weights are still loaded once.
"""

import copy
from collections.abc import Iterator
from itertools import chain
from typing import Any, TypeVar, cast

from peft import PeftModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
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
    # `deepcopy` returns what its memo names in place of a copy: so whatever stands here is shared.
    shared: dict[int, Any] = {id(part): part for part in chain(tensors, leaves, _handles(model))}
    view = copy.deepcopy(model, shared)
    for module in view.modules():
        # The copy has put the ids of originals into `shared`, but never those of the copies.
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
    # `unload` puts each base layer back into its parent. The parents are the view's own, and base
    # layers, which are leaves, are shared: the tuned model keeps its adapter.
    return cast(PreTrainedModel, view_model(model).unload())


def _handles(model: nn.Module) -> Iterator[RemovableHandle]:
    """Yield what removes the hooks of a model: such a handle can only be of the model itself."""
    for module in model.modules():
        for value in vars(module).values():
            kept = value if isinstance(value, list) else [value]
            yield from (handle for handle in kept if isinstance(handle, RemovableHandle))


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
        # A pass writes frequencies and lengths into the module, and only reads the configuration.
        rotary = copy.deepcopy(self._rotary, {id(config): config})
        states: tuple[Tensor, Tensor] = rotary(*given, **options)
        return states


def _keep_rotary_state_apart(view: nn.Module) -> None:
    for parent in list(view.modules()):
        for name, module in parent.named_children():
            # A view of a view has such a wrapper already: what is in it needs no second one.
            if _changes_as_it_runs(module) and not isinstance(parent, _OwnRotaryState):
                setattr(parent, name, _OwnRotaryState(module))


def _changes_as_it_runs(module: nn.Module) -> bool:
    kinds = getattr(module, "rope_type", ())  # one, or one for each kind of layer
    names = kinds.values() if isinstance(kinds, dict) else [kinds]
    return any(changing in name for changing in _CHANGING for name in names)
