"""Turn a signal to stop into a flag that a training loop reads between steps.

Knows nothing about training, nor about what is saved before the end.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopFlag:
    """Whether the work was asked to stop, and by which signal."""

    requested: int | None = None
    """The signal's number; None: go on."""

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            raise KeyboardInterrupt
        self.requested = signal_number


@contextmanager
def stopping() -> Iterator[StopFlag]:
    """Turn SIGTERM and SIGINT into a flag; a second signal raises KeyboardInterrupt at once.

    Signals reach only the main thread: in any other, the flag is never set.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    previous = {number: signal.signal(number, flag._handle) for number in _SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
