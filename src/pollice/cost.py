"""What a piece of work took: seconds, and the peak of the process's resident memory.

Knows nothing about what the work is.
"""

import ctypes
import gc
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_MIB = 1024 * 1024


@dataclass(kw_only=True)
class Meter:
    """Filled in when the measured block ends."""

    seconds: float = 0.0
    peak_memory_mib: float = 0.0


@contextmanager
def measured() -> Iterator[Meter]:
    """Measure a block: its seconds, and the most memory the process held during it."""
    _forget_peak()
    meter = Meter()
    start = time.perf_counter()
    try:
        yield meter
    finally:
        meter.seconds = time.perf_counter() - start
        meter.peak_memory_mib = _peak_bytes() / _MIB


def _forget_peak() -> None:
    """Give freed memory back and start a new peak, where the system can (Linux)."""
    gc.collect()
    with suppress(OSError, AttributeError):  # no glibc: freed memory stays with the process
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):  # no such file: the peak is that of the whole process, an upper bound
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_bytes() -> int:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
