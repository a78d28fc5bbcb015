"""Labelled texts: `Dataset`, read from files, folders, the catalogue or the Hub.

Knows nothing about splits, and nothing about what a label means.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pollice.catalogue.hub import HUB_PREFIX
from pollice.data.cleaning import normalize
from pollice.data.columns import NO_COLUMN, USUAL, ReadOptions
from pollice.data.dataset import Dataset, TextTable
from pollice.data.label_checks import NoLabelsError, check_labels, sort_labels
from pollice.data.labels import NO_LABEL, LabelSource, NamedLabels, name_labels
from pollice.data.sources import Rows, Source, locate, read_rows
from pollice.data.tables import table_suffix
from pollice.errors import DataError

__all__ = ["ReadOptions", "read_dataset", "read_texts"]

logger = logging.getLogger("pollice")

_SHOWN_CONFLICTS = 3


def read_dataset(
    source: Any, options: ReadOptions = USUAL, *, known: Sequence[str] = ()
) -> Dataset:
    """Read labelled texts from a file, a folder, a catalogue name or ``hub:owner/name@revision``.

    For training and testing. Files are CSV, TSV, JSON Lines, JSON, Parquet, Arrow, Feather,
    spreadsheets or fastText's lines, also as .gz, .bz2 or .zip. A folder holds tables, what
    ``datasets`` saved, or a folder of text files for each label, also within ``train`` and
    ``test``. A source may also be a table of pandas, polars, Arrow or ``datasets``.
    Rows without a label or a text are left out and counted in ``dropped``.

    Args:
        source: The file, folder or name.
        options: How to read it.
        known: The labels of training rows, where this source is judged with them: what differs
            only in its spelling is spelled alike.

    Raises:
        DataError: the source cannot be found or read, or is not a labelled data set.
    """
    located = locate(source, options, labelled=True)
    rows = read_rows(located)
    visible = [
        None if out else label for label, out in zip(rows.labels, rows.excluded, strict=True)
    ]
    # Excluded rows are not named: a code that only they have may have no name, an error else.
    named = name_labels(visible, _label_source(located, rows, options, known))
    kept, labels, dropped = _keep_rows(rows, visible, named)
    # Numbered before rows are dropped, so that an id tells where the row is in the source.
    ids = rows.unique_ids()
    conflicts, notes = _find_conflicts(rows, kept, labels, ids)
    if options.drop_conflicts and conflicts:
        dropped["text with different labels"] = len(conflicts)
        labels = [label for row, label in zip(kept, labels, strict=True) if row not in conflicts]
        kept = [row for row in kept if row not in conflicts]
        notes = ()
    notes = (*rows.notes, *named.notes, *notes)
    try:
        check_labels(located.name, labels, located.options, dropped)
    except NoLabelsError:
        raise  # the texts may be read without labels, where the same is said
    except DataError:
        _say(notes)  # why labels are missing may be said there
        raise
    notes += _doubtful_first_row(located.name, kept, labels)
    by_part = rows.parts is not None and (options.split_column or "").casefold() != NO_COLUMN
    return Dataset(
        ids=tuple(ids[row] for row in kept),
        texts=tuple(rows.texts[row] for row in kept),
        labels=tuple(labels),
        label_names=sort_labels(labels, _named_options(located, rows)),
        parts=tuple((rows.parts or ())[row] for row in kept) if by_part else None,
        dropped=dict(dropped),
        notes=_say(notes),
        reading=replace(
            _named_options(located, rows),
            text_column=rows.columns.get("text"),
            label_column=rows.columns.get("label"),
        ),
    )


_FEW_ROWS = 4


def _doubtful_first_row(source: str, kept: Sequence[int], labels: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence on a first row whose label no other has: perhaps a second line of names."""
    counts = Counter(labels)
    first = labels[0]
    others = [rows for label, rows in counts.items() if label != first]
    if kept[0] or counts[first] > 1 or len(labels) < _FEW_ROWS or min(others) < 2:
        return ()
    return (
        f"The label {first!r} of the first row of {source} is that of no other row. If that row is "
        f"a second line of names, as survey tools write it, leave it out: --drop-label {first!r}.",
    )


