"""Labelled rows as transformers' Trainer wants them: an order that is drawn, and padding.

Knows nothing about training.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from pollice.models.encoder.reader import Reader
from pollice.models.hugging_face.options import TrainerOptions
from pollice.models.training.peers import Peers
from pollice.models.training.rows import Rows
from pollice.models.training.schedule import Indices, epoch_batches

IGNORED = -100
"""The label of a row that counts for nothing."""


def row_numbers(order: Iterable[int]) -> Dataset:
    """Return row numbers as a data set, which SFTTrainer wants; a collator looks the rows up."""
    return Dataset.from_dict({"row": [int(row) for row in order]})


def longest_first(rows: Rows) -> Indices:
    """Return the order in which batches hold little padding, and memory is at its peak at once."""
    return np.argsort(-rows.lengths, kind="stable")


class Collator:
    """Pads a batch to its longest row."""

    def __init__(self, reader: Reader, rows: Rows) -> None:
        self._reader = reader
        self._rows = rows

    def __call__(self, items: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        """Return ``input_ids``, ``attention_mask`` and ``labels``; for no rows one to be ignored.

        A process whose share of a small step is empty must still take part in it.
        """
        tokens = [self._rows.tokens[item["row"]] for item in items] or [[0]]
        labels = [int(self._rows.codes[item["row"]]) for item in items] or [IGNORED]
        batch = self._reader.pad(tokens, torch.device("cpu"), align=False)
        return {**batch, "labels": torch.tensor(labels)}


class StepSampler(Sampler[list[int]]):
    """Deals each step's rows to processes and micro-batches; drawn from seed and epoch alone."""

    def __init__(self, lengths: NDArray[np.int64], options: TrainerOptions, peers: Peers) -> None:
        self._lengths = lengths
        self._options = options
        self._peers = peers
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Draw an epoch's order."""
        self.steps = self._draw(epoch)
        """For each step its rows, those of all processes."""

    def __len__(self) -> int:
        return len(self.steps) * self._options.gradient_accumulation_steps

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self.steps:
            parts = self._options.gradient_accumulation_steps * self._peers.size
            mine = np.array_split(rows, parts)[self._peers.rank :: self._peers.size]
            yield from (part.tolist() for part in mine)

    def _draw(self, epoch: int) -> list[Indices]:
        size, seed = self._options.batch_size, self._options.seed
        if self._options.group_by_length:
            return epoch_batches(self._lengths, batch_size=size, seed=seed, epoch=epoch)
        order = np.random.default_rng((seed, epoch)).permutation(len(self._lengths))
        return [order[start : start + size] for start in range(0, len(order), size)]

    def tokens(self, step: int) -> int:
        """Return how many tokens a step of this epoch has."""
        return int(self._lengths[self.steps[step]].sum())
