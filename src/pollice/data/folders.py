"""A folder -> the files in it that a person put there, and which part of a data set each is.

Knows nothing about formats, and nothing about columns or labels.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pollice.catalogue.hub import read_card
from pollice.data.columns import PART_NAMES
from pollice.data.formats import suffixes
from pollice.data.formats.class_labels import ClassNames
from pollice.errors import DataError, counted

USUAL_TABLES = tuple(suffix for suffix in suffixes.TABLES if suffix != ".json")
OTHER_TABLES = ((".json",), (suffixes.ZIP,))
"""Endings of files that often only lie beside the data: they count where there is nothing else."""
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """A table of a folder, the part that it is, and the class names that lie beside it."""

    path: Path
    part: str | None = None
    class_names: ClassNames = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a folder: those to read, and what is said of the others."""

    root: Path
    files: tuple[Path, ...]
    """Ordinary files that are not hidden, sorted."""
    notes: tuple[str, ...] = ()

    def relative(self, file: Path) -> str:
        """Return a file's path within the folder."""
        return file.relative_to(self.root).as_posix()


def list_files(root: Path) -> Listing:
    """List the files in a folder and its folders, without hidden ones.

    Links that lead out of the folder are not followed, and pipes and devices are not opened.

    Raises:
        DataError: a folder cannot be read.
    """
    files: list[Path] = []
    outward: list[Path] = []
    broken: list[Path] = []
    others: list[Path] = []
    seen: set[Path] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        real = folder.resolve()
        if real in seen:
            continue
        seen.add(real)
        for entry in _entries(folder):
            path = Path(entry.path)
            if suffixes.is_hidden(entry.name):
                continue
            if entry.is_symlink() and not _stays_inside(path, root):
                outward.append(path)
            elif entry.is_dir():
                waiting.append(path)
            elif entry.is_symlink() and not path.exists():
                broken.append(path)
            else:
                (files if entry.is_file() else others).append(path)
    notes = (
        *_left_aside(root, outward, "out of the folder, so not followed", "link leads"),
        *_left_aside(root, broken, "to a file that does not exist", "link leads"),
        *_left_aside(root, others, "no ordinary file, so not opened", "entry is"),
    )
    return Listing(root=root, files=tuple(sorted(files)), notes=notes)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise DataError(
            f"Expected a folder that can be read, but {folder} cannot be opened "
            f"({error.strerror}). Check its permissions."
        ) from error


def _stays_inside(link: Path, root: Path) -> bool:
    """Return whether a link leads into the folder, or into the files of the Hub's own cache.

    There, a data set is a folder ``snapshots/REVISION`` of links to ``blobs`` beside it.
    """
    real, target = root.resolve(), link.resolve()
    caches = [above.parent for above in (real, *real.parents) if above.name == "snapshots"]
    return target.is_relative_to(real) or any(target.parent == cache / "blobs" for cache in caches)


_PLURALS = {"link leads": "links lead", "entry is": "entries are"}


def _left_aside(root: Path, paths: Sequence[Path], why: str, what: str) -> Iterator[str]:
    if paths:
        shown = ", ".join(path.relative_to(root).as_posix() for path in sorted(paths)[:_SHOWN])
        yield f"In {root}, {counted(len(paths), what, _PLURALS[what])} {why}: {shown}."


def find_tables(
    listing: Listing, endings: Sequence[str]
) -> tuple[list[TableFile], tuple[str, ...]]:
    """Return the tables of some endings that are named after a part, or the only one, and a note.

    Raises:
        DataError: there are several data sets, or several tables of unknown parts.
    """
    tables = [file for file in listing.files if _suffix(file) in endings]
    _check_configurations(listing, tables)
    named = [TableFile(path=file, part=part) for file in tables if (part := _part(listing, file))]
    if not named and len(tables) > 1 and not _are_pieces(tables):
        raise DataError(
            f"Expected tables that begin with train, validation or test in {listing.root}, or "
            f"numbered pieces of one, but found {', '.join(map(listing.relative, tables[:_SHOWN]))}"
            ". Name one of them."
        )
    found = named or [TableFile(path=file) for file in tables]
    _check_one_format(listing, found)
    _check_pieces(listing, found)
    read = {table.path for table in found}
    unread = [listing.relative(file) for file in tables if file not in read]
    notes = (_files_note(listing, found, unread),) if found else ()
    return found, (*notes, *_missing_pieces(listing, found))


def find_part_lines(listing: Listing) -> list[TableFile]:
    """Return the files of lines, such as ``train.txt``, that lie directly in the folder."""
    lines = [file for file in listing.files if _suffix(file) == suffixes.LINES]
    return [
        TableFile(path=file, part=part)
        for file in lines
        if file.parent == listing.root and (part := part_of_name(file.name))
    ]


def part_of_name(name: str) -> str | None:
    """Return the part that a name begins with, such as ``train-00000-of-00002.parquet``."""
    return PART_NAMES.get(re.split("[^a-z]", name.lower(), maxsplit=1)[0])


def _suffix(file: Path) -> str:
    return suffixes.plain_suffix(file.name)


def _part(listing: Listing, file: Path) -> str | None:
    above = PART_NAMES.get(file.parent.name.lower()) if file.parent != listing.root else None
    return part_of_name(file.name) or above


def _files_note(listing: Listing, found: Sequence[TableFile], unread: Sequence[str]) -> str:
    names = [listing.relative(table.path) for table in found]
    note = f"Read from {listing.root}: {_shown(names)}."
    return f"{note} Not read, since the name says no part: {_shown(unread)}." if unread else note


