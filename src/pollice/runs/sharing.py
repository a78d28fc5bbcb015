"""Several processes work on one run; only the first writes its folder.

Knows nothing about methods.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from pollice.errors import RunError
from pollice.runs.claims import is_worked_in
from pollice.runs.folder import WorkFolder
from pollice.system import processes

_POLL_SECONDS = 0.2


def leave(work: WorkFolder) -> None:
    """Say that this process no longer needs a method's work folder."""
    work.left_by(processes.number()).touch()


def wait_for_leaving(work: WorkFolder, *, seconds: float = 60.0) -> None:
    """Wait at most ``seconds`` until no other process needs a method's work folder."""
    start = time.monotonic()
    others = [work.left_by(number) for number in range(1, processes.count())]
    # Bounded: a process that died says nothing any more, and must not hold up the whole run.
    while time.monotonic() - start < seconds and not all(path.exists() for path in others):
        time.sleep(_POLL_SECONDS)


@dataclass(kw_only=True)
class FirstProcess:
    """The first process as the others see it: its files, and whether it runs."""

    folder: Path
    """The run's folder."""
    begun: bool = False
    """Whether it is known to have begun: if nobody works in the folder then, it has ended."""
    late_seconds: float = 120.0
    """How long it may take to begin after this process."""

    def wait_for(self, path: Path, *, this_session: bool = False) -> None:
        """Wait until the first process has written a file.

        ``this_session``: a file that an earlier session left does not count.

        Raises:
            RunError: it ended without this file.
        """
        start = time.monotonic()
        while not self._is_there(path, this_session):
            # Asked before the second look at the file: else the first process could write the file
            # and end between the two, and would be taken for one that failed.
            working = is_worked_in(self.folder)
            self.begun |= working
            late = time.monotonic() - start > self.late_seconds
            if not working and (self.begun or late) and not self._is_there(path, this_session):
                raise RunError(
                    f"Process 0 ended before it wrote {path}, so this process ends too. What "
                    "process 0 said tells why."
                )
            time.sleep(_POLL_SECONDS)

    def _is_there(self, path: Path, this_session: bool) -> bool:
        # The first process deletes what an earlier session left as soon as it works in the folder.
        # Where it has come and gone unseen, the file's time tells.
        if not path.exists():
            return False
        return not this_session or self.begun or path.stat().st_mtime >= processes.STARTED
