"""Resume points: what an interrupted training goes on from, each complete or not there at all.

Knows nothing about what is trained: a function writes the files, and another module compares runs.
"""

import errno
import logging
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pollice.errors import RunError
from pollice.system.folders import new_folder, read_manifest, write_manifest
from pollice.system.hashing import file_sha256

logger = logging.getLogger("pollice")

FOLDER = "checkpoints"
"""In a method's work folder. It keeps the name that resume points had before: runs which an older
version began go on from it."""

NOTHING: Mapping[str, Any] = MappingProxyType({})

_NAME = re.compile(r"step-(\d{8,})(?:-(\d+))?")
# A full disk: by number where the system says it, else in the words of safetensors and torch.save.
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_WORDS = ("No space left on device", "iostream error")


@dataclass(frozen=True, kw_only=True)
class ResumePoint:
    """A complete resume point."""

    folder: Path
    step: int
    """The steps that were taken before it was written."""
    identity: Mapping[str, Any]
    """What must be the same where it is read."""
    facts: Mapping[str, Any]
    """Whatever else its writer needs to know."""


class ResumePointStore:
    """A folder of complete resume points, of which the newest are kept."""

    def __init__(self, folder: Path, *, keep: int = 1) -> None:
        self._folder = folder
        self._keep = keep

    def publish(
        self,
        step: int,
        write: Callable[[Path], object],
        *,
        identity: Mapping[str, Any],
        facts: Mapping[str, Any] = NOTHING,
    ) -> Path | None:
        """Let ``write`` fill a temporary folder, publish it, then delete the oldest ones.

        Returns:
            Its folder; None where the disk is full: the older ones stay.
        """
        folder = self._free_name(step)
        try:
            # A kill -9 in this block leaves a folder that begins with a dot: `latest` deletes it.
            # The rename follows the manifest and a sync: a published name is a complete folder.
            with new_folder(folder) as temporary:
                write(temporary)
                content = {"step": step, "identity": dict(identity), "facts": dict(facts)}
                write_manifest(temporary, content)
        except Exception as error:  # each library has its own error for a full disk
            if not _is_full(error):
                raise
            self._say_full(step)
            return None
        # Only now: a kill -9 here leaves an old one, whole or in part, behind newer complete ones;
        # the next `publish` deletes it.
        for old in self._folders()[self._keep :]:
            shutil.rmtree(old)
        return folder

    def latest(self) -> ResumePoint | None:
        """Return the newest complete resume point; delete what is damaged or half written."""
        leftovers = sorted(self._folder.glob(".*")) if self._folder.is_dir() else []
        faults = dict.fromkeys(leftovers, "was never finished")
        found = None
        for folder in self._folders():
            fault = _fault(folder)
            if fault is None:
                manifest = read_manifest(folder)
                facts = {key: manifest[key] for key in ("step", "identity", "facts")}
                found = ResumePoint(folder=folder, **facts)
                break
            faults[folder] = fault
        if faults:
            self._clear(faults, found)
        return found

    def _folders(self) -> list[Path]:
        """Return the published resume points, the newest first."""
        return [path for *_, path in sorted(self._numbered(), reverse=True)]

    def _numbered(self) -> list[tuple[int, int, Path]]:
        """Return the step of each resume point, its number among those of the step, its folder."""
        if not self._folder.is_dir():
            return []
        named = [(_NAME.fullmatch(path.name), path) for path in self._folder.iterdir()]
        return [
            (int(match[1]), int(match[2] or 0), path) for match, path in named if match is not None
        ]

    def _free_name(self, step: int) -> Path:
        """Return a name that is not taken: replacing a folder is two renames, and none is safe."""
        numbers = [number for found, number, _ in self._numbered() if found == step]
        again = f"-{max(numbers) + 1}" if numbers else ""
        return self._folder / f"step-{step:08d}{again}"

    def _say_full(self, step: int) -> None:
        kept = self._folders()
        logger.warning(
            "The disk is full: the resume point of step %d could not be written, and %s. "
            "Training goes on; free some space in %s.",
            step,
            f"{kept[0].name} is kept" if kept else "there is none before it",
            self._folder,
        )

    def _clear(self, faults: Mapping[Path, str], found: ResumePoint | None) -> None:
        logger.warning(
            "In %s %s: deleted; training goes on from %s.",
            self._folder,
            ", ".join(f"{path.name} {fault}" for path, fault in faults.items()),
            found.folder.name if found else "the beginning",
        )
        for path in faults:
            shutil.rmtree(path)


def _fault(folder: Path) -> str | None:
    """Return what a published resume point lacks; None: nothing."""
    try:
        manifest = read_manifest(folder, check_hashes=False)
    except RunError:
        return "lacks a file or part of one"
    # After the sizes, so that the file is named: a bad disk can keep the size of what it damages.
    for name, facts in manifest["files"].items():
        if file_sha256(folder / name) != facts["sha256"]:
            return f"has a damaged {name}"
    return None


def _is_full(error: BaseException | None) -> bool:
    """Tell whether an error, or the one it came from, says that no space is left."""
    if error is None:
        return False
    said = isinstance(error, OSError) and error.errno in _FULL
    said = said or any(words in str(error) for words in _FULL_WORDS)
    return said or _is_full(error.__cause__ or error.__context__)
