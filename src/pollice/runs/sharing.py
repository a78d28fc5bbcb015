"""Several processes that work on one run, of which the first one writes its folder.

Knows nothing about methods.
"""

import time
from pathlib import Path

from pollice.errors import RunError
from pollice.runs.folder import is_worked_in
from pollice.system import processes

_POLL_SECONDS = 0.2
_START_SECONDS = 120.0  # what the first process may come later than the others
_LEAVE_SECONDS = 60.0


def leave(workdir: Path) -> None:
    """Say that this process needs a method's work folder no more."""
    (workdir / f"left-{processes.number()}").touch()


def wait_for_leaving(workdir: Path) -> None:
    """Wait until the other processes need a method's work folder no more, a minute at most."""
    start = time.monotonic()
    others = [workdir / f"left-{number}" for number in range(1, processes.count())]
    while time.monotonic() - start < _LEAVE_SECONDS and not all(path.exists() for path in others):
        time.sleep(_POLL_SECONDS)


class FirstProcess:
    """What the others see of the process that writes the folder: its files, and whether it lives.

    Attributes:
        begun: Whether it is known to have begun; a folder that nobody works in is then a sign
            that it has ended.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.begun = False

    def wait_for(self, path: Path) -> None:
        """Wait until it has written a file.

        Raises:
            RunError: it has ended without it.
        """
        start = time.monotonic()
        while not path.exists():
            working = is_worked_in(self._folder)
            self.begun |= working
            late = time.monotonic() - start > _START_SECONDS
            if not working and (self.begun or late) and not path.exists():
                raise RunError(
                    f"Process 0 ended before it wrote {path}, so this process ends too. What "
                    "process 0 said tells why."
                )
            time.sleep(_POLL_SECONDS)
