"""Answers to rows of any number, in parts on disk: a command that was killed goes on where it was.

Knows nothing about formats, and nothing about models. A part is a range of rows, synced before it
gets its name, so a part with a name is whole.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pollice.errors import MachineError, PredictionsError
from pollice.predictions.answers import (
    Answer,
    AnswerCache,
    ChooseLabels,
    OutputColumns,
    Tally,
    answer_texts,
)
from pollice.predictions.part_formats import PartFormat, PartWriter
from pollice.predictions.predictor import Predictor
from pollice.system.folders import write_json
from pollice.system.measuring import release_memory
from pollice.system.progress import stage
from pollice.system.refusals import refusal_of

ROWS_AT_ONCE = 128
"""The rows that are read, scored and written together; parts end where such a batch ends."""
ROWS_A_PART = 16_384
SECONDS_A_PART = 30.0
_BATCHES_A_RELEASE = 8
_MANIFEST = "manifest.json"
_JOINED = "joined"
_NAME = re.compile(r"(\d{12})-(\d{12})\.\w+")


class Rows(Protocol):
    """A batch of the input."""

    columns: Mapping[str, Any]
    ids: Sequence[str | None]
    texts: Sequence[str]
    gold: Sequence[str | None] | None
    problems: Mapping[int, str]

    def __len__(self) -> int: ...


ReadRows = Callable[[int], Iterator[Any]]
"""Given the rows of a batch, yields the input from its beginning as `Rows`, always alike."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of which predictor, and how the answers are written."""

    predictor: Predictor
    choose: ChooseLabels
    columns: OutputColumns
    total: int
    """How many rows there are."""


