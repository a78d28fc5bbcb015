"""The files that a checkpoint is made of: copied for a predictor's own, and hashed.

Knows nothing about what is in them.
"""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from pollice.models.pretrained.safety import check_links
from pollice.system.copying import copy_file
from pollice.system.folders import cache_folder
from pollice.system.hashing import hash_files

_NEEDED = (
    "*.model",
    "*.safetensors",
    "*.safetensors.index.json",
    "added_tokens.json",
    "chat_template.*",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab*.json",
    "vocab*.txt",
)
"""What transformers reads of a checkpoint: no code, no pickle, no other format."""

LARGE = 4_000_000_000
"""From so many bytes on, a file of pollice's own cache is linked and not copied."""


def needed_files(checkpoint: Path) -> Iterator[Path]:
    """Yield the files of a checkpoint that a model and its tokenizer are read from, sorted."""
    found = {path for pattern in _NEEDED for path in checkpoint.glob(pattern) if path.is_file()}
    yield from sorted(found)


def copy_checkpoint(source: Path, folder: Path, *, link_from: int = LARGE) -> None:
    """Put what is needed of a checkpoint into a folder, so that nobody else can change it there.

    Files are copied, or share their blocks where the file system can. Very large ones of our own
    cache, in which nobody writes, are linked after a check and made read-only.

    Args:
        source: The checkpoint.
        folder: An existing folder.
        link_from: The bytes of a very large file.

    Raises:
        CheckpointError: a file is a link to a place outside the checkpoint.
    """
    check_links(source)
    for path in needed_files(source):
        target, found = folder / path.name, path.resolve()  # the Hub's files are symbolic links
        if found.stat().st_size < link_from or not _link_our_own(found, target):
            copy_file(found, target)


def _link_our_own(source: Path, target: Path) -> bool:
    """Link a file if it is of our own cache; tell whether it was done."""
    # What is in the cache was compared with its hash when it was resolved (`keep_folder`).
    is_ours = os.name == "posix" and source.is_relative_to(cache_folder().resolve())
    if not is_ours:
        return False
    try:
        source.chmod(0o444)
        os.link(source, target)
    except OSError:  # another file system, or one without links
        return False
    return True


def weights_sha256(checkpoint: Path) -> str:
    """Return the sha256 of a checkpoint's weights: of its one file, or of its files' hashes."""
    hashes = weight_hashes(checkpoint)
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = [f"{digest}  {name}\n" for name, digest in hashes.items()]
    return sha256("".join(lines).encode()).hexdigest()


def weight_hashes(checkpoint: Path) -> dict[str, str]:
    """Return the sha256 of each file of weights, by its name, sorted."""
    found = hash_files(sorted(checkpoint.glob("*.safetensors")))
    return {path.name: digest for path, digest in found.items()}
