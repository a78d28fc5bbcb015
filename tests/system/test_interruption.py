"""A signal sets a flag, the next one ends the work, and handlers are put back."""

import os
import signal
import threading

import pytest

from pollice.system.interruption import as_interrupted, raising, signal_of, stopping


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_raises_what_tells_it(number: signal.Signals) -> None:
    with raising() as asked, pytest.raises(KeyboardInterrupt) as caught:
        os.kill(os.getpid(), number)
    assert asked.requested == signal_of(caught.value) == number


def test_an_error_that_a_signal_led_to_tells_it_too() -> None:
    """Compiled code turns what a signal raised into an ImportError of its own."""
    error = ImportError("initialization failed")
    error.__cause__ = KeyboardInterrupt(int(signal.SIGTERM))
    assert signal_of(error) == signal.SIGTERM
    assert signal_of(ImportError("no module")) is None
    assert signal_of(KeyboardInterrupt()) == signal.SIGINT


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As a shell does for SIGINT of what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with raising():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_are_put_back_after_a_signal_too() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with raising(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_the_sentence_has_the_code_of_its_signal() -> None:
    ended = as_interrupted(signal.SIGTERM)
    assert ended.exit_code == 143
    assert str(ended) == (
        "SIGTERM stopped the command before its end: no file is left half-written, what was "
        "finished is kept, and the same command can be given again."
    )
    assert as_interrupted(None).exit_code == 130