def _shown(names: Sequence[str]) -> str:
    more = "" if len(names) <= _SHOWN else f" and {len(names) - _SHOWN:,} more"
    return ", ".join(names[:_SHOWN]) + more


def _check_one_format(listing: Listing, tables: Sequence[TableFile]) -> None:
    """Refuse the same part in two formats, which would double its rows."""
    formats: dict[str | None, dict[str, str]] = {}
    for table in tables:
        found = formats.setdefault(table.part, {})
        found.setdefault(_suffix(table.path), listing.relative(table.path))
        if len(found) > 1:
            raise DataError(
                f"Expected each part in one format in {listing.root}, but found "
                f"{' and '.join(found.values())}. Name one of them, or move one away."
            )


def _check_pieces(listing: Listing, tables: Sequence[TableFile]) -> None:
    """Refuse several tables of one part that are not numbered pieces of one table.

    Such as one for each language, an older copy, or the same rows packed and unpacked.
    """
    by_part: dict[str | None, list[Path]] = {}
    for table in tables:
        by_part.setdefault(table.part, []).append(table.path)
    for part, files in by_part.items():
        if len(files) > 1 and not _are_pieces(files):
            shown = ", ".join(map(listing.relative, files[:_SHOWN]))
            more = f" and {len(files) - _SHOWN:,} more" if len(files) > _SHOWN else ""
            raise DataError(
                f"Expected one table for the part {part} in {listing.root}, or numbered pieces "
                f"such as train-00000-of-00002.csv, but found {shown}{more}. Name one of them, or "
                "move the others away."
            )


_PIECE = re.compile(r"(.*-)([0-9]+)-of-([0-9]+)")
_MOST_PIECES = 100_000  # names that promise more are not names of pieces


def _missing_pieces(listing: Listing, tables: Sequence[TableFile]) -> Iterator[str]:
    """Say which pieces are not there of those that the names promise."""
    numbers: dict[tuple[str, int], set[int]] = {}
    for table in tables:
        found = _PIECE.match(listing.relative(table.path))
        if found and int(found[3]) <= _MOST_PIECES:
            numbers.setdefault((found[1], int(found[3])), set()).add(int(found[2]))
    for (name, total), there in numbers.items():
        first = int(total in there)  # some count from 1
        missing = [number for number in range(first, total + first) if number not in there]
        if missing:
            more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
            yield (
                f"Of the {total:,} pieces {name.rstrip('-')} in {listing.root}, these numbers are "
                f"missing: {', '.join(map(str, missing[:_SHOWN]))}{more}. Fetch them, if their "
                "rows should count."
            )


_RANDOM = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{4,27}|(?<![0-9a-z])(?=[a-f]*[0-9])[0-9a-f]{8,}")
"""Names of pieces that programs make up, such as ``a1b2c3d4e5f60718`` or a UUID."""


def _are_pieces(files: Sequence[Path]) -> bool:
    """Return whether the names of files differ in numbers alone."""
    names = {_stem(file): file for file in files}
    patterns = {re.sub("[0-9]+", "#", _RANDOM.sub("#", name)) for name in names}
    versions = any(re.search(r"(?<![a-z])v[0-9]|version|copy", name) for name in names)
    return len(names) == len(files) and len(patterns) == 1 and "#" in max(patterns) and not versions


def _stem(file: Path) -> str:
    """Return a file's name without the endings that say its format and compression."""
    name = file.name.lower()
    return name[: name.rfind(suffixes.plain_suffix(name))]


def _check_configurations(listing: Listing, tables: Sequence[Path]) -> None:
    """Refuse several data sets in one folder, such as one a language."""
    named = [file for file in tables if _part(listing, file)]
    folders = dict.fromkeys(_configuration(listing, file) for file in named)
    if len(folders) > 1:
        shown = ", ".join(
            listing.relative(folder) if folder != listing.root else "the folder itself"
            for folder in folders
        )
        raise DataError(
            f"Expected one data set in {listing.root}, but found {len(folders)}: {shown}. "
            f"Name one of them, such as {max(folders, key=lambda folder: len(folder.parts))}."
        )
    configured = _configurations_of_card(listing, tables)
    if len(configured) > 1:
        first = next(iter(configured.values()))
        raise DataError(
            f"Expected one data set in {listing.root}, but its README.md names "
            f"{len(configured)}: {', '.join(configured)}. "
            f"Name a file or folder of one of them, such as {first}."
        )


def _configuration(listing: Listing, file: Path) -> Path:
    """Return the folder of a data set: that of its table, or above one named after a part."""
    folder = file.parent
    is_part = folder != listing.root and folder.name.lower() in PART_NAMES
    return folder.parent if is_part else folder


def _configurations_of_card(listing: Listing, tables: Sequence[Path]) -> dict[str, Path]:
    """Return the first table of each configuration in a Hub data set's README.md."""
    readme = listing.root / "README.md"
    card = read_card(readme) if readme in listing.files else {}
    found: dict[str, Path] = {}
    configs = card.get("configs")
    for config in configs if isinstance(configs, list) else ():
        patterns = list(_patterns(config.get("data_files"))) if isinstance(config, dict) else []
        for file in tables:
            if any(fnmatch(listing.relative(file), pattern) for pattern in patterns):
                found.setdefault(str(config.get("config_name")), file)
    return found


def _patterns(data_files: Any) -> Iterator[str]:
    """Yield the patterns of ``data_files``: a string, a list, or objects with a ``path``."""
    if isinstance(data_files, str):
        yield data_files
    elif isinstance(data_files, Mapping):
        yield from _patterns(data_files.get("path", list(data_files.values())))
    elif isinstance(data_files, list):
        for inner in data_files:
            yield from _patterns(inner)
