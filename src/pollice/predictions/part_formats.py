"""Parts of an output in the format of its name: written row by row, read again, and joined.

Knows nothing about predictors, and nothing about which rows are in a part.
"""

import csv
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pollice.predictions.answers import Answer, OutputColumns
from pollice.predictions.cells import disarm, rearm
from pollice.predictions.foreign_columns import COLUMN
from pollice.predictions.sheets import check_cells, check_sheet, write_sheet

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".xlsx")
TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl")
_ROWS_A_GROUP = 4096
_DIGITS = 6


class PartWriter(Protocol):
    """Writes one part."""

    def add(self, batch: Mapping[str, Any]) -> None:
        """Write rows: of each column of the output a list, or an array of Arrow."""

    def close(self) -> None:
        """Write what is left."""


class PartFormat(Protocol):
    """How the parts of an output are written, read again and joined."""

    @property
    def suffix(self) -> str:
        """The ending of a part."""

    def open(self, file: BinaryIO) -> PartWriter:
        """Begin a part."""

    def answers(self, path: Path) -> Iterator[Answer | None]:
        """Yield the answers of a part's rows, as they were before they were written."""

    def join(self, parts: Sequence[Path], output: Path) -> None:
        """Write the whole output."""


def part_format(
    suffix: str, columns: OutputColumns, schema: Any, rows: int, *, raw_cells: bool
) -> PartFormat:
    """Return the format of an ending.

    Args:
        suffix: One of `SUFFIXES`.
        columns: What is written.
        schema: The types of the input's columns in Arrow; None where they have none.
        rows: How many rows will be written.
        raw_cells: Whether cells stay that a spreadsheet takes for formulas.

    Raises:
        PredictionsError: a spreadsheet cannot hold so many rows, or its extra is not installed.
    """
    if suffix == ".jsonl":
        return JsonParts(columns=columns)
    if suffix in TEXT_SUFFIXES:
        return CellParts(columns=columns, suffix=suffix, raw_cells=raw_cells)
    if suffix == ".parquet":
        return ParquetParts(columns=columns, schema=_schema(columns, schema))
    check_sheet(suffix, rows)
    return SheetParts(columns=columns, schema=_schema(columns, schema))


def plain_values(column: Any) -> list[Any]:
    """Return a column as Python values; dates and times as text."""
    if not isinstance(column, pa.Array | pa.ChunkedArray):
        return list(column)
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.string())
    return list(column.to_pylist())


def _answer(label: str | None, probabilities: Sequence[Any], tokens: Any, cut: bool) -> Answer:
    return Answer(label or None, tuple(map(float, probabilities)), int(tokens), cut)


def _rounded(columns: OutputColumns, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
    values = {name: plain_values(batch[name]) for name in columns.names}
    for name in columns.answered:
        if name.startswith("probability"):
            values[name] = [p if p is None else round(p, _DIGITS) for p in values[name]]
    return values


def _append(parts: Sequence[Path], file: BinaryIO) -> None:
    for part in parts:
        with part.open("rb") as source:
            shutil.copyfileobj(source, file, 2**20)


@dataclass(frozen=True, kw_only=True)
class CellParts:
    """CSV and TSV: a part has no header."""

    columns: OutputColumns
    suffix: str
    raw_cells: bool

    @property
    def _separator(self) -> str:
        return "," if self.suffix == ".csv" else "\t"

    def header(self) -> str:
        """Return the line of names."""
        text = _Lines()
        names = [_cell(name, self.raw_cells) for name in self.columns.names]
        csv.writer(text, delimiter=self._separator).writerow(names)
        return text.lines[0]

    def open(self, file: BinaryIO) -> PartWriter:
        """Begin a part."""
        return _CellWriter(self, file, self._separator)

    def answers(self, path: Path) -> Iterator[Answer | None]:
        """Yield the answers of a part's rows."""
        width = len(self.columns.answered)
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file, delimiter=self._separator):
                label, _, *probabilities, tokens, cut, _ = row[-width:]
                label = label if self.raw_cells else rearm(label)
                told = bool(probabilities[0])
                yield _answer(label, probabilities, tokens, cut == "True") if told else None

    def join(self, parts: Sequence[Path], output: Path) -> None:
        """Write the header and all parts."""
        with output.open("wb") as file:
            file.write(self.header().encode("utf-8"))
            _append(parts, file)


class _Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> int:
        self.lines.append(line)
        return len(line)


class _CellWriter:
    def __init__(self, parts: CellParts, file: BinaryIO, separator: str) -> None:
        self._parts = parts
        self._text = TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
        self._rows = csv.writer(self._text, delimiter=separator)

    def add(self, batch: Mapping[str, Any]) -> None:
        values = _rounded(self._parts.columns, batch)
        for name, column in values.items():
            values[name] = [_cell(value, self._parts.raw_cells) for value in column]
        self._rows.writerows(zip(*values.values(), strict=True))

    def close(self) -> None:
        self._text.flush()
        self._text.detach()


def _cell(value: Any, raw: bool) -> Any:
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return disarm(value) if isinstance(value, str) and not raw else value


