"""How many threads compiled code may use: one for small work, so that it waits for nobody.

Knows nothing about the work but its size.

At the end of each of its many short steps, parallel code waits until its slowest thread is done.
Where another process is busy, that thread may not have begun, and the others wait for it at full
speed: a fit of one second took 47 s on two cores. A single thread waits for nobody.
"""

from collections.abc import Iterator
from contextlib import contextmanager

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
