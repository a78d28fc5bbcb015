"""Matrix products in float32 by the faster of the libraries that PyTorch brings.

Knows nothing about models.

PyTorch multiplies float32 by MKL, which on processors of AMD is slower than oneDNN: 160 to 206
against 179 to 223 GFLOP/s on the shapes of gemma-3-270m, two cores of an AMD EPYC, torch 2.13.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def fast_products() -> AbstractContextManager[object]:
    """Within this, linear layers multiply by the faster library, in inference on CPU.

    Nothing is replaced: PyTorch keeps its stack of function modes for each thread, so products of
    other threads are what they were.
    """
    return OneDnnProducts() if onednn_is_faster() else nullcontext()


class OneDnnProducts(TorchFunctionMode):
    """Sees every call of a function of PyTorch, and answers those of ``linear`` itself."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        # Inside this method the mode is off: neither product comes back here.
        if func is nn.functional.linear and not kwargs and _fits(*args):
            return _onednn(*args)
        return func(*args, **(kwargs or {}))


def _fits(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Tell whether the product has no gradient, and both sides are float32 on CPU."""
    # The private operator is for inference: in training, gradients must go on as they always do.
    return torch.is_inference_mode_enabled() and all(
        side.dtype == torch.float32 and side.device.type == "cpu" for side in (states, weight)
    )


def _onednn(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    # Private, and named in tests/models/test_private_names.py: no public operator of PyTorch
    # multiplies float32 by oneDNN. `torch.compile` makes calls of this one; `torch.backends.mkldnn`
    # only allows it where PyTorch would use oneDNN anyway.
    product: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return product


@cache
def onednn_is_faster(processor: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether this is a processor of AMD, and PyTorch offers the product of oneDNN."""
    return (
        # Builds without oneDNN lack the operator; systems other than Linux lack /proc/cpuinfo.
        hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and processor.exists()
        and "AuthenticAMD" in processor.read_text(encoding="utf-8")
    )
