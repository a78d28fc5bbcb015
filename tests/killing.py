"""Work in child processes: ended by a signal at a chosen moment, or one of several together."""

import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from pollice.errors import Interrupted

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


def signal_at_change(number: int, work: Callable[[], object], sent: signal.Signals) -> int:
    """Run ``work`` in a forked child, which sends itself a signal at its ``number``-th change.

    Returns:
        The child's exit code, negative where the signal ended it.
    """

    def watched() -> None:
        sys.addaudithook(_SignalAt(number, sent))
        work()

    return in_child(watched)


def killed_at_change(number: int, work: Callable[[], object]) -> bool:
    """Run ``work`` in a forked child; tell whether SIGKILL came at its ``number``-th change."""
    code = signal_at_change(number, work, signal.SIGKILL)
    assert code in (0, -signal.SIGKILL)
    return code != 0


def in_child(work: Callable[[], object]) -> int:
    """Run ``work`` in a forked child; return its exit code, negative where a signal ended it."""
    child = os.fork()
    if child == 0:
        _end_after(work)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def ends_within(seconds: int, work: Callable[[], object]) -> bool:
    """Tell whether work ends well in so many seconds of a processor, however busy the machine is.

    It runs in a forked child, which the system ends when it has used them up.
    """

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        work()

    return in_child(limited) == 0


def _end_after(work: Callable[[], object]) -> NoReturn:
    code = 1
    try:
        work()
        code = 0
    except Interrupted as error:
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


class _SignalAt:
    def __init__(self, number: int, sent: signal.Signals) -> None:
        self._left = number
        self._sent = sent

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), self._sent)


def in_processes(size: int, work: Callable[[int], object]) -> list[int]:
    """Run ``work(rank)`` in forked processes that torch takes for launched; return exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            os.environ["OMP_NUM_THREADS"] = "1"  # as torchrun sets it; accelerate warns without
            _end_after(partial(work, rank))
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
