"""A signal sets a flag, the next one ends the work, and handlers are put back."""

import os
import signal
import threading

import pytest

from pollice.system.interruption import stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sets_the_flag(number: signal.Signals) -> None:
    with stopping() as stop:
        assert stop.requested is None
        os.kill(os.getpid(), number)
        assert stop.requested == number


def test_a_second_signal_ends_the_work_at_once() -> None:
    with stopping() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested == signal.SIGTERM


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stopping():
        assert signal.getsignal(signal.SIGTERM) != before[0]
        assert signal.getsignal(signal.SIGINT) != before[1]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_it_can_be_entered_in_any_thread() -> None:
    found: list[int | None] = []

    def enter() -> None:
        with stopping() as stop:
            found.append(stop.requested)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [None]
