"""What a file may take of this machine's memory: refused before the memory is asked for.

Knows nothing about formats, texts or labels.
"""

import os
from pathlib import Path

from pollice.errors import DataError

BYTES_A_VALUE = 64
"""What the shortest string costs in Python, with its place in a list."""


def machine_memory() -> int:
    """Return the bytes of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_fits(path: Path, needed: int, rows: int | None = None) -> None:
    """Refuse a file that needs more bytes than this machine has.

    Raises:
        DataError: it does not fit.
    """
    memory = machine_memory()
    if needed > memory:
        promised = "" if rows is None else f"promises {rows:,} rows and "
        raise DataError(
            f"Expected a table that fits into the {memory / 2**30:,.1f} GiB of this machine, but "
            f"{path} {promised}needs {needed / 2**30:,.1f} GiB. "
            "Check the file, or split it."
        )
