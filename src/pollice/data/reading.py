"""Labelled texts: `Dataset`, read from files, folders, the catalogue or the Hub.

Knows nothing about splits, and nothing about what a label means.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pollice.catalogue.entries import dataset_names, fetch_dataset
from pollice.catalogue.hub import HUB_PREFIX, fetch_hub
from pollice.data.cleaning import clean_html
from pollice.data.dataset import Dataset, TextTable
from pollice.data.tables import (
    TABLE_SUFFIXES,
    Columns,
    find_column,
    read_columns,
    read_lines,
    table_suffix,
)
from pollice.errors import DataError, did_you_mean

_USUAL_TEXTS = "text review content sentence comment comments answer opinion response feedback"
_USUAL_TEXTS += " verbatim message body tweet reviews answers opinions responses messages"
TEXT_COLUMNS = tuple(_USUAL_TEXTS.split())
LABEL_COLUMNS = ("label", "sentiment", "category", "class", "polarity", "rating")
ID_COLUMNS = ("id",)
SPLIT_COLUMNS = ("split",)
PART_NAMES = dict.fromkeys(("train", "training"), "train")
PART_NAMES |= dict.fromkeys(("validation", "valid", "val", "dev"), "validation")
PART_NAMES |= dict.fromkeys(("test", "testing"), "test")
"""What sources call their parts, and what pollice calls them."""

_UNLABELLED_FOLDERS = {"unsup", "unsupervised", "unlabeled", "unlabelled"}
_MOST_LABELS = 1000
_SHOWN_NAMES = 5  # usual names of a column, in an error
_FEW_ROWS = 12  # so few rows may well have as many labels
_NO_LABEL_CODE = "-1"  # how data sets of the Hub say that a row has no label


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a source; columns that are None are found by their usual names."""

    text_column: str | None = None
    label_column: str | None = None
    id_column: str | None = None
    split_column: str | None = None
    label_names: Mapping[str, str] | None = None
    """The name of each label code, such as ``{"0": "negative", "1": "positive"}``."""
    keep_html: bool = False
    """Whether tags and entities stay in the texts."""


_USUAL = ReadOptions()


def read_dataset(source: str, options: ReadOptions = _USUAL) -> Dataset:
    """Read labelled texts from a file, a folder, a catalogue name or ``hub:owner/name@revision``.

    For training and testing. Files are CSV, TSV, JSON Lines or Parquet, also as .gz or
    .bz2. A folder holds a folder of text files for each label, also within ``train`` and ``test``.
    Rows without a label or a text are left out and counted in ``dropped``.

    Raises:
        DataError: the source cannot be found or read, or is not a labelled data set.
    """
    located = _locate(source, options, labelled=True)
    names = located.options.label_names
    rows = _read_rows(located)
    labels: list[str] = []
    kept: list[int] = []
    dropped = Counter[str]()
    for row, (text, raw_label) in enumerate(zip(rows.texts, rows.labels, strict=True)):
        # Excluded rows are not named: a code that only they have may have no name, an error else.
        label = None if rows.excluded[row] else _named(source, raw_label, names)
        if rows.excluded[row]:
            dropped["excluded"] += 1
        elif label is None:
            dropped["no label"] += 1
        elif not text:
            dropped["empty text"] += 1
        else:
            kept.append(row)
            labels.append(label)
    _check_labels(source, labels)
    # Numbered before rows are dropped, so that an id tells where the row is in the source.
    ids = rows.unique_ids()
    return Dataset(
        ids=tuple(ids[row] for row in kept),
        texts=tuple(rows.texts[row] for row in kept),
        labels=tuple(labels),
        label_names=_label_names(labels, names),
        parts=None if rows.parts is None else tuple(rows.parts[row] for row in kept),
        dropped=dict(dropped),
    )


