"""What other libraries raise becomes one sentence; what pollice raises stays as it is."""

import re
from collections.abc import Callable

import pytest

from pollice.errors import CheckpointError, SourceError
from pollice.models.pretrained.explaining import opening


class PanicException(BaseException):  # named as in the bindings of Rust to Python
    """Raised where code in Rust broke off; it is no Exception there either."""


def opened(error: BaseException) -> None:
    with opening("theirs", "cannot be read"):
        raise error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Exception("no variant\nat line 3"), "no variant"),
        (KeyError("a"), "'a'"),
        (MemoryError(), "MemoryError"),
        (RecursionError("too deep."), "too deep"),
        (PanicException("index out of range"), "index out of range"),
        (ValueError("a\x1b[31mb"), "a\ufffd[31mb"),
        (ValueError("x" * 1000), "x" * 300),
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_error_is_one_sentence(error: BaseException, reason: str) -> None:
    sentence = (
        f"The checkpoint theirs cannot be read: {reason}. Fetch it again from where it was "
        "published, or name another."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        opened(error)


@pytest.mark.parametrize("make", [lambda: SourceError("a"), KeyboardInterrupt, SystemExit])
def test_what_is_no_fault_of_the_files_passes(make: Callable[[], BaseException]) -> None:
    error = make()
    with pytest.raises(type(error)) as caught:
        opened(error)
    assert caught.value is error
