"""Arrow and Feather files -> columns.

Knows nothing about texts or labels.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pollice.data.formats.bounds import BYTES_A_VALUE, check_fits
from pollice.data.formats.class_labels import names_in_schema
from pollice.data.formats.columns import Choose, Columns
from pollice.data.formats.contents import read_whole
from pollice.errors import DataError

# Damage shows as one of these, depending on where the first wrong byte is.
BROKEN: tuple[type[BaseException], ...] = (
    *(OSError, ValueError, LookupError, TypeError, ArithmeticError),
    *(NotImplementedError, MemoryError, pa.ArrowException),
)

_ROWS_AT_ONCE = 10_000


def read_arrow(path: Path, choose: Choose) -> Columns:
    """Read columns of an Arrow file or stream, which Feather files are as well.

    Raises:
        DataError: the file is damaged, not in UTF-8, or larger than the memory.
    """
    source = _source(path)
    try:
        schema = _open(source, None).schema
    except BROKEN as error:
        raise _broken(path, error) from error
    chosen = choose(schema.names)
    check_columns(path, schema, chosen)
    values: dict[str, list[Any]] = {name: [] for name in chosen}
    rows = held = 0
    try:
        for batch in _batches(source, [schema.get_field_index(name) for name in chosen]):
            # Without this, offsets that point outside the file would be followed.
            batch.validate(full=True)
            rows += batch.num_rows
            held += sum(stored_bytes(batch.column(name)) for name in chosen)
            check_fits(path, held + BYTES_A_VALUE * rows * len(chosen), rows)
            for name in chosen:
                values[name] += column_values(path, name, batch.column(name))
    except BROKEN as error:
        raise _broken(path, error) from error
    return Columns(
        path=path,
        values=values,
        numbers=range(1, rows + 1),
        unit="row",
        class_names=names_in_schema(schema),
    )


def check_columns(path: Path, schema: Any, chosen: Sequence[str]) -> None:
    """Refuse columns of lists or objects.

    Raises:
        DataError: a chosen column holds such.
    """
    for name in chosen:
        kind = schema.field(name).type
        # A list of labels is read, as in JSON; where a text should be, it is refused by its row.
        if _is_list(kind) and not pa.types.is_nested(kind.value_type):
            continue
        if pa.types.is_nested(kind) or pa.types.is_run_end_encoded(kind):
            raise DataError(
                f"Expected text or a number in the column {name!r} of {path}, but it holds "
                f"{kind}. Name another column."
            )


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def stored_bytes(column: Any) -> int:
    """Return the bytes of a column's values, those of a repeated value every time."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return sum(map(_stored_bytes, chunks))


def _stored_bytes(array: Any) -> int:
    if not pa.types.is_dictionary(array.type):
        return int(array.nbytes)
    kind = array.type.value_type
    if not (pa.types.is_binary(kind) or pa.types.is_string(kind) or _is_large(kind)):
        return 0
    lengths = pc.binary_length(array.dictionary)
    return int(pc.sum(pc.take(lengths, array.indices)).as_py() or 0)


def _is_large(kind: Any) -> bool:
    return bool(pa.types.is_large_string(kind) or pa.types.is_large_binary(kind))


def column_values(path: Path, name: str, column: Any) -> list[Any]:
    """Return a column as Python values.

    Raises:
        DataError: it is not UTF-8.
    """
    values: list[Any] = []
    try:
        for start in range(0, len(column), _ROWS_AT_ONCE):
            part = column.slice(start, _ROWS_AT_ONCE)
            if pa.types.is_dictionary(part.type):
                part = part.cast(part.type.value_type)
            if pa.types.is_timestamp(part.type) and part.type.unit == "ns":
                part = part.cast(pa.timestamp("us", part.type.tz), safe=False)
            values += part.to_pylist()
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            return _decoded(values)
    except UnicodeDecodeError as error:
        raise DataError(
            f"Expected UTF-8 in the column {name!r} of {path}, but found the byte "
            f"0x{error.object[error.start]:02x}. Write the file again with UTF-8 strings."
        ) from error
    return values


def _decoded(values: list[Any]) -> list[Any]:
    """Return bytes as text if all are: some programs write no strings into Parquet, only bytes."""
    try:
        return [None if value is None else value.decode() for value in values]
    except UnicodeDecodeError:  # pictures and the like, which nobody may have asked for
        return values


def _source(path: Path) -> Any:
    if path.suffix.lower() in (".gz", ".bz2", ".zip"):
        return pa.BufferReader(read_whole(path))
    try:
        # Only the pages that are asked for are read.
        return pa.memory_map(str(path)) if path.stat().st_size else pa.BufferReader(b"")
    except OSError as error:
        raise DataError(
            f"Expected a file that can be read, but {path} cannot be opened "
            f"({error.strerror or type(error).__name__}). Check its name and its permissions."
        ) from error


def _open(source: Any, fields: Sequence[int] | None) -> Any:
    """Open a file, or the stream that ``datasets`` writes."""
    options = pa.ipc.IpcReadOptions(included_fields=list(fields) if fields is not None else None)
    source.seek(0)
    if source.read(6) == b"ARROW1":
        return pa.ipc.open_file(source, options=options)
    source.seek(0)
    return pa.ipc.open_stream(source, options=options)


def _batches(source: Any, fields: Sequence[int]) -> Iterator[Any]:
    reader = _open(source, fields)
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        yield from reader


def _broken(path: Path, error: BaseException) -> DataError:
    return DataError(
        f"Expected a whole Arrow file, but {path} cannot be read as one "
        f"({type(error).__name__}). Copy or download it again."
    )
