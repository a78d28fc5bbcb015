"""Showing that work goes on, without the cost of importing bars until there is work to show.

Knows nothing about how it is shown: `progress_bars` does.
"""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def working() -> Iterator[None]:
    """Show bars and messages on standard error while work goes on; of the first process only."""
    from pollice.cli import progress_bars

    with progress_bars.working():
        yield


@contextmanager
def waiting(description: str) -> Iterator[None]:
    """Show that one piece of work goes on that cannot say how far it is, such as an import."""
    from pollice.cli import progress_bars

    with progress_bars.waiting(description):
        yield
