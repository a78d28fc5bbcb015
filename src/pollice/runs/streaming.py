"""`pollice predict`: a saved predictor, files of any size, and an output that goes on after a kill.

Knows nothing about the terminal, and nothing about how a format is read or written.
"""

import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from pollice.catalogue.entries import dataset_names
from pollice.catalogue.hub import HUB_PREFIX
from pollice.data.dataset import TextTable
from pollice.data.folders import list_files
from pollice.data.label_folders import find_texts
from pollice.data.saved_datasets import is_saved_dataset
from pollice.data.streams import RowBatch, find_files, open_stream
from pollice.errors import DataError, PredictionsError, did_you_mean
from pollice.judging.metrics import abstain, check_threshold
from pollice.predictions.answers import OutputColumns, Tally
from pollice.predictions.files import check_output
from pollice.predictions.part_formats import (
    SUFFIXES,
    TEXT_SUFFIXES,
    PartFormat,
    part_format,
)
from pollice.predictions.sheets import check_sheet
from pollice.predictions.stream import Asked, PartsFolder, ReadRows, answer_rows, write_output
from pollice.predictions.table import Predictions
from pollice.runs.cluster import check_cluster, write_output_on_cluster
from pollice.runs.cluster_worker import Shared
from pollice.runs.new_texts import read_new_texts, reading_of
from pollice.runs.predictors import load_predictor
from pollice.system.folders import MANIFEST, probe_space, read_manifest
from pollice.system.hashing import file_sha256

logger = logging.getLogger("pollice")

STANDARD = "-"
"""Stands for standard input and standard output."""
Engine = Literal["local", "ray"]
_VERSION = 1
_BEGINNINGS = ((b"PAR1", ".parquet"), (b"PK", ".xlsx"), (b"{", ".jsonl"))


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How new texts are answered and written."""

    abstain_below: float | None = None
    raw_cells: bool = False
    overwrite: bool = False
    format: str | None = None
    """The ending that says the format of the output, where its name says none."""
    engine: Engine = "local"
    """What judges: this process, or the workers of a Ray cluster."""
    workers: int | None = None
    """How many workers judge with ``ray``; None: as many as the cluster has room for."""

    @property
    def affecting(self) -> dict[str, Any]:
        """Those that change the output's bytes."""
        return {"abstain_below": self.abstain_below, "raw_cells": self.raw_cells}


def check_stream_output(output: str, sources: Sequence[str], options: StreamOptions) -> str:
    """Refuse an output that cannot be written, before anything is read; return its ending.

    Raises:
        PredictionsError: its format is unknown, or it is a folder or one of the sources.
        OptionError: the threshold is no probability, or the engine is not installed.
    """
    check_threshold(options.abstain_below)
    if options.engine == "ray":
        check_cluster(output)
    if output == STANDARD:
        return _standard_format(sources, options)
    path = Path(output)
    check_output(path, *sources, suffixes=SUFFIXES, suffix=options.format)
    suffix = options.format or path.suffix
    check_sheet(suffix)
    PartsFolder(path, suffix).check_new(overwrite=options.overwrite)
    return suffix


def _standard_format(sources: Sequence[str], options: StreamOptions) -> str:
    found = options.format or (Path(sources[0]).suffix if len(sources) == 1 else "")
    suffix = found if options.format or found in TEXT_SUFFIXES else ".csv"
    if suffix not in TEXT_SUFFIXES:
        raise PredictionsError(
            f"Expected one of {', '.join(TEXT_SUFFIXES)} for standard output, but found "
            f"{suffix!r}. Name a file as output, or another format."
        )
    return suffix


@dataclass(frozen=True, kw_only=True)
class NewRows:
    """The rows to answer, wherever they come from."""

    read: ReadRows
    rows: int
    columns: tuple[str, ...]
    schema: Any
    own_id: bool
    """Whether the column named ``id`` holds the ids."""
    with_gold: bool
    files: tuple[Path, ...]
    """What the rows were read from; none where that is no file of a table."""


def predict_files(
    folder: Path,
    sources: Sequence[str],
    output: str,
    options: StreamOptions,
    given: Mapping[str, Any],
) -> Tally:
    """Answer every row of files, folders or ``-``, and write it with its answer.

    Args:
        folder: A saved predictor.
        sources: Tables, folders of tables, a name of the catalogue, or ``-``.
        output: A file, or ``-``.
        options: How to answer and write.
        given: Options of `ReadOptions` that differ from those of training.

    Raises:
        DataError: a source cannot be read.
        RunError: the folder holds no predictor.
        PredictionsError: the output exists, or cannot hold what is to be written.
        MachineError: the system refuses the output; finished parts are kept.
    """
    suffix = check_stream_output(output, sources, options)
    manifest = read_manifest(folder)
    label_names = tuple(map(str, manifest.get("label_names", ())))
    with _files_of(sources) as named:
        rows = open_rows(folder, named, given)
        columns = OutputColumns(
            given=rows.columns,
            label_names=label_names,
            own_id=rows.own_id,
            with_gold=rows.with_gold,
        )
        form = part_format(suffix, columns, rows.schema, rows.rows, raw_cells=options.raw_cells)
        if output == STANDARD:
            asked = _asked(folder, columns, rows, options)
            return _write_standard(asked, rows, form)
        parts = PartsFolder(Path(output), form.suffix)
        reading = [[name, repr(given[name])] for name in sorted(given)]
        said = {
            "version": _VERSION,
            "input": _identity(rows),
            "predictor": file_sha256(folder / MANIFEST),
            "options": {**options.affecting, "reading": reading},
            "columns": list(columns.names),
        }
        done = parts.prepare(said, overwrite=options.overwrite)
        if done:
            logger.info(f"{parts.path}: {done:,} rows are done already, and are not judged again.")
        _check_room(Path(output), rows, len(label_names), done)
        if options.engine == "ray":
            shared = Shared.of(folder, parts, columns, form, options.abstain_below)
            return write_output_on_cluster(
                shared, parts, rows.read, total=rows.rows, workers=options.workers
            )
        return write_output(_asked(folder, columns, rows, options), rows.read, form, parts)


