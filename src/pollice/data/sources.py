"""Where texts lie: a file, folder, table, the catalogue, the Hub -> texts and labels as given.

Knows nothing about formats, and nothing about what a label means.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from pollice.catalogue.entries import dataset_names, fetch_dataset
from pollice.catalogue.hub import HUB_PREFIX, fetch_hub
from pollice.data.cleaning import clean_html
from pollice.data.columns import (
    LABEL_COLUMNS,
    PART_NAMES,
    ReadOptions,
    column_notes,
    find_columns,
    read_parts,
    unique_ids,
)
from pollice.data.folders import (
    OTHER_TABLES,
    USUAL_TABLES,
    Listing,
    TableFile,
    find_part_lines,
    find_tables,
    list_files,
)
from pollice.data.formats.columns import Choose, Columns, find_column, shorten
from pollice.data.formats.frames import FRAME, is_split
from pollice.data.formats.lines import read_text
from pollice.data.label_cells import label_strings
from pollice.data.label_folders import find_texts
from pollice.data.saved_datasets import find_saved_tables, is_saved_dataset
from pollice.data.tables import read_columns, read_table_in_memory
from pollice.errors import DataError, did_you_mean

_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Source:
    """A source that is on this machine, and what is known of how to read it."""

    name: str
    """What it is called in sentences: what the user named it."""
    path: Path
    options: ReadOptions
    labelled: bool
    excluded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of each column, the values whose rows are left out."""
    preferred: Mapping[str, str] = field(default_factory=dict)
    """Of each role, a column to be looked for before those of usual names."""
    in_memory: bool = False
    """Whether it is the ``table``; then ``path`` only stands in sentences."""
    table: Any = None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Texts with their labels as the source gives them."""

    ids: list[str] | None
    texts: list[str]
    labels: list[str | None]
    parts: list[str] | None
    excluded: list[bool]
    label_names: Mapping[str, str] | None = None
    """The name of each label code, where one was given or the source says so."""
    class_codes: bool = False
    """Whether the source itself has names for codes; then -1 says that a row has no label."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The column of each role, where there are columns; of several tables those of the first."""
    notes: tuple[str, ...] = ()
    """What was decided in reading and a person should know, one sentence each."""

    def unique_ids(self) -> list[str]:
        """Return the ids of the source, or numbers from 0."""
        return [str(row) for row in range(len(self.texts))] if self.ids is None else self.ids


class MissingLabelColumnError(DataError):
    """A table without the column of labels, such as the test part of a competition."""


def locate(source: Any, options: ReadOptions, *, labelled: bool) -> Source:
    """Find the local path of a source, and what the catalogue knows about it.

    A source is a name, a path, or a table in memory.

    Raises:
        DataError: there is no such source.
    """
    if not isinstance(source, str | PathLike):
        table = Source(name=str(FRAME), path=FRAME, options=options, labelled=labelled)
        return replace(table, in_memory=True, table=source)
    name = str(fspath(source))
    if name and Path(name).exists():  # no name at all would be this very folder
        return Source(name=name, path=Path(name), options=options, labelled=labelled)
    if name.startswith(HUB_PREFIX):
        found_path = fetch_hub(name, "dataset")
        return Source(name=name, path=found_path, options=options, labelled=labelled)
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
    return Source(
        name=name,
        path=found.path,
        options=options,
        labelled=labelled,
        excluded=found.excluded,
    )


def read_rows(source: Source) -> Rows:
    """Read all rows of a source, in its order.

    Raises:
        DataError: the source cannot be read.
    """
    if source.in_memory:
        return _read_memory(source)
    if not source.path.is_dir():
        return _read_table(TableFile(path=source.path), source)
    if is_saved_dataset(source.path):
        tables, notes = find_saved_tables(source.path)
        return _read_tables(tables, source, notes)
    listing = list_files(source.path)
    tables, notes = find_tables(listing, USUAL_TABLES)
    rows = None if tables else _read_label_folders(listing, source)
    if rows is not None:
        return rows
    for endings in OTHER_TABLES:
        if not tables:
            tables, notes = find_tables(listing, endings)
    tables = tables or find_part_lines(listing)
    if not tables:
        raise _nothing_found(listing)
    return _read_tables(tables, source, (*listing.notes, *notes))


def _nothing_found(listing: Listing) -> DataError:
    links = f" {' '.join(listing.notes)}" if listing.notes else ""
    names = [listing.relative(file) for file in listing.files]
    found = f"only {', '.join(names[:_SHOWN])}" if names else "none"
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return DataError(
        f"Expected tables, or folders of .txt files such as train/positive, in {listing.root}, "
        f"but found {found}{more}.{links} Name the folder that holds them."
    )


def _read_memory(source: Source) -> Rows:
    if not is_split(source.table):
        return _read(source, lambda choose: read_table_in_memory(source.table, choose), {})
    several = {
        PART_NAMES[name.lower()]: replace(source, table=table)
        for name, table in source.table.items()
        if name.lower() in PART_NAMES
    }
    if not several:
        raise DataError(
            "Expected the parts train, validation or test in the DatasetDict, but found "
            f"{', '.join(map(str, source.table))}. Give one of them, or rename them."
        )
    return _join([(part, _read_memory(inner)) for part, inner in several.items()], ())


def _read_table(table: TableFile, source: Source) -> Rows:
    def read(choose: Choose) -> Columns:
        options = source.options
        return read_columns(table.path, choose, options.text, sheet=options.sheet)

    return _read(replace(source, path=table.path), read, table.class_names)


