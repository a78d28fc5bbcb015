"""Parquet -> columns.

Knows nothing about texts or labels.
"""

from collections.abc import Sequence
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
from pollice.errors import DataError


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
            schema = parquet.schema_arrow
            chosen = choose(schema.names)
            check_columns(path, schema, chosen)
            _check_fits(path, parquet.metadata, chosen)
            # A long text that is stored once may stand in millions of rows: it stays stored once
            # until its bytes are counted.
            texts = [name for name in chosen if pa.types.is_string(schema.field(name).type)]
            table = pq.ParquetFile(source, read_dictionary=texts).read(columns=list(chosen))
            held = sum(stored_bytes(table.column(name)) for name in chosen)
        except BROKEN as error:
            raise _broken_parquet(path, type(error).__name__) from error
    if table.num_rows != parquet.metadata.num_rows:
        raise _broken_parquet(path, f"{table.num_rows} rows of {parquet.metadata.num_rows}")
    check_fits(path, held + table.num_rows * len(chosen) * BYTES_A_VALUE, table.num_rows)
    return Columns(
        path=path,
        values={name: column_values(path, name, table.column(name)) for name in chosen},
        numbers=range(1, table.num_rows + 1),
        unit="row",
        class_names=names_in_schema(schema),
    )


def _broken_parquet(path: Path, found: str) -> DataError:
    return DataError(
        f"Expected a whole Parquet file, but {path} cannot be read as one ({found}). "
        "Copy or download it again."
    )


def _check_fits(path: Path, metadata: Any, chosen: Sequence[str]) -> None:
    """Refuse a footer that claims too much, before memory is allocated."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    parts = [group.column(column) for group in groups for column in range(group.num_columns)]
    stored = sum(
        part.total_uncompressed_size
        for part in parts
        # A nested column is stored as a.b.c. A name that itself has a dot is not counted, so
        # the check may be too mild, but it refuses no good file for that.
        if part.path_in_schema.partition(".")[0] in chosen
    )
    needed = stored + metadata.num_rows * len(chosen) * BYTES_A_VALUE
    check_fits(path, needed, metadata.num_rows)
