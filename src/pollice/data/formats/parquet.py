"""Parquet -> columns.

Knows nothing about texts or labels.
"""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pollice.data.formats.columns import Choose, Columns
from pollice.data.formats.lines import broken_compression, open_file
from pollice.errors import DataError, counted

_BYTES_A_VALUE = 64  # what the shortest string costs in Python, with its place in a list


def read_parquet(path: Path, choose: Choose) -> Columns:
    """Read columns of a Parquet file.

    Raises:
        DataError: the file is damaged, not in UTF-8, or larger than the memory.
    """
    with open_file(path) as file:
        try:
            # Parquet is read from its end, so a compressed one must be unpacked whole.
            source = file if path.suffix.lower() == ".parquet" else pa.BufferReader(file.read())
        except (OSError, EOFError, zlib.error) as error:
            raise broken_compression(path) from error
        try:
            parquet = pq.ParquetFile(source)
            chosen = choose(parquet.schema_arrow.names)
            _check_fits(path, parquet.metadata, chosen)
            table = parquet.read(columns=list(chosen))
        except (OSError, pa.ArrowException) as error:
            raise _broken_parquet(path, type(error).__name__) from error
    if table.num_rows != parquet.metadata.num_rows:
        raise _broken_parquet(
            path, f"{counted(table.num_rows, 'row')} of {parquet.metadata.num_rows:,}"
        )
    values = {name: _parquet_values(path, name, table.column(name)) for name in chosen}
    return Columns(path=path, values=values, numbers=range(1, table.num_rows + 1), unit="row")


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
    needed = stored + metadata.num_rows * len(chosen) * _BYTES_A_VALUE
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        raise DataError(
            f"Expected a table that fits into the {memory / 2**30:,.1f} GiB of this machine, but "
            f"{path} promises {metadata.num_rows:,} rows and needs {needed / 2**30:,.1f} GiB. "
            "Check the file, or split it."
        )


def _parquet_values(path: Path, name: str, column: Any) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError as error:
        raise DataError(
            f"Expected UTF-8 in the column {name!r} of {path}, but found the byte "
            f"0x{error.object[error.start]:02x}. Write the file again with UTF-8 strings."
        ) from error
    return values
