"""Labelled rows as token ids: tokenized once, in one array that lies in a file.

Knows nothing about training.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pollice.data.dataset import Dataset
from pollice.models.encoder.reader import Reader, TokenRow
from pollice.system.progress import in_chunks, stage


class TokenTable(Sequence[NDArray[np.int32]]):
    """Rows of token ids of any length, in one array."""

    def __init__(self, values: NDArray[np.int32], lengths: NDArray[np.int64]) -> None:
        self._values = values
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: int) -> NDArray[np.int32]:  # type: ignore[override]  # no slices
        return self._values[self._starts[row] : self._ends[row]]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Labelled rows as token ids: each a text, or a piece of one."""

    tokens: Sequence[TokenRow]
    codes: NDArray[np.int64]
    """``(rows,)``: the number of each row's label."""
    owners: NDArray[np.int64] | None = None
    """``(rows,)``: the text that each row is of, in order; None: each is a text."""
    soft_labels: NDArray[np.float32] | None = None
    """``(rows, labels)``: the probabilities to learn; None: the codes are certain."""

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """``(rows,)``."""
        return np.array([len(tokens) for tokens in self.tokens], np.int64)

    @property
    def texts(self) -> int:
        """How many texts the rows are of."""
        return len(self) if self.owners is None else len(np.unique(self.owners))

    def sha256(self) -> str:
        """Return what tells these rows from all others."""
        digest = hashlib.sha256()
        # The lengths say where rows end: without them, the same ids cut otherwise would look alike.
        digest.update(self.lengths.tobytes() + self.codes.tobytes())
        if self.soft_labels is not None:
            digest.update(self.soft_labels.tobytes())
        for tokens in self.tokens:
            digest.update(np.asarray(tokens, np.int32).tobytes())
        return digest.hexdigest()

    def judge(self, log_probabilities: NDArray[np.float64]) -> tuple[float, float]:
        """Return log loss and accuracy over the texts; the pieces of a text are averaged.

        Args:
            log_probabilities: Of each row and label, ``(rows, labels)``.
        """
        codes, table = self.codes, log_probabilities
        if self.owners is not None:
            # Probabilities are averaged, not their logarithms; -inf is the zero of logaddexp.
            # Every text has a piece and owners are in order: the cumulated counts less 1 are the
            # texts' last rows.
            pieces = np.bincount(self.owners)
            table = np.full((len(pieces), log_probabilities.shape[1]), -np.inf)
            np.logaddexp.at(table, self.owners, log_probabilities)
            table -= np.log(pieces)[:, None]
            codes = codes[np.cumsum(pieces) - 1]
        loss = -table[np.arange(len(codes)), codes].mean()
        return float(loss), float((table.argmax(axis=1) == codes).mean())


def read_rows(
    reader: Reader, dataset: Dataset, folder: Path, description: str, *, chunk_rows: int = 1024
) -> Rows:
    """Tokenize a data set, ``chunk_rows`` texts at a time.

    The ids lie in a nameless file of ``folder``, not in memory.
    """
    lengths: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    owners: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    with (
        tempfile.TemporaryFile(dir=folder) as file,
        stage(description, total=len(dataset)) as advance,
    ):
        start = 0
        for texts in in_chunks(dataset.texts, advance, size=chunk_rows):
            encoded = reader.read(texts)
            np.concatenate(encoded.tokens, dtype=np.int32, casting="unsafe").tofile(file)
            lengths.append(encoded.lengths)
            owners.append(encoded.owners + start)
            start += len(texts)
        file.flush()
        # The mapping outlives the closed file, and a kill -9 leaves nothing, since the file has no
        # name. An empty file cannot be mapped.
        values = np.memmap(file, np.int32, "r") if len(dataset) else np.zeros(0, np.int32)
    numbers = {label: code for code, label in enumerate(dataset.label_names)}
    codes = np.array([numbers[label] for label in dataset.labels], np.int64)
    text_of_row = np.concatenate(owners)
    soft = dataset.soft_labels
    return Rows(
        tokens=TokenTable(values, np.concatenate(lengths)),
        codes=codes[text_of_row],
        owners=text_of_row if len(text_of_row) > len(dataset) else None,
        soft_labels=None if soft is None else np.array(soft, np.float32)[text_of_row],
    )
