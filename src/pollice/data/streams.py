"""New texts from files of any size: batches of rows with all their columns, and what is a text.

Knows nothing about formats, and nothing about predictors.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from pollice.data.cleaning import clean_html
from pollice.data.columns import ReadOptions, column_notes, find_columns
from pollice.data.folders import OTHER_TABLES, USUAL_TABLES, list_files
from pollice.data.formats.columns import PLAIN, kind_of
from pollice.data.formats.parquet import values_of
from pollice.data.formats.streamed import StreamedTable, TableBatch, strings_of
from pollice.data.formats.suffixes import plain_suffix
from pollice.data.labels import LabelSource, name_labels
from pollice.data.tables import stream_table
from pollice.errors import DataError

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class RowBatch:
    """Rows that follow each other, with all their columns and what is judged."""

    columns: Mapping[str, Any]
    """Of each column a list, or an array of Arrow."""
    ids: Sequence[str | None]
    texts: Sequence[str]
    gold: Sequence[str | None] | None
    """The labels that are known; None where no row of the source has one."""
    problems: Mapping[int, str]
    """Of each row that cannot be judged, by its number here, why."""

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, kw_only=True)
class TextStream:
    """Texts that were looked through once, and can be read from their beginning."""

    tables: tuple[StreamedTable, ...]
    roles: tuple[Mapping[str, str], ...]
    """Of each table, the columns of text and, where there are such, label and id."""
    names: Mapping[str, str | None]
    """The name of each label that the rows have; None for one that is not compared."""
    options: ReadOptions
    notes: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(table.rows for table in self.tables)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, those that only later files have at the end."""
        return tuple(dict.fromkeys(name for table in self.tables for name in table.names))

    @property
    def schema(self) -> Any:
        """The types of the columns in Arrow, where all files have the same; None else."""
        first = self.tables[0].schema
        same = all(t.schema is not None and t.schema.equals(first) for t in self.tables)
        return first if same else None

    @property
    def has_gold(self) -> bool:
        """Whether some row has a label that can be compared."""
        return any(name is not None for name in self.names.values())

    def batches(self, rows: int) -> Iterator[RowBatch]:
        """Yield all rows in their order, about ``rows`` at a time and always the same ones."""
        done = 0
        for table, roles in zip(self.tables, self.roles, strict=True):
            for batch in table.read(rows):
                made = self._batch(table.path, batch, roles, done)
                yield made
                done += len(made)

    def _batch(
        self, path: Path, batch: TableBatch, roles: Mapping[str, str], done: int
    ) -> RowBatch:
        raw = _values(path, roles["text"], batch)
        problems = dict(batch.problems)
        for row, value in enumerate(raw):
            if value is not None and not isinstance(value, PLAIN):
                problems.setdefault(row, f"the text is {kind_of(value)}")
        texts = [self._cleaned(text) for text in strings_of(path, raw)]
        total = len(texts)
        columns = {
            name: batch.columns[name] if name in batch.columns else [None] * total
            for name in self.columns
        }
        ids: Sequence[str | None] = [str(done + row) for row in range(total)]
        if "id" in roles:
            ids = strings_of(path, _values(path, roles["id"], batch))
        return RowBatch(
            columns=columns,
            ids=ids,
            texts=texts,
            gold=self._gold(path, batch, roles, total) if self.has_gold else None,
            problems=problems,
        )

    def _gold(
        self, path: Path, batch: TableBatch, roles: Mapping[str, str], total: int
    ) -> list[str | None]:
        if "label" not in roles:
            return [None] * total
        labels = strings_of(path, _values(path, roles["label"], batch))
        return [None if label is None else self.names.get(label) for label in labels]

    def _cleaned(self, text: str | None) -> str:
        text = text or ""
        return text.strip() if self.options.keep_html else clean_html(text)


def _values(path: Path, name: str, batch: TableBatch) -> list[Any]:
    column = batch.columns[name]
    return values_of(path, name, column) if isinstance(column, pa.Array) else list(column)