def _read(
    source: Source,
    read: Callable[[Choose], Columns],
    class_names: Mapping[str, Mapping[str, str]],
) -> Rows:
    """Read a table, whose file is the source's path."""
    found: dict[str, str] = {}
    notes: list[str] = []

    def choose(names: Sequence[str]) -> Sequence[str]:
        # A reader that tries several dialects asks each time: only the last answer counts.
        found.clear()
        found.update(_find_columns(source, names))
        notes[:] = [_columns_note(source, names, found)]
        notes.extend(column_notes(source.path, names, source.options, found, source.preferred))
        # One column may have two roles, such as the label that also excludes: it is read once.
        return list(dict.fromkeys([*found.values(), *source.excluded]))

    columns = read(choose)
    excluded = [False] * len(columns)
    for name, values in source.excluded.items():
        for row, value in enumerate(columns.strings(name)):
            excluded[row] |= value in values
    label = found.get("label", "")
    known = class_names.get(label) or columns.class_names.get(label)
    return Rows(
        ids=unique_ids(columns, found["id"]) if "id" in found else None,
        texts=[_cleaned(text, source.options) for text in columns.strings(found["text"])],
        labels=label_strings(columns, label) if label else [None] * len(columns),
        parts=read_parts(columns, found["split"]) if "split" in found else None,
        excluded=excluded,
        label_names=source.options.label_names or known,
        class_codes=bool(known),
        columns=found,
        notes=(*columns.notes, *notes),
    )


def _find_columns(source: Source, names: Sequence[str]) -> dict[str, str]:
    given = source.options.label_column
    has_labels = find_column(names, (given,) if given else LABEL_COLUMNS) is not None
    try:
        return find_columns(
            source.path,
            names,
            source.options,
            labelled=source.labelled,
            preferred=source.preferred,
        )
    except DataError as error:
        if source.labelled and not has_labels:
            raise MissingLabelColumnError(str(error)) from error
        raise


def _columns_note(source: Source, names: Sequence[str], found: Mapping[str, str]) -> str:
    """Say which columns were taken, and which were not used."""
    roles = [
        f"{role}s from the column {found[role]!r}" for role in ("text", "label") if role in found
    ]
    unused = [name for name in names if name and name not in found.values()]
    more = f" and {len(unused) - _SHOWN:,} more" if len(unused) > _SHOWN else ""
    rest = (
        f"; not used: {', '.join(repr(shorten(name)) for name in unused[:_SHOWN])}{more}"
        if unused
        else ""
    )
    return f"{source.path.name}: {', '.join(roles)}{rest}."


def _read_tables(tables: Sequence[TableFile], source: Source, notes: tuple[str, ...]) -> Rows:
    """Read tables as parts of one data set; one without labels is left out if it may be."""
    several: list[tuple[str | None, Rows]] = []
    unlabelled: list[tuple[TableFile, MissingLabelColumnError]] = []
    for table in tables:
        try:
            several.append((table.part, _read_table(table, source)))
        except MissingLabelColumnError as error:
            unlabelled.append((table, error))
    for table, missing in unlabelled:
        # Competitions keep the labels of the test rows to themselves. Training rows have theirs.
        if table.part in (None, "train") or not several:
            raise missing
    without = tuple(
        f"{table.path.name} has no labels and is left out: only the other parts are read."
        for table, _ in unlabelled
    )
    if len(several) == 1 and several[0][0] is None:
        return replace(several[0][1], notes=(*notes, *several[0][1].notes))
    return _join(several, (*notes, *without))


def _join(several: Sequence[tuple[str | None, Rows]], notes: tuple[str, ...]) -> Rows:
    """Join the rows of parts, whose codes must mean the same."""
    names = [rows.label_names for _, rows in several]
    if any(known != names[0] for known in names):
        raise DataError(
            "Expected the same names of labels in every part, but they differ: "
            f"{' and '.join(str(list((known or {}).values())) for known in names)}. "
            "Name one of the parts."
        )
    # Parts often count their rows from 0 each, so the part belongs to the id.
    ids = [
        value if part is None else f"{part}/{value}" for part, r in several for value in r.ids or ()
    ]
    texts = [text for _, rows in several for text in rows.texts]
    parts = [part for part, rows in several for _ in rows.texts if part is not None]
    return Rows(
        # A table without ids, or two tables of one part with the same ones: then rows are numbered.
        ids=ids if len(set(ids)) == len(texts) else None,
        texts=texts,
        labels=[label for _, rows in several for label in rows.labels],
        parts=parts or None,
        excluded=[left_out for _, rows in several for left_out in rows.excluded],
        label_names=names[0],
        class_codes=any(rows.class_codes for _, rows in several),
        columns=several[0][1].columns,
        notes=(*notes, *dict.fromkeys(note for _, rows in several for note in rows.notes)),
    )


def _read_label_folders(listing: Listing, source: Source) -> Rows | None:
    files, notes = find_texts(listing)
    if not files:
        return None
    found = ", ".join(dict.fromkeys(file.label for file in files))
    return Rows(
        ids=[file.id for file in files],
        texts=[
            _cleaned(read_text(file.path, source.options.encoding), source.options)
            for file in files
        ],
        labels=[file.label for file in files],
        parts=[file.part for file in files if file.part] or None,
        excluded=[False] * len(files),
        label_names=source.options.label_names,
        notes=(
            f"Read from {listing.root}: {len(files):,} texts in folders of the labels {found}.",
            *listing.notes,
            *notes,
        ),
    )


def _cleaned(text: str | None, options: ReadOptions) -> str:
    text = text or ""
    return text.strip() if options.keep_html else clean_html(text)
