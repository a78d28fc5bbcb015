"""Every error that pollice raises, as one tree.

Knows nothing about what raises them: the sentence stands where the error is raised.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any


class PolliceError(Exception):
    """The root: one sentence that says what was expected, what was found and what to do."""

    exit_code: int = 1


class UserError(PolliceError):
    """Something that the user can mend: the command line exits with 2 and no traceback."""

    exit_code: int = 2


class DataError(UserError):
    """A data set that cannot be read, or does not hold what a labelled data set must."""


class SplitError(UserError):
    """A split that the data set cannot give."""


class OptionError(UserError):
    """An unknown option, or a value outside its range."""


class SourceError(UserError):
    """A checkpoint or data set that cannot be found, fetched or trusted."""


class CheckpointError(UserError):
    """A checkpoint that does not fit the method: a missing head, tokenizer or template."""


class PromptError(UserError):
    """A template, label word or example that cannot make a sound prompt."""


class PredictionsError(UserError):
    """A predictions table that cannot be read, or tables that cannot be compared."""


class RunError(UserError):
    """A run or predictor folder that is incomplete, or belongs to another experiment."""


class ExportError(UserError):
    """A form that a predictor cannot have, or in which it does not judge as it did."""


class TrainingError(UserError):
    """A training run that cannot go on: its loss is no longer a number."""


class MemoryPlanError(UserError):
    """A method that needs more memory than there is, or than it may use."""


class MachineError(UserError):
    """What the system refuses: a full disk, no permission, no memory, a damaged file."""


class OutputClosedError(PolliceError):
    """Nobody reads the output any more, such as `head`: the work ends without a word."""

    exit_code: int = 141  # as a shell reports a process that SIGPIPE ended


class Interrupted(PolliceError):  # noqa: N818  # a request that was met, not a fault
    """The work was asked to stop; a complete checkpoint was written first."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = (
            128 + signal_number
        )  # as a shell reports it: 130 for SIGINT, 143 for SIGTERM


def broken_rule(problem: Mapping[str, Any]) -> str:
    """Return the rule that a value broke, from one problem of a pydantic ValidationError."""
    rule = re.sub(r"^(Input|Value) (should|error)", r"its value \2", problem["msg"])
    return rule.replace("its value error, ", "").replace("dictionary", "table")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or an empty string."""
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun, such as ``"1 row"`` or ``"2,500 rows"``.

    Args:
        number: How many there are.
        one: The noun, and what follows it, for exactly one.
        several: The same for any other number; None: the noun with an s.
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
