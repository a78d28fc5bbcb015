"""Write files and folders completely or not at all: temporary name, sync, manifest, rename.

Knows nothing about what they hold.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from pollice.errors import MachineError, RunError, SourceError
from pollice.system.hashing import hash_files
from pollice.system.refusals import refusal_of

MANIFEST = "manifest.json"
"""Written last: a folder without it is not a result."""

MEGABYTE = 1_000_000

_PROBED_BYTES = 65_536


def cache_folder() -> Path:
    """Return the folder for all fetched files: ``POLLICE_CACHE``, else the user's cache."""
    chosen = os.environ.get("POLLICE_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("pollice")


def keep_folder(folder: Path, fill: Callable[[Path], Mapping[str, Any]]) -> Path:
    """Return ``folder``; if it does not exist, ``fill`` fills it.

    ``fill`` gets a temporary folder next to it and returns the content of the manifest. The
    manifest is written last, then the folder is renamed: it is complete or does not exist. If two
    processes come, one fills it and one waits. Files that were kept before are compared with the
    hashes of the manifest.

    Raises:
        SourceError: the disk is full, or a file was changed or damaged since it was kept.
    """
    if (folder / MANIFEST).is_file():
        _check_kept(folder)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not (folder / MANIFEST).is_file():
            _fill_folder(folder, fill)
    return folder


def _check_kept(folder: Path) -> None:
    """Compare what is kept with its manifest; older ones have no hashes, and are taken as found."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        hashes = {folder / name: str(found) for name, found in manifest.get("sha256", {}).items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise _damaged_in_cache(folder / MANIFEST) from None
    try:
        found = hash_files(hashes)
    except OSError as error:
        raise _damaged_in_cache(Path(error.filename or folder)) from error
    for path, right in hashes.items():
        if found[path] != right:
            raise _damaged_in_cache(path)


def _damaged_in_cache(path: Path) -> SourceError:
    return SourceError(
        f"Expected the file that was fetched or converted, but {path} in the cache was changed or "
        f"damaged since. Delete the folder {path.parent}, and it is made again."
    )


def _fill_folder(folder: Path, fill: Callable[[Path], Mapping[str, Any]]) -> None:
    temporary = folder.with_name(f"{folder.name}.partial")
    for stale in (temporary, folder):
        if stale.exists():
            shutil.rmtree(stale)
    temporary.mkdir()
    try:
        with explain_full_disk(folder.parent):
            manifest = dict(fill(temporary))
            _sync_files(temporary)
            manifest["sha256"] = _relative_hashes(temporary)
            (temporary / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
            _sync_files(temporary)
            temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def explain_full_disk(folder: Path, variable: str = "POLLICE_CACHE") -> Iterator[None]:
    """Turn a full disk into a SourceError; ``variable`` names another folder."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise SourceError(
            f"The disk of {folder} is full ({shutil.disk_usage(folder).free:,} bytes are free): "
            f"make room, or set {variable} to a folder on another disk."
        ) from error


def require_space(folder: Path, needed: int) -> None:
    """Raise SourceError if the disk of ``folder`` has fewer than ``needed`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SourceError(
            f"{needed:,} bytes are needed in {folder} and {free:,} are free: "
            "make room, or set POLLICE_CACHE to a folder on another disk."
        )


def probe_file(path: Path) -> None:
    """Refuse a file that cannot be written, before hours of work that would be lost.

    It writes a little beside it, for permissions alone do not say what a full disk, a disk that
    can only be read or a too long name do, and for root they say nothing.

    Raises:
        MachineError: what the system says of it.
    """
    temporary = _temporary(path)
    try:
        with temporary.open("wb") as file:
            file.write(bytes(_PROBED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        # A folder of the kernel, such as /proc, says that a new file is not there.
        number = errno.EPERM if error.errno == errno.ENOENT else error.errno
        raise refusal_of(OSError(number, error.strerror, str(path))) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def probe_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written, or made where it is not there yet.

    Raises:
        MachineError: what the system says of it.
    """
    try:
        place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    except OSError as error:
        raise refusal_of(OSError(error.errno, error.strerror, str(folder))) from error
    if not place.is_dir():
        raise refusal_of(OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)))
    probe_file(place / (folder.name if place != folder else "report.html"))


