"""Parquet -> columns.

Knows nothing about texts or labels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pollice.data.formats.arrow import BROKEN, check_columns, column_values, stored_bytes
from pollice.data.formats.bounds import BYTES_A_VALUE, check_fits
from pollice.data.formats.class_labels import names_in_schema
from pollice.data.formats.columns import Choose, Columns
from pollice.data.formats.contents import read_whole
from pollice.data.formats.lines import open_file
from pollice.data.formats.streamed import StreamedTable, TableBatch, ValueCounts, different_names
from pollice.errors import DataError, counted


def read_parquet(path: Path, choose: Choose) -> Columns:
    """Read columns of a Parquet file.

    Raises:
        DataError: the file is damaged, not in UTF-8, or larger than the memory.
    """
    with open_file(path) as file:
        # Parquet is read from its end, so a compressed one must be unpacked whole.
        plain = path.suffix.lower() == ".parquet"
        source = file if plain else pa.BufferReader(read_whole(path))
        try:
            parquet = pq.ParquetFile(source)
            schema, promised = parquet.schema_arrow, parquet.metadata.num_rows
            chosen = choose(schema.names)
            check_columns(path, schema, chosen)
            # A footer that claims too much is refused before memory is allocated.
            check_fits(path, promised * len(chosen) * BYTES_A_VALUE, promised)
            groups = list(_read_groups(path, source, schema, chosen))
        except BROKEN as error:
            raise _broken_parquet(path, type(error).__name__) from error
    rows = sum(group.num_rows for group in groups)
    if rows != promised:
        raise _broken_parquet(path, f"{counted(rows, 'row')} of {promised:,}")
    return Columns(
        path=path,
        values={
            name: [
                value for group in groups for value in column_values(path, name, group.column(name))
            ]
            for name in chosen
        },
        numbers=range(1, rows + 1),
        unit="row",
        class_names=names_in_schema(schema),
    )


_BUFFER = 2**20
_COUNTED_AT_ONCE = 1024


def stream_parquet(path: Path, choose: Choose) -> StreamedTable:
    """Read a file's columns and counts, so that its rows can be read batch by batch.

    ``choose`` picks the columns whose values are counted.

    Raises:
        DataError: the file is damaged.
    """
    with _opened(path) as parquet:
        schema, rows = parquet.schema_arrow, parquet.metadata.num_rows
    names = different_names(schema.names)
    counts = ValueCounts()
    for chosen in choose(schema.names):
        for batch in _batches(path, [chosen], _COUNTED_AT_ONCE, columns=[chosen]):
            counts.add(path, values_of(path, chosen, batch.columns[chosen]))
    return StreamedTable(
        path=path,
        names=tuple(names),
        rows=rows,
        counts=counts.found,
        read=partial(_batches, path, names),
        class_names=names_in_schema(schema),
        schema=pa.schema([f.with_name(n) for f, n in zip(schema, names, strict=True)]),
    )


def values_of(path: Path, name: str, column: Any) -> list[Any]:
    """Return a column as Python values; dates and times as text, as they are read as labels."""
    values = column_values(path, name, column)
    if pa.types.is_temporal(column.type):
        return [None if value is None else str(value) for value in values]
    return values


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file so that only a little of it is in memory at a time."""
    with open_file(path) as file:
        plain = path.suffix.lower() == ".parquet"
        source = file if plain else pa.BufferReader(read_whole(path))
        try:
            yield pq.ParquetFile(source, buffer_size=_BUFFER, pre_buffer=False)
        except BROKEN as error:
            raise _broken_parquet(path, type(error).__name__) from error


def _batches(
    path: Path, names: Sequence[str], rows: int, *, columns: Sequence[str] | None = None
) -> Iterator[TableBatch]:
    with _opened(path) as parquet:
        batches = parquet.iter_batches(batch_size=rows, columns=columns, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except BROKEN as error:
                raise _broken_parquet(path, type(error).__name__) from error
            if batch is None:
                return
            yield TableBatch(columns=dict(zip(names, batch.columns, strict=True)))


def _read_groups(path: Path, source: Any, schema: Any, chosen: Sequence[str]) -> Iterator[Any]:
    """Yield the row groups; what they hold is counted while they are read.

    The sizes in the footer are not asked for: pyarrow ends the whole process where the
    description of a column is damaged (26.0), but refuses to read it.
    """
    # A long text that is stored once may stand in millions of rows: it stays stored once until
    # its bytes are counted.
    texts = [name for name in chosen if pa.types.is_string(schema.field(name).type)]
    parquet = pq.ParquetFile(source, read_dictionary=texts)
    rows = held = 0
    for number in range(parquet.num_row_groups):
        group = parquet.read_row_group(number, columns=list(chosen))
        rows += group.num_rows
        held += sum(stored_bytes(group.column(name)) for name in chosen)
        check_fits(path, held + rows * len(chosen) * BYTES_A_VALUE, parquet.metadata.num_rows)
        yield group


def _broken_parquet(path: Path, found: str) -> DataError:
    return DataError(
        f"Expected a whole Parquet file, but {path} cannot be read as one ({found}). "
        "Copy or download it again."
    )
