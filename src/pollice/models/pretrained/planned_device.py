"""The device that work is planned for, which need not be at hand.

Knows nothing about checkpoints.
"""

from dataclasses import dataclass

import torch

from pollice.errors import MemoryPlanError
from pollice.models.pretrained.devices import Device, Dtype, resolve_device, resolve_dtype


@dataclass(frozen=True, kw_only=True)
class PlannedDevice:
    """A device, as far as memory is concerned."""

    cuda: bool
    number_bytes: int
    """Of a number in products: 2 in bfloat16, 4 in float32."""


def planned_device(device: Device, dtype: Dtype) -> PlannedDevice:
    """Return the device that would be used, and the size of its numbers.

    A GPU may be planned for where there is none; it is taken to multiply bfloat16.
    """
    if device == "cuda" and not torch.cuda.is_available():
        return PlannedDevice(cuda=True, number_bytes=4 if dtype == "float32" else 2)
    place = resolve_device(device)
    return PlannedDevice(
        cuda=place.type == "cuda", number_bytes=resolve_dtype(dtype, place).itemsize
    )


def free_gpu_bytes() -> int:
    """Return what is free on the GPU.

    Raises:
        MemoryPlanError: there is none to ask.
    """
    if not torch.cuda.is_available():
        raise MemoryPlanError(
            "device is 'cuda', but no CUDA GPU is at hand that says how much memory it has. "
            "Name the GPU's memory, such as --memory 15GiB."
        )
    return torch.cuda.mem_get_info()[0]
