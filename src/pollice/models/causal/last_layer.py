"""A decoder's last layer for the tokens that are asked about, and for no others.

What the layer makes of a token goes nowhere but into that token's own state. So of the last layer,
all other tokens need their keys and values only.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

_BY_TOKEN = ("self_attn.q_proj", "self_attn.o_proj", "mlp")


@contextmanager
def only_for(decoder: nn.Module, asked: Tensor) -> Iterator[None]:
    """Within this, the last layer's states are right for ``asked`` alone: token numbers, ``(n,)``.

    A decoder whose layers have other names, or experts, goes the whole way for all.
    """
    layers: Any = getattr(decoder, "layers", None)
    modules = dict(layers[-1].named_modules()) if isinstance(layers, nn.ModuleList) else {}
    with ExitStack() as hooks:
        for name in _BY_TOKEN:
            if name in modules and _is_plain(modules[name]):
                _limit(modules[name], asked, hooks)
        yield


def _is_plain(module: nn.Module) -> bool:
    """Tell whether a module has no weights but those of matrices: so it has no experts."""
    return all(
        isinstance(part, nn.Linear) or not list(part.parameters(recurse=False))
        for part in module.modules()
    )


def _limit(module: nn.Module, asked: Tensor, hooks: ExitStack) -> None:
    tokens = 0

    def choose(_: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
        nonlocal tokens
        tokens = given[0].shape[1]
        return (given[0].index_select(1, asked),)

    def put_back(_: nn.Module, __: tuple[Tensor], made: Tensor) -> Tensor:
        whole = made.new_zeros((made.shape[0], tokens, made.shape[2]))
        return whole.index_copy(1, asked, made)

    hooks.callback(module.register_forward_pre_hook(choose).remove)
    hooks.callback(module.register_forward_hook(put_back).remove)
