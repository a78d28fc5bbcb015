"""Which process of one command this is, if torchrun or accelerate launched several.

Knows nothing about what they do, and imports no torch.
"""

import os
import time

STARTED = time.time()
"""About when this process started, as seconds of the clock by which files are dated."""


def number() -> int:
    """Return the number of this process, from 0 on."""
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    """Tell whether this process writes files and messages; a single process does."""
    return number() == 0


def count() -> int:
    """Return how many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def are_several() -> bool:
    """Tell whether there are several."""
    return count() > 1
