"""Several processes that train one model together: what they add up, agree on and wait for.

Knows nothing about training. Alone, a process agrees with itself at no cost.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from pollice.system.processes import are_several, is_first

__all__ = ["Peers", "connect", "is_first"]


@dataclass(frozen=True, kw_only=True)
class Peers:
    """The processes that train together; all call the same method at the same time."""

    rank: int
    size: int
    device: torch.device

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""
        if self.size > 1:
            # Trap: values that lie on the device already are overwritten by the sum.
            values = values.to(self.device)
            distributed.all_reduce(values)
        return values

    def largest(self, number: int) -> int:
        """Return the largest of the processes' numbers."""
        if self.size == 1:
            return number
        value = torch.tensor(number, device=self.device)
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
        return int(value)

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace every gradient by its sum; a weight that no process used keeps none."""
        if self.size == 1:
            return
        # Without rows in a step a process has no gradients, yet all must send tensors of one shape.
        used = self.sum(torch.tensor([float(p.grad is not None) for p in parameters]))
        shared = [p for p, uses in zip(parameters, used.tolist(), strict=True) if uses]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in shared]
        # One flat tensor, because a call for each weight would wait for the network each time.
        total = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = total.split([p.numel() for p in shared])
        for parameter, part in zip(shared, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.size > 1:
            distributed.barrier()


def connect(device: torch.device) -> Peers:
    """Join the processes that torchrun or accelerate launched; alone, there is nobody to join."""
    if not are_several():
        return Peers(rank=0, size=1, device=device)
    torch_distributed: Any = distributed
    if device.type == "cuda":
        # A plain "cuda" means the current GPU, and NCCL refuses two processes on the same one.
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    # accelerate may have joined already, and joining twice is an error.
    if not torch_distributed.is_initialized():
        torch_distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Peers(
        rank=torch_distributed.get_rank(), size=torch_distributed.get_world_size(), device=device
    )
