"""The names of checkpoints: whether one can be right is told at once, before torch is imported.

Knows nothing about what lies behind a name, beyond the names of its files.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pollice.catalogue.entries import checkpoint_names
from pollice.catalogue.hub import HUB_PREFIX
from pollice.errors import SourceError, did_you_mean

CONFIG = "config.json"
_NAMED = 5  # files of a folder, in an error


@cache
def bundled() -> Mapping[str, Mapping[str, Any]]:
    """Return the configurations of architectures.toml, which `pollice inspect` knows by name."""
    file = files("pollice.models.pretrained").joinpath("architectures.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def check_checkpoint_name(name: str) -> None:
    """Refuse what is no name of the catalogue, no folder with a config.json, and no GGUF file.

    Whether the Hub has a name is not asked.

    Raises:
        SourceError: there is no such checkpoint; the error says what lies there instead.
    """
    if name in checkpoint_names() or name.startswith(HUB_PREFIX):
        return
    path = Path(name).expanduser()
    if path.is_dir():
        check_folder(path)
    elif path.is_file() and path.suffix != ".gguf":
        raise SourceError(
            f"Expected a checkpoint, but {name} is a file that does not end in .gguf. Name the "
            "folder that transformers saved, with its config.json."
        )
    elif not path.is_file():
        raise SourceError(
            f"There is no checkpoint '{name}': give a name of the catalogue "
            f"({', '.join(checkpoint_names())}), a folder with a config.json, a .gguf file, or "
            f"hub:owner/name@revision.{did_you_mean(name, checkpoint_names())}"
        )


def check_folder(folder: Path) -> None:
    """Refuse a folder without a config.json, and say what it holds.

    Raises:
        SourceError: it has none.
    """
    if not (folder / CONFIG).is_file():
        found, remedy = _found(folder)
        raise SourceError(f"The folder {folder} has no config.json, but {found}: {remedy}.")


def _found(folder: Path) -> tuple[str, str]:
    """Return what a folder holds that is no checkpoint, and what to name instead."""
    usual = "name a folder that transformers saved, or a .gguf file"
    names = sorted(path.name for path in folder.iterdir())
    within = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
    gguf = [name for name in names if name.endswith(".gguf")]
    if not names:
        return "is empty", usual
    if "adapter_config.json" in names:
        return "holds an adapter (adapter_config.json)", "name the checkpoint it was tuned from"
    if "experiment.toml" in names:
        return "holds a run of pollice (experiment.toml)", "use its methods with pollice predict"
    if gguf:
        return f"holds the file {gguf[0]}", "name that file itself"
    if within:
        return f"its folder {within[0]} has one", "name that folder"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"holds {', '.join(names[:_NAMED])}{more}", usual
