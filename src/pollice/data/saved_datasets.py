"""A folder of ``datasets``' ``save_to_disk`` -> its Arrow files, their parts and class names.

Knows nothing about columns. Source: datasets, arrow_dataset.py and dataset_dict.py.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pollice.data.columns import PART_NAMES
from pollice.data.folders import TableFile
from pollice.data.formats.class_labels import names_in_features
from pollice.data.formats.contents import read_whole
from pollice.errors import DataError

_SPLITS = "dataset_dict.json"
_STATE = "state.json"
_INFO = "dataset_info.json"


def is_saved_dataset(root: Path) -> bool:
    """Return whether ``save_to_disk`` wrote this folder."""
    return (root / _SPLITS).is_file() or ((root / _STATE).is_file() and (root / _INFO).is_file())


def find_saved_tables(root: Path) -> tuple[list[TableFile], tuple[str, ...]]:
    """Return the Arrow files of a folder that ``save_to_disk`` wrote, and a note on the others.

    Raises:
        DataError: the folder is damaged, or its parts have names that say nothing.
    """
    if not (root / _SPLITS).is_file():
        return _tables(root, None), (f"Read from {root}: what save_to_disk wrote.",)
    splits = [_inner_name(root / _SPLITS, name) for name in _list(root / _SPLITS, "splits")]
    named = [split for split in splits if split.lower() in PART_NAMES]
    if not named and len(splits) > 1:
        raise DataError(
            f"Expected the parts train, validation or test in {root}, but found "
            f"{', '.join(splits)}. Name the folder of one of them."
        )
    read = named or splits
    unread = [split for split in splits if split not in read]
    note = f"Read from {root}: {', '.join(read)}."
    if unread:
        note += f" Not read, since the name says no part: {', '.join(unread)}."
    tables = [
        table for split in read for table in _tables(root / split, PART_NAMES.get(split.lower()))
    ]
    return tables, (note,)


def _tables(folder: Path, part: str | None) -> list[TableFile]:
    names = [
        _inner_name(folder / _STATE, entry.get("filename") if isinstance(entry, dict) else entry)
        for entry in _list(folder / _STATE, "_data_files")
    ]
    features = _object(folder / _INFO).get("features") if (folder / _INFO).is_file() else None
    return [
        TableFile(path=folder / name, part=part, class_names=names_in_features(features))
        for name in names
    ]


def _object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_whole(path))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "is not JSON") from error
    if not isinstance(content, dict):
        raise _damaged(path, f"holds a {type(content).__name__}")
    return content


def _list(path: Path, key: str) -> Sequence[Any]:
    found = _object(path).get(key)
    if not isinstance(found, list) or not found:
        raise _damaged(path, f"names no {key}")
    return found


def _inner_name(path: Path, name: Any) -> str:
    """Return a name of a file or folder that lies beside ``path``: no path leads out of it."""
    if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
        raise _damaged(path, f"names {name!r}")
    if not (path.parent / name).resolve().is_relative_to(path.parent.resolve()):
        raise _damaged(path, f"names {name!r}, which is a link that leads out of the folder")
    return name


def _damaged(path: Path, found: str) -> DataError:
    return DataError(
        f"Expected what save_to_disk writes, but {path} {found}. Save the data set again."
    )
