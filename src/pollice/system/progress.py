"""Progress of the work: the library reports it, a listener shows it.

Knows nothing about terminals. Without a listener, reporting costs nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

Advance = Callable[[int], None]
"""Called with the units done since the last call."""

Listener = Callable[[str, int | None, str], AbstractContextManager[Advance]]
"""Given a stage's description, its total (None: unknown) and its unit, shows it."""

_listener: ContextVar[Listener | None] = ContextVar("pollice_progress_listener", default=None)
_owner: ContextVar[str] = ContextVar("pollice_progress_owner", default="")


@contextmanager
def stage(description: str, total: int | None, unit: str = "rows") -> Iterator[Advance]:
    """Enter a stage of ``total`` units; call the yielded function with the units done.

    A stage of 0 units is not shown.
    """
    listener = _listener.get()
    if listener is None or total == 0:
        yield lambda units: None
    else:
        with listener(f"{_owner.get()}{description}", total, unit) as advance:
            yield advance


def in_chunks(rows: Sequence[T], advance: Advance, *, size: int = 128) -> Iterator[Sequence[T]]:
    """Yield the rows in order, ``size`` at a time, and report each chunk when it is done.

    128 texts are enough for batches of similar length, and few enough to keep memory constant
    and to show progress often.
    """
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        yield chunk
        advance(len(chunk))


@contextmanager
def owned_by(name: str) -> Iterator[None]:
    """Name the owner of the stages entered inside this context."""
    token = _owner.set(f"{name}: ")
    try:
        yield
    finally:
        _owner.reset(token)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Show every stage entered inside this context with ``listener``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
