"""The sha256 of files: read once per process, several files at a time.

Knows nothing about what the files hold, or about which hash is the right one.
"""

import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

_Identity = tuple[int, int, int, int, int]

# A file system's clock may stand still for some milliseconds: a file that was changed just before
# it was read may be changed again without another time, so what was read of it is not kept.
_SETTLED_NANOSECONDS = 100_000_000
_READERS = 8

_known: dict[_Identity, str] = {}
_knowing = Lock()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal digits.

    A file that this process has read before is not read again, unless its inode, size or times
    have changed.
    """
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        with _knowing:
            known = _known.get(_identity(before))
        if known is not None:
            return known
        started = time.time_ns()
        found = hashlib.file_digest(file, "sha256").hexdigest()
        after = os.fstat(file.fileno())
    settled = max(before.st_mtime_ns, before.st_ctime_ns) < started - _SETTLED_NANOSECONDS
    if settled and _identity(before) == _identity(after):
        with _knowing:
            _known[_identity(before)] = found
    return found


def hash_files(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the sha256 of each file; large files are read side by side."""
    asked = list(paths)
    # hashlib lets go of the interpreter while it reads a large piece: threads run side by side.
    with ThreadPoolExecutor(min(_READERS, os.cpu_count() or 1)) as readers:
        return dict(zip(asked, readers.map(file_sha256, asked), strict=True))


def _identity(status: os.stat_result) -> _Identity:
    """Return what changes when a file is changed or replaced, wherever it is moved to."""
    # The time of the last change (ctime) too: that of the last writing can be set by hand.
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_dev, status.st_ino, status.st_size, *times)
