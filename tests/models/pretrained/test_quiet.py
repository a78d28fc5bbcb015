"""What transformers says on the terminal is as before, once the last thread has loaded."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from transformers.utils import logging as logs

from pollice.models.pretrained.devices import quiet


@pytest.fixture(autouse=True)
def loud() -> Iterator[None]:
    verbosity, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity_info()
    logs.enable_progress_bar()
    yield
    logs.set_verbosity(verbosity)
    if not bars:
        logs.disable_progress_bar()


def state() -> tuple[int, bool]:
    return logs.get_verbosity(), logs.is_progress_bar_enabled()


def test_inside_nothing_is_said_and_after_it_everything() -> None:
    before = state()
    with quiet():
        assert state() == (logging.ERROR, False)
        with quiet():
            pass
        assert state() == (logging.ERROR, False)
    assert state() == before == (logging.INFO, True)


def test_a_failure_inside_puts_it_back() -> None:
    with pytest.raises(ZeroDivisionError), quiet():
        raise ZeroDivisionError
    assert state() == (logging.INFO, True)


def test_a_thread_that_leaves_first_does_not_leave_silence_behind() -> None:
    """The first one in leaves first, while the second is still inside."""
    entered, left = Barrier(2, timeout=60), Barrier(2, timeout=60)

    def first() -> None:
        with quiet():
            entered.wait()
        left.wait()

    def second() -> tuple[int, bool]:
        with quiet():
            entered.wait()
            left.wait()
            return state()

    with ThreadPoolExecutor(2) as threads:
        leaving, staying = threads.submit(first), threads.submit(second)
        leaving.result()
        assert staying.result() == (logging.ERROR, False)
    assert state() == (logging.INFO, True)
