"""Measure the time and the peak memory of a piece of work, and the free memory.

Knows nothing about what the work is, and imports no torch: it uses torch only if loaded.
"""

import ctypes
import gc
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MIB = 1024 * 1024


@dataclass(kw_only=True)
class Meter:
    """Filled in when the measured block ends."""

    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    peak_device_memory_mib: float | None = None
    """Of the GPU, as far as torch reserved it; None: none was used."""

    def highest_on_device(self, other: "Meter") -> float | None:
        """Return the larger peak of two blocks on the GPU."""
        peaks = [self.peak_device_memory_mib, other.peak_device_memory_mib]
        return max((peak for peak in peaks if peak is not None), default=None)


@contextmanager
def measured(clock: Callable[[], float] = time.perf_counter) -> Iterator[Meter]:
    """Measure a block: its seconds by the clock, and the peak memory of the process."""
    _forget_peak()
    meter = Meter()
    start = clock()
    try:
        yield meter
    finally:
        meter.seconds = clock() - start
        meter.peak_memory_mib = _peak_bytes() / _MIB
        gpu = _gpu()
        if gpu is not None:
            meter.peak_device_memory_mib = gpu.max_memory_reserved() / _MIB


def _forget_peak() -> None:
    """Give freed memory back and start a new peak, if the system can (Linux)."""
    gc.collect()
    release_memory()
    with suppress(OSError):  # no such file: the peak is that of the whole process, an upper bound
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    gpu = _gpu()
    if gpu is not None:
        gpu.empty_cache()
        gpu.reset_peak_memory_stats()


def release_memory() -> None:
    """Give freed memory back to the system; glibc and Arrow seldom do this themselves.

    Blocks of changing sizes leave gaps that cannot be used: without this, a loop over texts of
    many lengths holds more and more memory. It takes milliseconds.
    """
    arrow: Any = sys.modules.get("pyarrow")
    if arrow is not None:
        arrow.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):  # no glibc: freed memory stays with the process
        ctypes.CDLL(None).malloc_trim(0)


class Release:
    """Gives freed memory back after each ``every`` units of work.

    Args:
        every: The units, such as tokens.
    """

    def __init__(self, *, every: int) -> None:
        self._every = every
        self._since = 0

    def after(self, amount: int) -> None:
        """Count the work done; give memory back if it is enough."""
        self._since += amount
        if self._since >= self._every:
            release_memory()
            self._since = 0


def _gpu() -> Any:
    """Return torch's view of the GPU; None if torch is not loaded or has not used one."""
    torch: Any = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None


def _peak_bytes() -> int:
    return _kernel_bytes("/proc/self/status", "VmHWM") or _highest_bytes()


def resident_bytes() -> int:
    """Return the memory that the process holds; if the system cannot say, its peak."""
    return _kernel_bytes("/proc/self/status", "VmRSS") or _highest_bytes()


def free_bytes() -> int:
    """Return the memory that the process may still use, in its machine and container."""
    machine = _kernel_bytes("/proc/meminfo", "MemAvailable")
    if machine is None:  # macOS says what there is, not what is free
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit, used = (_container_bytes(name) for name in ("memory.max", "memory.current"))
    return machine if limit is None or used is None else max(0, min(machine, limit - used))


def _kernel_bytes(path: str, field: str) -> int | None:
    """Return a field, in bytes, of a kernel file that counts in kB."""
    with suppress(OSError):
        for line in Path(path).read_text(encoding="ascii").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None


def _container_bytes(name: str) -> int | None:
    """Return a number of the process's control group; None: no limit, or no group."""
    with suppress(OSError, ValueError):  # "max" is no number
        return int((Path("/sys/fs/cgroup") / name).read_text(encoding="ascii"))
    return None


def _highest_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
