"""Where texts lie: a file, a folder, the catalogue or the Hub -> rows of texts and labels as given.

Knows nothing about formats, and nothing about what a label means.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pollice.catalogue.entries import dataset_names, fetch_dataset
from pollice.catalogue.hub import HUB_PREFIX, fetch_hub
from pollice.data.cleaning import clean_html
from pollice.data.columns import (
    PART_NAMES,
    ReadOptions,
    column_notes,
    find_columns,
    read_parts,
    unique_ids,
)
from pollice.data.formats.lines import read_text
from pollice.data.label_cells import label_strings
from pollice.data.tables import TABLE_SUFFIXES, read_columns, table_suffix
from pollice.errors import DataError, did_you_mean

_UNLABELLED_FOLDERS = {"unsup", "unsupervised", "unlabeled", "unlabelled"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source that is on this machine, and what is known of how to read it."""

    path: Path
    options: ReadOptions
    labelled: bool
    excluded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of each column, the values whose rows are left out."""
    preferred: Mapping[str, str] = field(default_factory=dict)
    """Of each role, a column to be looked for before those of usual names."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Texts with their labels as the source gives them."""

    ids: list[str] | None
    texts: list[str]
    labels: list[str | None]
    parts: list[str] | None
    excluded: list[bool]
    columns: Mapping[str, str] = field(default_factory=dict)
    """The column of each role, where there are columns; of several tables those of the first."""
    notes: tuple[str, ...] = ()
    """What was decided in reading and a person should know, one sentence each."""

    def unique_ids(self) -> list[str]:
        """Return the ids of the source, or numbers from 0."""
        return [str(row) for row in range(len(self.texts))] if self.ids is None else self.ids


def locate(name: str, options: ReadOptions, *, labelled: bool) -> Source:
    """Find the local path of a source, and what the catalogue knows about it.

    Raises:
        DataError: there is no such source.
    """
    if Path(name).exists():
        return Source(path=Path(name), options=options, labelled=labelled)
    if name.startswith(HUB_PREFIX):
        return Source(path=fetch_hub(name, "dataset"), options=options, labelled=labelled)
    found = fetch_dataset(name)
    if found is None:
        raise DataError(
            "Expected a file, a folder, hub:owner/name@revision or a data set of the catalogue, "
            f"but there is no {name!r}. Check the name.{did_you_mean(name, dataset_names())}"
        )
    options = replace(
        options,
        text_column=options.text_column or found.text_column,
        label_column=options.label_column or found.label_column,
        label_names=options.label_names or found.label_names or None,
    )
    return Source(path=found.path, options=options, labelled=labelled, excluded=found.excluded)


def read_rows(source: Source) -> Rows:
    """Read all rows of a source, in its order.

    Raises:
        DataError: the source cannot be read.
    """
    if not source.path.is_dir():
        return _read_table(source.path, source)
    tables = sorted(file for file in source.path.rglob("*") if table_suffix(file) in TABLE_SUFFIXES)
    return _read_tables(tables, source) if tables else _read_label_folders(source)


def _read_table(path: Path, source: Source) -> Rows:
    found: dict[str, str] = {}
    notes: list[str] = []

    def choose(names: Sequence[str]) -> Sequence[str]:
        options, preferred = source.options, source.preferred
        found.update(
            find_columns(path, names, options, labelled=source.labelled, preferred=preferred)
        )
        notes.extend(column_notes(path, names, options, found, preferred))
        # One column may have two roles, such as the label that also excludes: it is read once.
        return list(dict.fromkeys([*found.values(), *source.excluded]))

    columns = read_columns(path, choose, source.options.text)
    excluded = [False] * len(columns)
    for name, values in source.excluded.items():
        for row, value in enumerate(columns.strings(name)):
            excluded[row] |= value in values
    return Rows(
        ids=unique_ids(columns, found["id"]) if "id" in found else None,
        texts=[_cleaned(text, source.options) for text in columns.strings(found["text"])],
        labels=label_strings(columns, found["label"])
        if "label" in found
        else [None] * len(columns),
        parts=read_parts(columns, found["split"]) if "split" in found else None,
        excluded=excluded,
        columns=found,
        notes=(*columns.notes, *notes),
    )


def _read_tables(tables: Sequence[Path], source: Source) -> Rows:
    """Read the tables named after a part; a single table may have any name."""
    named = [(part, table) for table in tables if (part := _part_of_name(table.name))]
    if not named and len(tables) > 1:
        raise DataError(
            f"Expected tables that begin with train, validation or test in {source.path}, but "
            f"found {', '.join(table.name for table in tables[:5])}. Name one of them."
        )
    if not named:
        return _read_table(tables[0], source)
    several = [(part, _read_table(table, source)) for part, table in named]
    # Parts often count their rows from 0 each, so the part belongs to the id.
    ids = [f"{part}/{value}" for part, rows in several for value in rows.ids or ()]
    texts = [text for _, rows in several for text in rows.texts]
    return Rows(
        # A table without ids, or two tables of one part with the same ones: then rows are numbered.
        ids=ids if len(set(ids)) == len(texts) else None,
        texts=texts,
        labels=[label for _, rows in several for label in rows.labels],
        parts=[part for part, rows in several for _ in rows.texts],
        excluded=[left_out for _, rows in several for left_out in rows.excluded],
        columns=several[0][1].columns,
        notes=tuple(note for _, rows in several for note in rows.notes),
    )


def _part_of_name(name: str) -> str | None:
    # Such as train-00000-of-00002.parquet.
    return PART_NAMES.get(re.split("[^a-z]", name.lower(), maxsplit=1)[0])


def _read_label_folders(source: Source) -> Rows:
    root, folders = source.path, _subfolders(source.path)
    parts = {folder: PART_NAMES[name] for folder in folders if (name := folder.name) in PART_NAMES}
    files = [
        (file, label.name, part)
        for folder, part in parts.items() or [(root, None)]
        for label in _subfolders(folder)
        if label.name not in _UNLABELLED_FOLDERS
        for file in sorted(label.glob("*.txt"))
    ]
    if not files:
        raise DataError(
            f"Expected tables, or folders of .txt files such as train/positive, in {root}, "
            "but found none. Name the folder that holds them."
        )
    return Rows(
        ids=[file.relative_to(root).with_suffix("").as_posix() for file, _, _ in files],
        texts=[
            _cleaned(read_text(file, source.options.encoding), source.options)
            for file, _, _ in files
        ],
        labels=[label for _, label, _ in files],
        parts=[part for _, _, part in files if part] if parts else None,
        excluded=[False] * len(files),
    )


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _cleaned(text: str | None, options: ReadOptions) -> str:
    text = text or ""
    return text.strip() if options.keep_html else clean_html(text)