def _asked(folder: Path, columns: OutputColumns, rows: NewRows, options: StreamOptions) -> Asked:
    def choose(judged: Predictions) -> Sequence[str | None]:
        return abstain(judged, options.abstain_below).predicted

    return Asked(predictor=load_predictor(folder), choose=choose, columns=columns, total=rows.rows)


def _identity(rows: NewRows) -> Any:
    if rows.files:
        return [[path.name, path.stat().st_size, file_sha256(path)] for path in rows.files]
    return [["rows", rows.rows]]


def _check_room(output: Path, rows: NewRows, labels: int, done: int) -> None:
    """Refuse a disk without room for the parts and the output that they are joined to."""
    size = sum(path.stat().st_size for path in rows.files)
    added = rows.rows * (40 + 9 * labels)
    left = 1 - done / max(1, rows.rows)
    probe_space(output, int((size + added) * (1 + left)))


def _write_standard(asked: Asked, rows: NewRows, form: PartFormat) -> Tally:
    # The stream as the system gave it: a table is not for a terminal, and must not be altered.
    file = cast(BinaryIO, getattr(sys.__stdout__, "buffer", None))
    header = getattr(form, "header", str)()
    file.write(header.encode("utf-8"))
    writer = form.open(file)
    tally = Tally()
    for counts in answer_rows(asked, rows.read, lambda batch, _: writer.add(batch), iter(())):
        tally = counts
        file.flush()
    writer.close()
    file.flush()
    return tally


@contextmanager
def _files_of(sources: Sequence[str]) -> Iterator[list[str]]:
    """Write standard input to a temporary file: how a table is written shows only at its end."""
    if STANDARD not in sources:
        yield list(sources)
        return
    if len(sources) > 1:
        raise DataError(
            f"Expected {STANDARD} alone as input, but found {' '.join(sources)}. Give files or "
            "standard input, not both."
        )
    with tempfile.TemporaryDirectory() as home:
        spooled = Path(home) / "input"
        with spooled.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file, 2**20)
        with spooled.open("rb") as file:
            head = file.read(4096).lstrip(b"\xef\xbb\xbf \r\n")
        suffix = next((end for mark, end in _BEGINNINGS if head.startswith(mark)), ".csv")
        named = spooled.rename(spooled.with_name(f"standard-input{suffix}"))
        yield [str(named)]


def open_rows(folder: Path, sources: Sequence[str], given: Mapping[str, Any]) -> NewRows:
    """Look through the sources, read as a predictor's training texts were.

    Raises:
        DataError: a source cannot be read.
        OptionError: there is no such option of reading.
    """
    paths = [Path(source) for source in sources]
    if len(sources) == 1 and not _is_streamed(sources[0]):
        return _whole(read_new_texts(folder, sources[0], given))
    for path, source in zip(paths, sources, strict=True):
        if not source or not path.exists():
            raise DataError(
                "Expected a file, a folder, hub:owner/name@revision or a data set of the "
                f"catalogue, but there is no {source!r}. Check the name."
                f"{did_you_mean(str(path), dataset_names())}"
            )
    known, options, preferred, notes = reading_of(folder, given)
    files, beside = find_files(paths)
    stream = open_stream(files, options, known=known, preferred=preferred)
    for note in (*notes, *beside, *stream.notes):
        logger.info(note)
    return NewRows(
        read=stream.batches,
        rows=stream.rows,
        columns=stream.columns,
        schema=stream.schema,
        own_id=all(role.get("id") == "id" for role in stream.roles),
        with_gold=stream.has_gold,
        files=files,
    )


def _is_streamed(source: str) -> bool:
    """Tell whether a source is tables; the catalogue, the Hub and folders of texts are not."""
    path = Path(source)
    if not source or not path.exists() or source.startswith(HUB_PREFIX):
        return False
    if not path.is_dir():
        return True
    return not is_saved_dataset(path) and not find_texts(list_files(path))[0]


def _whole(table: TextTable) -> NewRows:
    def read(rows: int) -> Iterator[RowBatch]:
        for start in range(0, len(table), rows):
            part = slice(start, start + rows)
            yield RowBatch(
                columns={"id": table.ids[part], "text": table.texts[part]},
                ids=table.ids[part],
                texts=table.texts[part],
                gold=None if table.gold is None else table.gold[part],
                problems={},
            )

    return NewRows(
        read=read,
        rows=len(table),
        columns=("id", "text"),
        schema=None,
        own_id=True,
        with_gold=table.gold is not None,
        files=(),
    )
