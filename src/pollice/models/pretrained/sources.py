"""Where a checkpoint's weights lie: its name becomes a folder that transformers opens.

Knows nothing about what the weights are used for.
"""

import hashlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pollice.catalogue.entries import Entry, checkpoint_names, entries, fetch
from pollice.catalogue.hub import HUB_PREFIX, fetch_hub
from pollice.errors import SourceError
from pollice.models.pretrained.gguf import STEPS
from pollice.models.pretrained.names import check_checkpoint_name, check_folder
from pollice.system.folders import cache_folder, keep_folder
from pollice.system.progress import stage

# Part of a converted folder's name: raised when a conversion would give other files.
_RECIPE = 1


def resolve_checkpoint(name: str) -> Path:
    """Return the folder of weights and tokenizer that ``name`` stands for, fetched if need be.

    ``name`` is a name of the catalogue, a folder with a config.json, a ``.gguf`` file, or
    ``hub:owner/name@revision``. A GGUF file is converted once to bfloat16 safetensors in the
    cache. Raises SourceError when there is no such checkpoint or it cannot be had.
    """
    if name in checkpoint_names():
        return _resolve_entry(entries()[name])
    if name.startswith(HUB_PREFIX):
        return _with_config(fetch_hub(name, "checkpoint"))
    check_checkpoint_name(name)
    path = Path(name).expanduser()
    return path if path.is_dir() else _keep_converted(_file_key(path), lambda: path)


def prefetch(name: str) -> None:
    """Fetch a checkpoint or data set of the catalogue, ready for use without a network."""
    if name in checkpoint_names():
        resolve_checkpoint(name)
    else:
        fetch(name)


def _with_config(folder: Path) -> Path:
    check_folder(folder)
    return folder


def _resolve_entry(entry: Entry) -> Path:
    names = [entry.joined.name] if entry.joined else [Path(file).name for file in entry.files]
    gguf = next((name for name in names if name.endswith(".gguf")), None)
    if gguf is None:
        return fetch(entry.name)
    return _keep_converted(entry.key, lambda: fetch(entry.name) / gguf)


def _file_key(path: Path) -> str:
    """Return what names the conversion of a local file, without reading the whole file."""
    found = path.resolve()
    identity = f"{found}\n{found.stat().st_size}\n{found.stat().st_mtime_ns}"
    return f"{path.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _keep_converted(key: str, find: Callable[[], Path]) -> Path:
    """Return the folder of the converted file; ``find`` is asked for the file when it is not."""

    def fill(folder: Path) -> Mapping[str, Any]:
        gguf = find()
        _convert(gguf, folder)
        return {"converted": gguf.name, "bytes": gguf.stat().st_size, "dtype": "bfloat16"}

    return keep_folder(cache_folder() / "converted" / f"{key}-{_RECIPE}", fill)


def _convert(gguf: Path, folder: Path) -> None:
    """Convert in a process of its own, which takes its memory along when it ends."""
    command = [sys.executable, "-m", "pollice.models.pretrained.gguf", str(gguf), str(folder)]
    with (
        stage(f"converting {gguf.stem}", STEPS, "steps") as advance,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            steps = 0
            for _ in process.stdout or ():
                advance(1)
                steps += 1
            said = (process.stderr.read() if process.stderr else "").strip()
        except BaseException:
            process.kill()
            raise
    if process.returncode or steps < STEPS:
        raise SourceError(said.splitlines()[-1] if said else f"The conversion of {gguf} was ended.")
