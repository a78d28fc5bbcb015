"""Signals to stop: an exception that ends any work, or a flag that a training loop reads.

Knows nothing about the work, nor about what is saved before its end. Imports little: it guards the
start of the command line, before anything slow is imported.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pollice.errors import Interrupted

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopFlag:
    """Whether the work was asked to stop, and by which signal."""

    requested: int | None = None
    """The signal's number; None: go on."""

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            raise KeyboardInterrupt(signal_number)
        self.requested = signal_number


class _Raising(StopFlag):
    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        self.requested = signal_number
        for number in _SIGNALS:  # the second signal ends the process, whatever it is doing
            signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt(signal_number)


@contextmanager
def stopping() -> Iterator[StopFlag]:
    """Turn SIGTERM and SIGINT into a flag; a second signal raises KeyboardInterrupt at once.

    Signals reach only the main thread: in any other, the flag is never set.
    """
    with _handled_by(StopFlag()) as flag:
        yield flag


@contextmanager
def raising() -> Iterator[StopFlag]:
    """Turn the first SIGTERM or SIGINT into KeyboardInterrupt, and note it; a second one kills.

    A signal that the process was told to ignore, as a shell does for SIGINT in the background,
    stays ignored.
    """
    with _handled_by(_Raising(), but_ignored=True) as flag:
        yield flag


@contextmanager
def _handled_by(flag: StopFlag, *, but_ignored: bool = False) -> Iterator[StopFlag]:
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    # None: a handler that was not set by Python, which cannot be put back.
    previous = {number: signal.getsignal(number) or signal.SIG_DFL for number in _SIGNALS}
    taken = [n for n in _SIGNALS if previous[n] != signal.SIG_IGN or not but_ignored]
    try:
        for number in taken:
            signal.signal(number, flag._handle)
        yield flag
    finally:
        for number in taken:
            signal.signal(number, previous[number])


def as_interrupted(signal_number: int | None) -> Interrupted:
    """Return the sentence for work that a signal ended; None stands for SIGINT."""
    number = signal_number or signal.SIGINT
    return Interrupted(
        f"{signal.Signals(number).name} stopped the command before its end: no file is left "
        "half-written, what was finished is kept, and the same command can be given again.",
        number,
    )


def signal_of(error: BaseException) -> int | None:
    """Return the signal's number where a signal raised an error, or one that led to it.

    Compiled code may turn the KeyboardInterrupt into an error of its own, such as ImportError.
    """
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        if isinstance(at, KeyboardInterrupt):
            return int(at.args[0]) if at.args else int(signal.SIGINT)
        seen.append(at)
        at = at.__cause__ or at.__context__
    return None
