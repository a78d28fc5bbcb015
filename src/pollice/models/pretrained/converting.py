"""A conversion as a process of its own, which says each step that is done.

Knows nothing about what is converted.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from pollice.errors import UserError


def run_conversion(convert: Callable[[Path, Path], Iterator[int]], file: str, folder: str) -> int:
    """Convert, and say each step; an error is one sentence on standard error.

    Returns:
        The exit code of the process.
    """
    try:
        for step in convert(Path(file), Path(folder)):
            sys.stdout.write(f"{step}\n")
            # Standard output is a pipe here: Python would keep the lines back until the end.
            sys.stdout.flush()
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0
