"""What a training step does where memory runs out: it is taken again in smaller passes.

Knows nothing about how a step is cut into passes; our own loop and Trainer's steps both come here.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from pollice.models.training.peers import Peers

logger = logging.getLogger("pollice")

Result = TypeVar("Result")

# On a CPU torch has no class of error for this, and says it in words only.
_MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out."""
    said = str(error).lower()
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or any(words in said for words in _MEMORY_WORDS)


def take_step(
    first: Callable[[], Result],
    again: Callable[[], Result],
    shrink: Callable[[], str],
    *,
    step: int,
    peers: Peers,
) -> Result:
    """Take a step; where memory runs out for any process, all take it again in smaller passes.

    Args:
        first: Takes the step.
        again: Takes it from its beginning, after `shrink`.
        shrink: Makes this and all later steps' passes half as large, forgets the gradients so
            far, and returns how passes are now, such as "in 4 passes".
        step: Its number, from 1 on.
        peers: The processes; all call this at the same time.

    Raises:
        MemoryPlanError: raised by ``shrink``: not even one row fits.
    """
    # An attempt must hold no collective call: a process that failed before it would block the rest.
    result = _attempt(first)
    # A process that had memory enough must take part too: its peers wait for its gradients.
    while peers.largest(int(result is None)):
        passes = shrink()
        if torch.cuda.is_available():
            # Cached blocks have the old passes' sizes; smaller passes would leave gaps in them.
            torch.cuda.empty_cache()
        logger.warning(
            "Step %d did not fit into memory: it is taken again %s, and so are all that follow.",
            step,
            passes,
        )
        result = _attempt(again)
    assert result is not None
    return result


def _attempt(work: Callable[[], Result]) -> Result | None:
    """Do some work; return None where memory ran out.

    The error is gone before anything is tried again: its traceback holds every frame of the
    failed pass, and with them the tensors that took the memory.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None
