"""Labelled texts: `Dataset`, read from files, folders, the catalogue or the Hub.

Knows nothing about splits, and nothing about what a label means.
"""

from collections import Counter
from typing import Any

from pollice.data.columns import USUAL, ReadOptions
from pollice.data.dataset import Dataset, TextTable
from pollice.data.labels import check_labels, name_label, sort_labels
from pollice.data.sources import locate, read_rows

__all__ = ["ReadOptions", "read_dataset", "read_texts"]


def read_dataset(source: Any, options: ReadOptions = USUAL) -> Dataset:
    """Read labelled texts from a file, a folder, a catalogue name or ``hub:owner/name@revision``.

    For training and testing. Files are CSV, TSV, JSON Lines, JSON, Parquet, Arrow, Feather,
    spreadsheets or fastText's lines, also as .gz, .bz2 or .zip. A folder holds tables, what
    ``datasets`` saved, or a folder of text files for each label, also within ``train`` and
    ``test``. A source may also be a table of pandas, polars, Arrow or ``datasets``.
    Rows without a label or a text are left out and counted in ``dropped``.

    Raises:
        DataError: the source cannot be found or read, or is not a labelled data set.
    """
    located = locate(source, options, labelled=True)
    rows = read_rows(located)
    names, name = rows.label_names, located.name
    labels: list[str] = []
    kept: list[int] = []
    dropped = Counter[str]()
    for row, (text, raw_label) in enumerate(zip(rows.texts, rows.labels, strict=True)):
        # Excluded rows are not named: a code that only they have may have no name, an error else.
        label = None if rows.excluded[row] else name_label(name, raw_label, names)
        if rows.excluded[row]:
            dropped["excluded"] += 1
        elif label is None:
            dropped["no label"] += 1
        elif not text:
            dropped["empty text"] += 1
        else:
            kept.append(row)
            labels.append(label)
    check_labels(name, labels)
    # Numbered before rows are dropped, so that an id tells where the row is in the source.
    ids = rows.unique_ids()
    return Dataset(
        ids=tuple(ids[row] for row in kept),
        texts=tuple(rows.texts[row] for row in kept),
        labels=tuple(labels),
        label_names=sort_labels(labels, names),
        parts=None if rows.parts is None else tuple(rows.parts[row] for row in kept),
        dropped=dict(dropped),
        notes=rows.notes,
    )


def read_texts(source: Any, options: ReadOptions = USUAL) -> TextTable:
    """Read texts to judge or label: every row is kept, even an empty one.

    Raises:
        DataError: the source cannot be found or read, or has no texts.
    """
    located = locate(source, options, labelled=False)
    rows = read_rows(located)
    gold = tuple(name_label(located.name, label, rows.label_names) for label in rows.labels)
    return TextTable(
        ids=tuple(rows.unique_ids()),
        texts=tuple(rows.texts),
        gold=None if all(label is None for label in gold) else gold,
        notes=rows.notes,
    )