def probe_space(path: Path, needed: int) -> None:
    """Refuse a file on a disk that has fewer than ``needed`` bytes free.

    Raises:
        MachineError: the disk has less.
    """
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise MachineError(
            f"Expected {needed:,} bytes of room for {path}, but its disk has {free:,}: make room, "
            "or name a place on another disk."
        )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces ``folder`` if the block ends without an error."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        _publish(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, folder: Path) -> None:
    _sync_files(temporary)
    if folder.exists():
        replaced = folder.with_name(f".{folder.name}.{os.getpid()}.replaced")
        folder.rename(replaced)
        temporary.rename(folder)
        shutil.rmtree(replaced)
    else:
        temporary.rename(folder)
    _sync(folder.parent)


def _sync_files(folder: Path) -> None:
    """Sync a folder's files to disk before anything else is written."""
    for path in folder.rglob("*"):
        if path.is_file():
            _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the manifest: ``content``, and the size and sha256 of every file in the folder."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": found}
        for name, found in _relative_hashes(folder).items()
    }
    write_json(folder / MANIFEST, {**content, "files": files})


def _relative_hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below a folder but manifests, by its path in the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    found = hash_files(files)
    return {str(path.relative_to(folder)): found[path] for path in files}


def read_manifest(folder: Path, *, check_hashes: bool = True) -> dict[str, Any]:
    """Read a folder's manifest and check that every file is the one that was saved.

    Args:
        folder: What pollice saved.
        check_hashes: Whether the files' content is compared too, not their size alone.

    Raises:
        RunError: the manifest is missing or damaged, a file differs from it, or it names a file
            outside the folder.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise RunError(
            f"Expected a complete folder with a {MANIFEST}, but {folder} has none. "
            "Name a folder that pollice saved, such as runs/NAME/METHOD/predictor."
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sizes = {name: int(facts["bytes"]) for name, facts in manifest["files"].items()}
        _check_sizes(folder, sizes)
        hashes = {name: str(facts["sha256"]) for name, facts in manifest["files"].items()}
    # OSError: a name that no file system can have. RuntimeError: JSON too deep, links in a circle.
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OSError):
        raise RunError(
            f"Expected a manifest that pollice wrote, but {path} is damaged or of something else. "
            "Name a folder that pollice saved, such as runs/NAME/METHOD/predictor."
        ) from None
    if check_hashes:
        _check_hashes(folder, hashes)
    return manifest


def _check_sizes(folder: Path, sizes: Mapping[str, int]) -> None:
    home = folder.resolve()
    for name, size in sizes.items():
        file = folder / name
        if "\0" in name or not file.resolve().is_relative_to(home):
            raise RunError(
                f"Expected a manifest that names files of its own folder, but {folder / MANIFEST} "
                f"names {name!r}, which leads out of it. Copy the folder again from where it was "
                "saved."
            )
        found = file.stat().st_size if file.is_file() else None
        if found != size:
            raise RunError(
                f"{file} should have {size} bytes by its manifest, but "
                f"{'is missing' if found is None else f'has {found}'}. Save or copy it again."
            )


def _check_hashes(folder: Path, hashes: Mapping[str, str]) -> None:
    found = hash_files(folder / name for name in hashes)
    for name, right in hashes.items():
        if found[folder / name] != right:
            raise RunError(
                f"{folder / name} was changed since it was saved: its sha256 should be "
                f"{right[:12]}... by its manifest, but is {found[folder / name][:12]}... Save or "
                "copy it again."
            )


def is_complete(folder: Path) -> bool:
    """Tell whether a folder has its manifest, so that it is complete."""
    return (folder / MANIFEST).is_file()


def write_json(path: Path, content: Any) -> None:
    """Write JSON to a temporary name and rename it."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 with Unix line ends to a temporary name and rename it."""
    write_atomically(
        path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n")
    )


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file, then rename it to ``path``.

    Raises:
        MachineError: the system refuses to write it.
    """
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        _sync(temporary)
        temporary.replace(path)
    except OSError as error:
        # An error of writing names no file, and one of opening names the temporary one.
        raise refusal_of(OSError(error.errno, error.strerror, str(path))) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
