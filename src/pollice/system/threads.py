"""How many threads compiled code may use: one for small work, so that it waits for nobody.

Knows nothing about the work but its size.

At the end of each of its many short steps, parallel code waits until its slowest thread is done.
Where another process is busy, that thread may not have begun, and the others wait for it at full
speed: a fit of one second took 47 s on two cores. A single thread waits for nobody.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from threadpoolctl import threadpool_limits

_SMALL = 20_000_000
"""So many multiplications take some 10 ms of one core: less than threads could save."""


@contextmanager
def few_threads(multiplications: int) -> Iterator[None]:
    """Let one thread do work whose single steps have fewer multiplications than pay for more.

    Only the work of this process between the beginning and the end of the context is limited.
    """
    if multiplications >= _SMALL:
        yield
    else:
        with threadpool_limits(limits=1):
            yield


def usual_threads() -> int:
    """Return how many threads compiled code uses here where nothing limits it.

    That is OMP_NUM_THREADS, else the cores that this process may use, as PyTorch counts them: two
    processors of one core count once.
    """
    with suppress(KeyError, ValueError):
        return max(1, int(os.environ["OMP_NUM_THREADS"].partition(",")[0]))
    return len({_core(processor) for processor in _processors()})


def _processors() -> set[int]:
    with suppress(AttributeError):  # macOS has no such call
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _core(processor: int) -> str:
    """Return a name that the processors of one core share."""
    topology = Path(f"/sys/devices/system/cpu/cpu{processor}/topology")
    try:
        return (topology / "thread_siblings_list").read_text(encoding="ascii")
    except OSError:  # another system than Linux
        return str(processor)
