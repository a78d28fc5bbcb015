"""Work shown on standard error: stages as bars (how far, how fast, how long still), and messages.

Where that is no terminal but a log, a stage is a line when it ends, and one every now and then.
Knows nothing about the work: it listens to `pollice.system.progress` and to the log.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from pollice.cli.terminal import Terminal
from pollice.errors import UserError
from pollice.system.processes import is_first
from pollice.system.progress import Advance, listening, stage

_SECONDS_A_LINE = 30.0


class _RateColumn(ProgressColumn):
    """Units a second, such as ``31.2 rows/s``."""

    def render(self, task: Task) -> Text:
        """Return the rate of the last seconds, or of the whole stage once it is done."""
        speed = task.finished_speed or task.speed
        if speed is None and task.finished_time:  # the stage came in one piece
            speed = task.completed / task.finished_time
        if speed is None:
            return Text("")
        rate = f"{speed:,.1f}" if speed < 100 else f"{speed:,.0f}"
        return Text(f"{rate} {task.fields['unit']}/s", style="cyan", no_wrap=True)


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
        BarColumn(bar_width=8),
        MofNCompleteColumn(table_column=Column(no_wrap=True, justify="right")),
        _RateColumn(table_column=Column(no_wrap=True, justify="right")),
        TimeRemainingColumn(
            elapsed_when_finished=True, table_column=Column(no_wrap=True, justify="right")
        ),
        console=console,
        expand=True,
    )


@contextmanager
def shown_on(console: Console, clock: Callable[[], float] = monotonic) -> Iterator[None]:
    """Show every stage that is entered inside this context on the console.

    Args:
        console: Where it is shown.
        clock: The seconds that tell when a log gets its next line.
    """
    progress = _bars(console)
    moving = console.is_terminal or console.is_jupyter

    def state(task: TaskID) -> Task:
        return next(shown for shown in progress.tasks if shown.id == task)

    def say(task: TaskID) -> None:
        if not moving:
            console.print(progress.make_tasks_table([state(task)]))

    @contextmanager
    def listener(description: str, total: int | None, unit: str) -> Iterator[Advance]:
        if moving:
            progress.start()
        task = progress.add_task(description, total=total, unit=unit)
        said = clock()

        def advance(units: int) -> None:
            nonlocal said
            progress.advance(task, units)
            if clock() - said >= _SECONDS_A_LINE and not state(task).finished:
                said = clock()
                say(task)

        try:
            yield advance
            if total is None:
                progress.update(task, total=state(task).completed)
        except UserError:
            # Of a stage that never got anywhere nothing is shown: the error says all.
            if state(task).completed:
                say(task)
            else:
                progress.remove_task(task)
            raise
        except BaseException:
            say(task)
            raise
        say(task)

    try:
        with listening(listener):
            yield
    finally:
        if progress.live.is_started:
            progress.stop()


@contextmanager
def working() -> Iterator[None]:
    """Show bars and messages on standard error while work goes on; of the first process only."""
    console = Terminal(stderr=True, quiet=not is_first())
    logger = logging.getLogger("pollice")
    handler = _ConsoleHandler(console)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with shown_on(console):
            yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def waiting(description: str) -> Iterator[None]:
    """Show that one piece of work goes on that cannot say how far it is, such as an import."""
    with working(), stage(description, 1, "steps") as advance:
        yield
        advance(1)


class _ConsoleHandler(logging.Handler):
    """Prints messages above the bars."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        self._console.print(record.getMessage(), markup=False, highlight=False)