def read_texts(source: str, options: ReadOptions = _USUAL) -> TextTable:
    """Read texts to judge or label: every row is kept, even an empty one.

    Raises:
        DataError: the source cannot be found or read, or has no texts.
    """
    located = _locate(source, options, labelled=False)
    rows = _read_rows(located)
    gold = tuple(_named(source, label, located.options.label_names) for label in rows.labels)
    return TextTable(
        ids=tuple(rows.unique_ids()),
        texts=tuple(rows.texts),
        gold=None if all(label is None for label in gold) else gold,
    )


@dataclass(frozen=True, kw_only=True)
class _Source:
    path: Path
    options: ReadOptions
    labelled: bool
    excluded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of each column, the values whose rows are left out."""


@dataclass(frozen=True, kw_only=True)
class _Rows:
    ids: list[str] | None
    texts: list[str]
    labels: list[str | None]
    parts: list[str] | None
    excluded: list[bool]

    def unique_ids(self) -> list[str]:
        return [str(row) for row in range(len(self.texts))] if self.ids is None else self.ids


def _locate(name: str, options: ReadOptions, *, labelled: bool) -> _Source:
    """Find the local path of a source, and what the catalogue knows about it."""
    if Path(name).exists():
        return _Source(path=Path(name), options=options, labelled=labelled)
    if name.startswith(HUB_PREFIX):
        return _Source(path=fetch_hub(name, "dataset"), options=options, labelled=labelled)
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
    return _Source(path=found.path, options=options, labelled=labelled, excluded=found.excluded)


def _read_rows(source: _Source) -> _Rows:
    if not source.path.is_dir():
        return _read_table(source.path, source)
    tables = sorted(file for file in source.path.rglob("*") if table_suffix(file) in TABLE_SUFFIXES)
    return _read_tables(tables, source) if tables else _read_label_folders(source)


def _read_table(path: Path, source: _Source) -> _Rows:
    found: dict[str, str] = {}

    def choose(names: Sequence[str]) -> Sequence[str]:
        found.update(_find_columns(path, names, source))
        # One column may have two roles, such as the label that also excludes: it is read once.
        return list(dict.fromkeys([*found.values(), *source.excluded]))

    columns = read_columns(path, choose)
    excluded = [False] * len(columns)
    for name, values in source.excluded.items():
        for row, value in enumerate(columns.strings(name)):
            excluded[row] |= value in values
    return _Rows(
        ids=_unique_ids(columns, found["id"]) if "id" in found else None,
        texts=[_cleaned(text, source.options) for text in columns.strings(found["text"])],
        labels=columns.strings(found["label"]) if "label" in found else [None] * len(columns),
        parts=_parts(columns, found["split"]) if "split" in found else None,
        excluded=excluded,
    )


def _read_tables(tables: Sequence[Path], source: _Source) -> _Rows:
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
    return _Rows(
        # A table without ids, or two tables of one part with the same ones: then rows are numbered.
        ids=ids if len(set(ids)) == len(texts) else None,
        texts=texts,
        labels=[label for _, rows in several for label in rows.labels],
        parts=[part for part, rows in several for _ in rows.texts],
        excluded=[left_out for _, rows in several for left_out in rows.excluded],
    )


def _part_of_name(name: str) -> str | None:
    # Such as train-00000-of-00002.parquet.
    return PART_NAMES.get(re.split("[^a-z]", name.lower(), maxsplit=1)[0])


def _read_label_folders(source: _Source) -> _Rows:
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
    return _Rows(
        ids=[file.relative_to(root).with_suffix("").as_posix() for file, _, _ in files],
        texts=[_cleaned("".join(read_lines(file)), source.options) for file, _, _ in files],
        labels=[label for _, label, _ in files],
        parts=[part for _, _, part in files if part] if parts else None,
        excluded=[False] * len(files),
    )


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _find_columns(path: Path, names: Sequence[str], source: _Source) -> dict[str, str]:
    """Return the column of each role: text and, if they exist, label, id and split."""
    options, labelled = source.options, source.labelled
    wanted: list[tuple[str, str | None, tuple[str, ...], bool]] = [
        ("text", options.text_column, TEXT_COLUMNS, True),
        ("label", options.label_column, LABEL_COLUMNS, labelled),
        ("id", options.id_column, ID_COLUMNS, False),
    ]
    if labelled:
        wanted.append(("split", options.split_column, SPLIT_COLUMNS, False))
    found = {}
    for role, given, usual, needed in wanted:
        name = find_column(names, (given,) if given else usual)
        if name is not None:
            found[role] = name
        elif given:
            raise DataError(
                f"Expected the {role} column {given!r} in {path}, but its columns are "
                f"{', '.join(names)}.{did_you_mean(given, names)}"
            )
        elif needed:
            raise DataError(
                f"Expected a {role} column named {', '.join(usual[:_SHOWN_NAMES])} or alike in "
                f"{path}, but its columns are {', '.join(names)}. Name it with --{role}-column "
                f"(in Python: {role}_column)."
            )
    return found


def _cleaned(text: str | None, options: ReadOptions) -> str:
    text = text or ""
    return text.strip() if options.keep_html else clean_html(text)


def _unique_ids(columns: Columns, name: str) -> list[str]:
    first: dict[str, int] = {}
    for row, value in enumerate(columns.strings(name)):
        if value is None:
            raise DataError(
                f"Expected an id in every row, but the column {name!r} of {columns.path} is empty "
                f"on {columns.place(row)}. Fill it in, or name another id column."
            )
        if value in first:
            raise DataError(
                f"Expected every id once, but the column {name!r} of {columns.path} holds "
                f"{value!r} on {columns.place(first[value])} and {columns.place(row)}. "
                "Make the ids unique, or name another id column."
            )
        first[value] = row
    return list(first)


def _parts(columns: Columns, name: str) -> list[str]:
    parts = []
    for row, value in enumerate(columns.strings(name)):
        part = PART_NAMES.get((value or "").lower())
        if part is None:
            raise DataError(
                f"Expected train, validation or test in the column {name!r} of {columns.path}, "
                f"but {columns.place(row)} holds {value or ''!r}. Name another split column."
            )
        parts.append(part)
    return parts


def _named(source: str, label: str | None, names: Mapping[str, str] | None) -> str | None:
    if label is None or names is None or label in names.values():
        return label
    if label not in names and label != _NO_LABEL_CODE:
        raise DataError(
            f"Expected the labels {', '.join(names)} in {source}, but found {label!r}. "
            "Give a name for every label."
        )
    return names.get(label)


def _check_labels(source: str, labels: Sequence[str]) -> None:
    counts = Counter(labels)
    if not counts:
        raise DataError(
            f"Expected rows with a text and a label, but {source} has none. "
            "Name another text or label column."
        )
    if len(counts) == 1:
        raise DataError(
            f"Expected two labels or more, but every row of {source} has the label {labels[0]!r}. "
            "Name another label column, or add rows of another label."
        )
    many = len(labels) > _FEW_ROWS and len(counts) > len(labels) / 2
    if many or len(counts) > _MOST_LABELS:
        raise DataError(
            f"Expected a few labels, but {source} has {len(counts):,} different ones on "
            f"{len(labels):,} rows, such as {labels[0]!r}. Name another label column."
        )


def _label_names(labels: Iterable[str], names: Mapping[str, str] | None) -> tuple[str, ...]:
    found = set(labels)
    if names is not None:
        # Two codes may have the same name, so the names are made distinct, in the order given.
        return tuple(name for name in dict.fromkeys(names.values()) if name in found)
    try:
        # By name first: "1" and "1.0" are equal as numbers, and a set's order changes every time.
        return tuple(sorted(sorted(found), key=float))
    except ValueError:
        return tuple(sorted(found))
