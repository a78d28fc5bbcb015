"""training.jsonl: a line for each training step, and one for each epoch.

Knows nothing about models.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

FILE = "training.jsonl"


class TrainingLog:
    """The log of a training run, which goes on where its resume point was written."""

    def __init__(
        self, path: Path, *, seconds: float = 0.0, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """Open the log.

        Args:
            path: See `begin_log`.
            seconds: Those of training before an interruption.
            clock: Tells the seconds that have passed since some moment.
        """
        self._path = path
        self._file = path.open("a", encoding="utf-8")
        self._clock = clock
        self._last = clock()
        self._start = self._last - seconds

    @property
    def seconds(self) -> float:
        """The seconds of training so far, those before an interruption counted."""
        return self._clock() - self._start

    def step(self, *, step: int, tokens: int, **facts: float) -> None:
        """Write the line of a step, which took ``tokens`` tokens."""
        now = self._clock()
        rate = tokens / max(now - self._last, 1e-9)
        seconds = now - self._start
        self._write({"step": step, **facts, "seconds": seconds, "tokens_per_second": rate})
        self._last = now

    def epoch(self, *, step: int, epoch: int, facts: Mapping[str, float]) -> None:
        """Write the line of an epoch that ended with ``step``."""
        self._write({"step": step, "epoch": epoch, **facts})
        self._last = self._clock()

    def copy(self, folder: Path) -> None:
        """Copy what has been written so far into a resume point."""
        shutil.copyfile(self._path, folder / FILE)

    def _write(self, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def begin_log(workdir: Path, resume_point: Path | None, *, is_first: bool) -> Path:
    """Return the log's path, its content that of the resume point; of other processes, nowhere."""
    if not is_first:
        return Path(os.devnull)
    path = workdir / FILE
    if resume_point is None:
        path.write_text("", encoding="utf-8")
    else:
        shutil.copyfile(resume_point / FILE, path)
    return path
