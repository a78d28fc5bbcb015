"""Devices and data types: what is asked for, and what the hardware has.

Knows nothing about checkpoints.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from transformers.utils import logging as transformers_logging

from pollice.errors import CheckpointError

Dtype = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]


def resolve_device(device: Device) -> torch.device:
    """Return the device; ``auto`` is a GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise CheckpointError(
            "device is 'cuda', but no CUDA GPU is at hand. Use device='cpu' or 'auto'."
        )
    return torch.device(device)


def resolve_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """Return the data type; ``auto`` is bfloat16 where the hardware multiplies it natively."""
    if dtype == "auto":
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    return torch.float32 if dtype == "float32" else torch.bfloat16


def multiplies_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 natively, and so faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # A private name (see tests/models/test_private_names.py): the public one,
    # `torch.cpu.get_capabilities`, came later than the oldest PyTorch that pollice allows.
    return torch.cpu._is_avx512_bf16_supported()


def share_threads(models: int) -> int:
    """Return how many threads each of several models may use that work at the same time."""
    return max(1, torch.get_num_threads() // models)


def limit_threads(threads: int) -> None:
    """Let every model of this process use so many threads on CPU, whichever thread calls it."""
    torch.set_num_threads(threads)


def on_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return an array as a tensor; a GPU gets it while it is still busy with the one before."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class _Quiet:
    """How many blocks of `quiet` are open, in all threads, and what the first of them found."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open = 0
        self._found: tuple[int, bool] | None = None

    def enter(self) -> None:
        with self._lock:
            self._open += 1
            if self._open == 1:
                self._found = (
                    transformers_logging.get_verbosity(),
                    transformers_logging.is_progress_bar_enabled(),
                )
                transformers_logging.set_verbosity_error()
                transformers_logging.disable_progress_bar()

    def leave(self) -> None:
        with self._lock:
            self._open -= 1
            if self._open or self._found is None:
                return
            verbosity, bars = self._found
            transformers_logging.set_verbosity(verbosity)
            if bars:
                transformers_logging.enable_progress_bar()


_quiet = _Quiet()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' own bars and warnings off the terminal while something is loaded or saved.

    Transformers has one verbosity for the whole process. So of several threads the first in this
    block turns it down, and the last one out puts it back: if each put back what it had found, the
    one that came second would put back silence. Never needed for scoring.
    """
    _quiet.enter()
    try:
        yield
    finally:
        _quiet.leave()
