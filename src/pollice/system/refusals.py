"""What the system refuses, said in one sentence: disks, permissions, names, memory, damaged files.

Knows nothing about the work that was refused. The sentences of files that are known to be of a
kind stand where they are read; this is the net under them, for whatever else comes from below.
"""

import errno
import json
import os
import sys
import zlib
from typing import Any

from pollice.errors import MachineError

_REASONS = {
    errno.ENOSPC: "its disk is full: make room, or name a place on another disk",
    errno.EDQUOT: "your quota on its disk is used up: make room, or name a place on another disk",
    errno.EFBIG: "it would be larger than the system allows: write to another disk, or raise the "
    "limit of file sizes",
    errno.EACCES: "you have no permission: name another place, or change its permissions",
    errno.EPERM: "the system forbids it: name another place, or change its permissions",
    errno.EROFS: "its disk can only be read: name a place on another disk",
    errno.ENAMETOOLONG: "its name is too long for the system: name it more shortly",
    errno.EISDIR: "it is a folder: name a file",
    errno.ENOTDIR: "a part of its path is a file and no folder: check the path",
    errno.ENOENT: "it is not there: check the path",
    errno.EEXIST: "it is there already: name another place",
    errno.ELOOP: "its links lead in a circle: name the file itself",
    errno.EBUSY: "something else uses it: end that first",
    errno.ETXTBSY: "something else uses it: end that first",
    errno.EMFILE: "too many files are open: raise the limit with `ulimit -n`, or end some",
    errno.ENFILE: "too many files are open: end other programs",
    errno.EIO: "its disk reports an error: name a place on another disk",
    errno.ESTALE: "its network disk lost it: name it again once the disk is back",
}
_NO_MEMORY = (
    "Expected more memory, but the system gives none: end other programs, name fewer or shorter "
    "texts, or limit the method with --memory."
)
_DAMAGED = (json.JSONDecodeError, UnicodeError, EOFError, zlib.error)
_ARCHIVES = ("zipfile", "tarfile")  # by name, since importing them would slow every start


def explain_refusal(error: BaseException) -> MachineError | None:
    """Return the sentence of an error that came from the system; None for any other error."""
    if isinstance(error, MemoryError) or _is_torch_memory(error):
        return MachineError(_NO_MEMORY)
    if isinstance(error, OSError):
        return refusal_of(error)
    if isinstance(error, RecursionError):
        return MachineError(
            "Expected values that are nested a few times, but something that was read is nested "
            "too deeply to follow: check the JSON and TOML files that the command names."
        )
    if isinstance(error, _DAMAGED) or _is_archive(error) or _is_safetensors(error):
        return MachineError(
            f"Expected files as they were written, but one is damaged ({_said(error)}): copy, save "
            "or download it again."
        )
    return None


def refusal_of(error: OSError) -> MachineError:
    """Return the sentence of what the system refused."""
    if error.errno == errno.ENOMEM:
        return MachineError(_NO_MEMORY)
    place = error.filename if error.filename2 is None else error.filename2
    named = "the output" if place is None else os.fsdecode(place)
    said = f"the system says “{_said(error)}”: check it, or name another place"
    return MachineError(f"Expected to use {named}, but {_REASONS.get(error.errno or 0, said)}.")


def _said(error: BaseException) -> str:
    said = error.strerror if isinstance(error, OSError) else str(error)
    return ((said or str(error)).strip() or type(error).__name__).splitlines()[0].rstrip(".:")


def _is_archive(error: BaseException) -> bool:
    return type(error).__module__ in _ARCHIVES


def _is_torch_memory(error: BaseException) -> bool:
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _is_safetensors(error: BaseException) -> bool:
    safetensors: Any = sys.modules.get("safetensors")
    return safetensors is not None and isinstance(error, safetensors.SafetensorError)
