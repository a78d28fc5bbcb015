"""Calls to the workers of a Ray cluster: each free worker takes the next call, and none is lost.

Knows nothing about predictors, and nothing about what is called. One thread does all of it: calls
are given out and their results taken in `WorkerPool.wait` alone.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pollice.errors import MachineError
from pollice.system.interruption import StopFlag

logger = logging.getLogger("pollice")

_MOST_LOST = 3
"""So many workers may end at one call: what ends four of them lies in the call."""
_SECONDS_A_LOOK = 0.2
"""A signal is looked for so often: Ray, while it waits, would forget which one it was."""


@dataclass(kw_only=True, eq=False)
class Call:
    """A call of a worker's method; a worker that ends during it may have done it or not."""

    method: str
    arguments: tuple[Any, ...] = ()
    done: bool = False
    result: Any = None
    lost: int = 0
    """How many workers ended during this call."""


@dataclass(kw_only=True)
class WorkerPool:
    """Workers that are opened once, and called as soon as they are free.

    Args:
        ray: The package, connected to a cluster.
        start: Starts a worker. Its method ``open`` is called first.
        size: How many there are; one that ends is replaced.
        stop: Whether the work was asked to stop.
    """

    ray: Any
    start: Callable[[], Any]
    size: int
    stop: StopFlag
    _busy: dict[Any, tuple[Any, Call]] = field(default_factory=dict)
    """Of each result that is awaited, the worker and the call."""
    _free: list[Any] = field(default_factory=list)
    _queue: deque[Call] = field(default_factory=deque)

    def open(self) -> None:
        """Start all workers, without waiting for them."""
        for _ in range(self.size):
            self._begin(self.start(), Call(method="open"))

    def submit(self, call: Call, *, first: bool = False) -> Call:
        """Give a call to a worker, now or once one is free; ``first``: before all that wait.

        Raises:
            Exception: as `wait` does, for a call that has ended.
        """
        if first:
            self._queue.appendleft(call)
        else:
            self._queue.append(call)
        self._go_on(timeout=0)
        return call

    def wait(self) -> None:
        """Wait until one more call has ended, or some time has passed.

        Raises:
            KeyboardInterrupt: the work was asked to stop.
            MachineError: one call ended several workers, or Ray cannot go on.
            Exception: what a worker raised, as it raised it.
        """
        self._go_on(timeout=_SECONDS_A_LOOK)

    def _go_on(self, timeout: float) -> None:
        """Take what has ended, and give out the next calls."""
        if self.stop.requested is not None:
            raise KeyboardInterrupt(self.stop.requested)
        ended, _ = self.ray.wait(list(self._busy), num_returns=1, timeout=timeout)
        for reference in ended:
            worker, call = self._busy.pop(reference)
            self._take(reference, worker, call)
        self._give_out()

    def close(self) -> None:
        """End all workers at once."""
        for worker in (*self._free, *(worker for worker, _ in self._busy.values())):
            self.ray.kill(worker)

    def _begin(self, worker: Any, call: Call) -> None:
        reference = getattr(worker, call.method).remote(*call.arguments)
        self._busy[reference] = (worker, call)

    def _give_out(self) -> None:
        while self._free and self._queue:
            self._begin(self._free.pop(), self._queue.popleft())

    def _take(self, reference: Any, worker: Any, call: Call) -> None:
        errors = self.ray.exceptions
        try:
            call.result = self.ray.get(reference)
        except errors.RayTaskError as error:
            # Ray's own error is of two classes and shows where it happened: that stays its cause.
            raise (error.cause if isinstance(error.cause, Exception) else error) from error
        except errors.RayActorError as error:
            self._replace(call, error)
        else:
            call.done = True
            self._free.append(worker)

    def _replace(self, call: Call, error: Exception) -> None:
        """Start a worker in place of one that ended, and have its call done by any other."""
        call.lost += 1
        said = str(error).strip().splitlines()[0].rstrip(".:")
        if call.lost > _MOST_LOST:
            raise MachineError(
                f"Expected workers that go on, but {call.lost} of them ended at the same rows "
                f"(Ray says “{said}”). They may need more memory: give --workers a smaller number."
            ) from error
        logger.info("A worker ended before its work was done; another one does it again.")
        opening = call if call.method == "open" else Call(method="open")
        self._begin(self.start(), opening)
        if opening is not call:
            self._queue.appendleft(call)