class PartsFolder:
    """The folder beside an output that holds its finished parts, and what they were made from.

    Args:
        output: The file that they are joined to.
        suffix: The ending of a part.
    """

    def __init__(self, output: Path, suffix: str) -> None:
        self.output = output
        self.path = output.with_name(f"{output.name}.parts")
        self._suffix = suffix

    def prepare(self, manifest: Mapping[str, Any], *, overwrite: bool) -> int:
        """Return how many rows are done already by the same command; begin if none are.

        Raises:
            PredictionsError: the output exists, or the parts are of another command.
        """
        own = self._read_manifest()
        self.check_new(overwrite=overwrite, joined=own == dict(manifest))
        if own is not None and own != dict(manifest) and not overwrite:
            changed = [name for name in manifest if own.get(name) != manifest[name]]
            raise PredictionsError(
                f"Expected the parts of this very command in {self.path}, but they were made with "
                f"another {', '.join(changed) or 'version'}. Give --overwrite to begin again (in "
                "Python: overwrite=True), or name another output."
            )
        if own != dict(manifest):
            shutil.rmtree(self.path, ignore_errors=True)
            self.path.mkdir()
            write_json(self.path / _MANIFEST, dict(manifest))
        self.clear()
        return self.rows

    def clear(self) -> None:
        """Take away what was begun and not finished."""
        for stale in self.path.glob(".*.partial"):
            stale.unlink()

    def check_new(self, *, overwrite: bool, joined: bool = True) -> None:
        """Refuse an output that exists, unless these parts were just joined to it.

        Args:
            overwrite: Whether it is replaced.
            joined: Whether the parts may be those of the same command.

        Raises:
            PredictionsError: it exists.
        """
        finished = joined and (self.path / _JOINED).exists()
        if self.output.exists() and not overwrite and not finished:
            raise PredictionsError(
                f"Expected a new output, but {self.output} exists. Name another one, or give "
                "--overwrite (in Python: overwrite=True)."
            )

    def _read_manifest(self) -> dict[str, Any] | None:
        try:
            found = json.loads((self.path / _MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    @property
    def parts(self) -> list[Path]:
        """The finished parts from the first row on, without a gap."""
        found: list[Path] = []
        end = 0
        for path in sorted(self.path.iterdir()) if self.path.is_dir() else ():
            named = _NAME.fullmatch(path.name)
            if named and path.suffix == self._suffix and int(named[1]) == end:
                found.append(path)
                end = int(named[2])
        return found

    @property
    def rows(self) -> int:
        """How many rows the finished parts hold."""
        parts = self.parts
        return int(parts[-1].stem.partition("-")[2]) if parts else 0

    @property
    def kept_sentence(self) -> str:
        """The end of a sentence that says why the work cannot go on."""
        return (
            f"the parts of the first {self.rows:,} rows are kept, and the same command goes on "
            "after them."
        )

    def answers(self, form: PartFormat) -> Iterator[Answer | None]:
        """Return the answers to the rows of the parts that are finished now."""
        parts = self.parts
        return (answer for part in parts for answer in form.answers(part))

    def begin(self) -> Path:
        """Return the temporary name of a part."""
        return self.path / f".{os.getpid()}.partial"

    def keep(self, temporary: Path, start: int, end: int) -> None:
        """Give a part its name, once it is on the disk."""
        sync(temporary)
        temporary.rename(self.path / f"{start:012}-{end:012}{self._suffix}")
        sync(self.path)

    def join(self, form: PartFormat) -> None:
        """Join all parts to the output, and take them away."""
        temporary = self.path / ".joining.partial"
        form.join(self.parts, temporary)
        sync(temporary)
        (self.path / _JOINED).touch()
        temporary.replace(self.output)
        sync(self.output.parent)
        gone = self.path.with_name(f".{self.path.name}.gone")
        shutil.rmtree(gone, ignore_errors=True)
        self.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(kw_only=True)
class PartsWriter:
    """Writes batches as parts of a folder, in the order of the rows."""

    folder: PartsFolder
    form: PartFormat
    start: int
    rows_a_part: int = ROWS_A_PART
    clock: Callable[[], float] = time.monotonic
    _file: BinaryIO | None = None
    _writer: PartWriter | None = None
    _end: int = 0
    _begun: float = 0.0
    _whole: bool = True
    """Whether no batch is half written, so that the part in work may be kept."""

    def add(self, batch: Mapping[str, Any], rows: int) -> None:
        """Write rows; end the part where it is large or old enough."""
        if self._file is None:
            self._file = self.folder.begin().open("wb")
            self._writer = self.form.open(self._file)
            self._end, self._begun = self.start, self.clock()
        assert self._writer is not None
        self._whole = False
        self._writer.add(batch)
        self._end += rows
        self._whole = True
        large = self._end - self.start >= self.rows_a_part
        if large or self.clock() - self._begun >= SECONDS_A_PART:
            self.close()

    def close(self) -> None:
        """End the part in work, if there is one."""
        if self._file is not None and self._writer is not None:
            self._whole = False
            self._writer.close()
            self._file.close()
            self._file = None
            self.folder.keep(self.folder.begin(), self.start, self._end)
            self.start = self._end
            self._whole = True

    def stop(self) -> None:
        """Keep what a signal left whole; a batch may be half written."""
        if self._whole:
            self.close()
        else:
            self.folder.begin().unlink(missing_ok=True)


def answer_rows(
    asked: Asked,
    read: ReadRows,
    write: Callable[[Mapping[str, Any], int], None],
    done: Iterator[Answer | None],
) -> Iterator[Tally]:
    """Answer all rows in their order; yield the counts after each batch.

    Args:
        asked: What is asked.
        read: The input.
        write: Takes each batch of new answers, and the number of its rows.
        done: The answers of the first rows, where an earlier run has written them.
    """
    cache, tally = AnswerCache[Answer](), Tally()
    with stage("judging", total=asked.total) as advance:
        for number, batch in enumerate(read(ROWS_AT_ONCE)):
            answers = list(islice(done, len(batch)))
            if answers:
                cache.learn(batch.texts, answers)
            else:
                answers = answer_texts(
                    asked.predictor, batch.texts, batch.problems, cache, asked.choose
                )
                columns = asked.columns.join(
                    batch.columns, batch.ids, batch.gold, answers, batch.problems
                )
                write(columns, len(batch))
                if number % _BATCHES_A_RELEASE == 0:
                    release_memory()
            tally.add(answers, batch.problems, batch.gold)
            advance(len(batch))
            yield tally


def write_output(
    asked: Asked,
    read: ReadRows,
    form: PartFormat,
    folder: PartsFolder,
    *,
    rows_a_part: int = ROWS_A_PART,
) -> Tally:
    """Answer the rows that no finished part holds, and join all parts to the output.

    Raises:
        MachineError: the disk is full, or something else refuses the output; the finished parts
            are kept.
    """
    writer = PartsWriter(folder=folder, form=form, start=folder.rows, rows_a_part=rows_a_part)
    tally = Tally()
    with explain_kept_parts(folder):
        try:
            for counts in answer_rows(asked, read, writer.add, folder.answers(form)):
                tally = counts
        except KeyboardInterrupt:
            writer.stop()
            raise
        writer.close()
        folder.join(form)
    return tally


@contextmanager
def explain_kept_parts(folder: PartsFolder) -> Iterator[None]:
    """Say what the system refuses with the rows whose parts are kept.

    Raises:
        MachineError: the disk is full, or something else refuses the output.
    """
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            folder.clear()
        named = OSError(error.errno, error.strerror, str(folder.output))
        raise MachineError(
            f"{str(refusal_of(named)).removesuffix('.')}; {folder.kept_sentence}"
        ) from error
