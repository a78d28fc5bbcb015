"""A decoder's last layer for the tokens that are asked about, and for no others.

Knows nothing about which tokens are asked about, and why.

What the layer makes of a token goes nowhere but into that token's own state. So of the last layer,
all other tokens need their keys and values only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor, nn

_BY_TOKEN = ("self_attn.q_proj", "self_attn.o_proj", "mlp")
"""The parts of a layer that work on each token by itself, whose outcome no other token needs."""

# A part of a layer is handed the states and nothing else, so which tokens are asked about cannot
# come as an argument. It is not kept in the module either, which other threads are using: a context
# variable has a value of its own in each thread.
_asked: ContextVar[Tensor | None] = ContextVar("asked", default=None)


class AskedTokens(nn.Module):
    """A part of a layer that works on the tokens named by `only_for`; the others get zeros.

    Zeros are as good as anything there: nothing reads what the last layer makes of those tokens.
    """

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, states: Tensor) -> Tensor:
        """Return ``(rows, tokens, width)``, of ``states`` in the same shape."""
        asked = _asked.get()
        if asked is None:
            whole: Tensor = self.part(states)
            return whole
        # A query of zeros weighs all that it sees alike: finite, so no nan comes from those tokens.
        made = self.part(states.index_select(1, asked))
        # All tokens keep their places, since attention and the residual sum go by place. The width
        # is that of the outcome: queries may be wider than states.
        zeros: Tensor = made.new_zeros((made.shape[0], states.shape[1], made.shape[2]))
        return zeros.index_copy(1, asked, made)


def shorten_last_layer(decoder: nn.Module) -> None:
    """Replace parts of the last layer by such as can leave tokens out; see `only_for`.

    Use it on a view of a model, once. Without `only_for`, the decoder gives what it gave before. A
    decoder whose layers have other names, or experts, stays as it is: experts choose their tokens
    by themselves.
    """
    layers: Any = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        return
    # The layer itself has the name "", which is what `rpartition` gives as the parent of "mlp".
    modules = dict(layers[-1].named_modules())
    for name in _BY_TOKEN:
        if name in modules and _has_no_experts(modules[name]):
            parent, _, own_name = name.rpartition(".")
            setattr(modules[parent], own_name, AskedTokens(modules[name]))


def _has_no_experts(module: nn.Module) -> bool:
    """Tell whether all weights of a module are matrices of linear layers."""
    # A LoRA layer passes: all its weights are those of linear layers inside it.
    return all(
        isinstance(part, nn.Linear) or not list(part.parameters(recurse=False))
        for part in module.modules()
    )


@contextmanager
def only_for(asked: Tensor) -> Iterator[None]:
    """Within this, a shortened decoder's states are right for ``asked`` alone.

    Args:
        asked: The numbers of the tokens, ``(n,)``; the same for each row of the batch.
    """
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)
