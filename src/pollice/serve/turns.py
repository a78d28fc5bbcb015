"""Turns: so many threads work at once, and whoever waits longest is next.

Knows nothing about the work.
"""

import threading
from collections import deque
from types import TracebackType
from typing import Self


class Turns:
    """A context that at most ``count`` threads are in.

    A semaphore does not hand its turn over: a busy thread has it back before another one wakes, so
    a model with much to do would keep all others waiting.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        mine = threading.Event()
        with self._lock:
            if self._free:
                self._free -= 1
                mine.set()
            else:
                self._waiting.append(mine)
        mine.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
