"""How a command ends: its exit code, and one sentence where something stopped it.

Knows nothing about what the commands do.
"""

import errno
import os
import signal
import sys
import traceback
from io import StringIO
from pathlib import Path
from typing import Any

import click

from pollice.cli.streams import plain_streams
from pollice.errors import Interrupted, MemoryPlanError, OutputClosedError, PolliceError
from pollice.system import interruption, processes
from pollice.system.plain_text import one_line
from pollice.system.refusals import explain_refusal, refusal_of

_STOPPED = "no one reads the output any more"


class Commands(click.Group):
    """The commands; what the system says below them is a sentence before click sees it."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Return the context, which lets control characters through to where they are shown."""
        context = super().make_context(*arguments, **options)
        context.color = True  # click would cut them out of texts without a word
        return context

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was given, and raise only our own errors or bugs."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise interruption.as_interrupted(interruption.signal_of(stop)) from stop
        except OSError as error:
            raise _explained(error) from error


def _explained(error: OSError) -> PolliceError:
    if error.errno == errno.EPIPE:
        return OutputClosedError(_STOPPED)
    return refusal_of(error)


def exit_code_of(app: click.Command) -> int:
    """Run the command line and return its exit code.

    A mistake of the user, or what the system refuses, gives one sentence; only a fault of ours
    shows where in the code it happened.
    """
    with plain_streams(), interruption.raising():
        try:
            code = app.main(standalone_mode=False)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else 1
        except BaseException as error:
            return _say(_found(error))
        finally:
            _close_if_unwritable()


def stopped_in_parts(stop: KeyboardInterrupt, parts: Path) -> Interrupted:
    """Return the sentence for rows of which some were judged, and kept in a folder of parts."""
    number = interruption.signal_of(stop) or int(signal.SIGINT)
    if not parts.is_dir():
        return interruption.as_interrupted(number)
    return Interrupted(
        f"{signal.Signals(number).name} stopped the judging; what was finished is kept in {parts}, "
        "and the same command goes on from there.",
        number,
    )


def _found(error: BaseException) -> BaseException:
    """Return what to say of an error: what the system meant by it, if it came from there."""
    if isinstance(error, PolliceError | click.ClickException):
        return error
    number = interruption.signal_of(error)
    if number is not None or isinstance(error, click.exceptions.Abort):
        return interruption.as_interrupted(number)
    if isinstance(error, OSError):
        return _explained(error)
    return explain_refusal(error) or error


def _say(error: BaseException) -> int:
    """Print what ended the command; return the exit code."""
    sentence, code = _sentence(error)
    try:
        sys.stderr.write(sentence)
        sys.stderr.flush()
    except OSError:
        pass  # nobody can be told; the exit code says it
    return code


def _sentence(error: BaseException) -> tuple[str, int]:
    match error:
        case OutputClosedError():
            return "", error.exit_code
        case Interrupted():
            # Of several processes, only the first one says that all were interrupted.
            return f"{one_line(str(error))}\n" if processes.is_first() else "", error.exit_code
        case PolliceError():
            who = "" if processes.is_first() else f" in process {processes.number()}"
            # A plan of memory is a sentence and a table; nothing in it is foreign.
            is_table = isinstance(error, MemoryPlanError)
            said = str(error) if is_table else one_line(str(error))
            return f"Error{who}: {said}\n", error.exit_code
        case click.ClickException():
            shown = StringIO()
            error.show(shown)
            return shown.getvalue(), error.exit_code
        case _:
            return "".join(traceback.format_exception(error)), 1


def _close_if_unwritable() -> None:
    """Flush what was printed; where that fails, point the stream nowhere.

    Python itself flushes once more at its end, and would end with words and a code of its own.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