def _keep_rows(
    rows: Rows, visible: Sequence[str | None], named: NamedLabels
) -> tuple[list[int], list[str], Counter[str]]:
    """Return the rows with a text and a label, their labels, and why the others are left out."""
    labels: list[str] = []
    kept: list[int] = []
    dropped = Counter[str]()
    for row, (text, raw_label) in enumerate(zip(rows.texts, visible, strict=True)):
        label = None if raw_label is None else named.names[raw_label]
        if rows.excluded[row]:
            dropped["excluded"] += 1
        elif label is None:
            dropped[named.reasons.get(raw_label or "", NO_LABEL)] += 1
        elif not text:
            dropped["empty text"] += 1
        else:
            kept.append(row)
            labels.append(label)
    return kept, labels, dropped


def _label_source(
    located: Source, rows: Rows, options: ReadOptions, known: Sequence[str], *, strict: bool = True
) -> LabelSource:
    return LabelSource(
        name=located.name,
        options=_named_options(located, rows),
        known=tuple(known),
        class_codes=(options.label_names is None or rows.class_codes or _has_class_codes(located)),
        strict=strict,
    )


def _named_options(located: Source, rows: Rows) -> ReadOptions:
    """Return the options with the names of label codes that the source says itself."""
    if rows.label_names is None or located.options.rating_bins is not None:
        return located.options
    return replace(located.options, label_names=rows.label_names)


def _has_class_codes(located: Source) -> bool:
    """Tell whether a source is of a kind whose code -1 says that a row has no label."""
    if located.in_memory or located.name.startswith(HUB_PREFIX):
        return True
    path = located.path
    tables = [path, *path.glob("*.parquet*")] if path.is_dir() else [path]
    return any(table_suffix(table) == ".parquet" for table in tables)


def _find_conflicts(
    rows: Rows, kept: Sequence[int], labels: Sequence[str], ids: Sequence[str]
) -> tuple[set[int], tuple[str, ...]]:
    """Return the rows of texts that have different labels, and a sentence on them."""
    first: dict[str, int] = {}
    # Rows are collected for these texts alone: most texts of most sources stand once.
    places: dict[str, dict[int, str]] = defaultdict(dict)
    for row, label in zip(kept, labels, strict=True):
        key = normalize(rows.texts[row])
        place = first.setdefault(key, row)
        if place != row:
            places[key][row] = label
    label_of = dict(zip(kept, labels, strict=True)) if places else {}
    several = {
        first[key]: {first[key]: label_of[first[key]], **place} for key, place in places.items()
    }
    conflicts = [place for place in several.values() if len(set(place.values())) > 1]
    if not conflicts:
        return set(), ()
    shown = "; ".join(
        ", ".join(f"{ids[row]} {label!r}" for row, label in list(place.items())[:_SHOWN_CONFLICTS])
        for place in conflicts[:_SHOWN_CONFLICTS]
    )
    texts = "1 text has" if len(conflicts) == 1 else f"{len(conflicts):,} texts have"
    note = (
        f"{texts} rows of different labels, such as the ids {shown}. The commonest label counts; "
        "to leave all their rows out: --drop-conflicts."
    )
    return {row for place in conflicts for row in place}, (note,)


def read_texts(
    source: Any,
    options: ReadOptions = USUAL,
    *,
    known: Sequence[str] = (),
    preferred: Mapping[str, str] = MappingProxyType({}),
) -> TextTable:
    """Read texts to judge or label: every row is kept, even an empty one.

    A label that cannot be used counts as not known, and a note says so.

    Args:
        source: The file, folder or name.
        options: How to read it.
        known: The labels that a predictor gives; others count as not known.
        preferred: For ``"text"`` and ``"label"``, the columns that a predictor learned from: they
            are looked for before those of usual names.

    Raises:
        DataError: the source cannot be found or read, or has no texts.
    """
    located = replace(locate(source, options, labelled=False), preferred=preferred)
    rows = read_rows(located)
    named = name_labels(rows.labels, _label_source(located, rows, options, known, strict=False))
    gold = tuple(None if label is None else named.names[label] for label in rows.labels)
    return TextTable(
        ids=tuple(rows.unique_ids()),
        texts=tuple(rows.texts),
        gold=None if all(label is None for label in gold) else gold,
        notes=_say((*rows.notes, *named.notes)),
    )


def _say(notes: tuple[str, ...]) -> tuple[str, ...]:
    """Log notes, which the command line shows while it works; return them."""
    for note in notes:
        logger.info(note)
    return notes