def find_files(sources: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return the tables that are named, and what is said of what lies beside them.

    Those of a folder come in the order of their names.

    Raises:
        DataError: a folder has no tables.
    """
    found: list[Path] = []
    notes: list[str] = []
    for source in sources:
        if not source.is_dir():
            found.append(source)
            continue
        listing = list_files(source)
        notes += listing.notes
        for endings in (USUAL_TABLES, *OTHER_TABLES):
            tables = [file for file in listing.files if plain_suffix(file.name) in endings]
            if tables:
                break
        else:
            raise DataError(
                f"Expected tables in the folder {source}, but found none. Name the folder that "
                "holds them, or the files."
            )
        found += tables
    return tuple(found), tuple(notes)


def open_stream(
    files: Sequence[Path],
    options: ReadOptions,
    *,
    known: Sequence[str],
    preferred: Mapping[str, str] = MappingProxyType({}),
) -> TextStream:
    """Look through files of new texts, so that their rows can be read batch by batch.

    Args:
        files: Tables, which are read one after the other.
        options: How to read them.
        known: The labels that a predictor gives; others are not compared.
        preferred: For ``"text"`` and ``"label"``, columns that are looked for first.

    Raises:
        DataError: a file cannot be read, has no rows or no column of texts.
    """
    tables: list[StreamedTable] = []
    roles: list[Mapping[str, str]] = []
    counts: Counter[str] = Counter()
    notes: list[str] = []
    several = False
    for path in files:
        found: dict[str, str] = {}

        def choose(names: Sequence[str], path: Path = path, found: Any = found) -> Sequence[str]:
            found.clear()
            columns = find_columns(path, names, options, labelled=False, preferred=preferred)
            found.update(columns)
            return [columns["label"]] if "label" in columns else []

        table = stream_table(path, choose, options.text, sheet=options.sheet)
        if not table.rows:
            raise DataError(
                f"Expected rows below the names of the columns, but {path} has none. "
                "Name a file with at least one row."
            )
        tables.append(table)
        roles.append(found)
        several |= table.counts is None
        counts.update(table.counts or {})
        notes += table.notes
        notes.append(_columns_note(path, found, table.names))
        notes += column_notes(path, table.names, options, found, preferred)
    names: Mapping[str, str | None] = {}
    if counts and not several:
        codes = tables[0].class_names.get(roles[0].get("label", ""))
        names, said = _name_counted(counts, str(files[0]), options, codes, known)
        notes += said
    elif several:
        notes.append("The column of labels has too many values to be labels: none is compared.")
    return TextStream(
        tables=tuple(tables),
        roles=tuple(roles),
        names=names,
        options=options,
        notes=tuple(dict.fromkeys(notes)),
    )


def _name_counted(
    counts: Counter[str],
    source: str,
    options: ReadOptions,
    codes: Mapping[str, str] | None,
    known: Sequence[str],
) -> tuple[Mapping[str, str | None], Sequence[str]]:
    """Return the predictor's name of each label, None where it has none, and notes."""
    named = name_labels(
        counts,
        LabelSource(
            name=source,
            options=_with_names(options, codes),
            known=tuple(known),
            class_codes=bool(codes) or options.label_names is None,
            strict=False,
        ),
    )
    names = {raw: name if name in known else None for raw, name in named.names.items()}
    return names, named.notes


def _with_names(options: ReadOptions, codes: Mapping[str, str] | None) -> ReadOptions:
    if codes is None or options.label_names is not None or options.rating_bins is not None:
        return options
    return replace(options, label_names=codes)


def _columns_note(path: Path, found: Mapping[str, str], names: Sequence[str]) -> str:
    roles = [
        f"{role}s from the column {found[role]!r}" for role in ("text", "label") if role in found
    ]
    kept = [name for name in names if name not in found.values()]
    more = f" and {len(kept) - _SHOWN:,} more" if len(kept) > _SHOWN else ""
    rest = f"; kept: {', '.join(map(repr, kept[:_SHOWN]))}{more}" if kept else ""
    return f"{path.name}: {', '.join(roles)}{rest}."