@dataclass(frozen=True, kw_only=True)
class JsonParts:
    """JSON Lines."""

    columns: OutputColumns
    suffix: str = ".jsonl"

    def header(self) -> str:
        """Return nothing: every line has its names."""
        return ""

    def open(self, file: BinaryIO) -> PartWriter:
        """Begin a part."""
        return _JsonWriter(self.columns, file)

    def answers(self, path: Path) -> Iterator[Answer | None]:
        """Yield the answers of a part's rows."""
        names = [f"{COLUMN}{name}" for name in self.columns.label_names]
        with path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                row = json.loads(line)
                found = [row[name] for name in names]
                told = found[0] is not None
                cut = row["truncated"]
                yield _answer(row["label"], found, row["tokens"], cut) if told else None

    def join(self, parts: Sequence[Path], output: Path) -> None:
        """Write all parts."""
        with output.open("wb") as file:
            _append(parts, file)


class _JsonWriter:
    def __init__(self, columns: OutputColumns, file: BinaryIO) -> None:
        self._columns = columns
        self._file = file

    def add(self, batch: Mapping[str, Any]) -> None:
        values = _rounded(self._columns, batch)
        names = list(values)
        for row in zip(*values.values(), strict=True):
            record = {name: _not_nan(value) for name, value in zip(names, row, strict=True)}
            line = json.dumps(record, ensure_ascii=False, default=str)
            self._file.write(line.encode("utf-8", "replace") + b"\n")

    def close(self) -> None:
        self._file.flush()


def _not_nan(value: Any) -> Any:
    """Return a value that JSON has: of numbers, it has neither NaN nor infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _schema(columns: OutputColumns, given: Any) -> Any:
    """Return the types of the output: those of the input, else text."""
    kinds = {name: pa.string() for name in columns.names}
    for name, shown in columns.kept.items():
        if given is not None:
            kinds[shown] = given.field(name).type
    kinds |= {name: pa.float64() for name in columns.answered if name.startswith("probability")}
    kinds |= {"tokens": pa.int64(), "truncated": pa.bool_()}
    return pa.schema([(name, kinds[name]) for name in columns.names])


@dataclass(frozen=True, kw_only=True)
class ParquetParts:
    """Parquet: the groups of rows in the output are of one size, whatever the parts are."""

    columns: OutputColumns
    schema: Any
    suffix: str = ".parquet"

    def open(self, file: BinaryIO) -> PartWriter:
        """Begin a part."""
        return _ParquetWriter(self.schema, file)

    def answers(self, path: Path) -> Iterator[Answer | None]:
        """Yield the answers of a part's rows."""
        names = [f"{COLUMN}{name}" for name in self.columns.label_names]
        wanted = ["label", *names, "tokens", "truncated"]
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(batch_size=_ROWS_A_GROUP, columns=wanted):
                columns = [batch.column(name).to_pylist() for name in wanted]
                for label, *found, tokens, cut in zip(*columns, strict=True):
                    told = found[0] == found[0]  # NaN alone differs from itself
                    yield _answer(label, found, tokens, cut) if told else None

    def join(self, parts: Sequence[Path], output: Path) -> None:
        """Write all rows again in groups of one size."""
        with output.open("wb") as file:
            writer = _ParquetWriter(self.schema, file)
            for table in _tables(parts):
                writer.add_table(table)
            writer.close()


def _tables(parts: Sequence[Path]) -> Iterator[Any]:
    for part in parts:
        with pq.ParquetFile(part, buffer_size=2**20, pre_buffer=False) as parquet:
            for batch in parquet.iter_batches(batch_size=_ROWS_A_GROUP, use_threads=False):
                yield pa.Table.from_batches([batch])


class _ParquetWriter:
    def __init__(self, schema: Any, file: BinaryIO) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._waiting: list[Any] = []
        self._rows = 0

    def add(self, batch: Mapping[str, Any]) -> None:
        arrays = [_array(batch[field.name], field) for field in self._schema]
        self.add_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def add_table(self, table: Any) -> None:
        self._waiting.append(table.cast(self._schema))
        self._rows += table.num_rows
        while self._rows >= _ROWS_A_GROUP:
            waiting = pa.concat_tables(self._waiting)
            # In one piece: pages end where pieces do, and these end where parts did.
            self._writer.write_table(waiting.slice(0, _ROWS_A_GROUP).combine_chunks())
            rest = waiting.slice(_ROWS_A_GROUP)
            self._waiting, self._rows = [rest], rest.num_rows

    def close(self) -> None:
        if self._rows:
            self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks())
        self._writer.close()


def _array(column: Any, field: Any) -> Any:
    if isinstance(column, pa.Array) and column.type == field.type:
        return column
    values = plain_values(column)
    if pa.types.is_string(field.type):
        values = [_text(value) for value in values]
    elif field.name.startswith("probability"):
        # As in the predictions table: no answer is NaN.
        values = [float("nan") if value is None else value for value in values]
    return pa.array(values, field.type)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else value.encode("utf-8", "replace").decode("utf-8")
    return json.dumps(value, ensure_ascii=False, default=str)


@dataclass(frozen=True, kw_only=True)
class SheetParts(ParquetParts):
    """A spreadsheet: its parts are Parquet."""

    suffix: str = ".parquet"

    def open(self, file: BinaryIO) -> PartWriter:
        """Begin a part."""
        return _SheetWriter(self.schema, file)

    def join(self, parts: Sequence[Path], output: Path) -> None:
        """Write one sheet, row by row; the same rows give the same bytes."""
        rows = (
            [_cell(value, True) for value in row]
            for table in _tables(parts)
            for row in zip(*(plain_values(column) for column in table.columns), strict=True)
        )
        write_sheet(self.columns.names, rows, output)


class _SheetWriter(_ParquetWriter):
    def add(self, batch: Mapping[str, Any]) -> None:
        for name, column in batch.items():
            check_cells(name, plain_values(column))
        super().add(batch)
