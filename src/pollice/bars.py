"""Stages shown as progress bars on a terminal: how far, how fast, how long still.

Knows nothing about the work: it listens to `pollice.progress`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pollice.progress import Advance, listening


class _RateColumn(ProgressColumn):
    """Units a second, such as ``31.2 rows/s``."""

    def render(self, task: Task) -> Text:
        """Return the rate of the last seconds, or of the whole stage once it is done."""
        speed = task.finished_speed or task.speed
        shown = "" if speed is None else f"{speed:,.1f} {task.fields['unit']}/s"
        return Text(shown, style="cyan", justify="right")


@contextmanager
def shown_on(console: Console) -> Iterator[None]:
    """Show every stage that is entered inside this context on the console."""
    progress = Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )

    @contextmanager
    def listener(description: str, total: int | None, unit: str) -> Iterator[Advance]:
        task = progress.add_task(description, total=total, unit=unit)

        def advance(units: int) -> None:
            progress.advance(task, units)

        yield advance
        if total is None:
            progress.update(task, total=progress.tasks[-1].completed)

    with progress, listening(listener):
        yield
