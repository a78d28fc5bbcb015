"""Training an encoder with a classification head: the loop, its options and its log.

Knows nothing about data sets: rows come as token ids and label codes.
"""

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from pollice.errors import TrainingError
from pollice.method import OPTIONS
from pollice.models.batching import length_batches
from pollice.models.encoder import Reader
from pollice.models.options import ReadingOptions
from pollice.progress import stage

_WINDOW_BATCHES = 16  # batches are cut from this many batches' rows, sorted by length


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class TrainingOptions(ReadingOptions):
    """Options of every method that trains an encoder."""

    checkpoint: str = "minilm"
    """A catalogue name, a folder, or hub:owner/name@revision."""
    epochs: int = Field(default=3, ge=1)
    """How often every training row is seen; the best epoch by validation log loss is kept."""
    learning_rate: float = Field(default=5e-5, gt=0, le=1)
    """The highest rate; it rises during warm-up, then falls linearly to 0."""
    batch_size: int = Field(default=16, ge=1)
    """Rows of a training step."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decay, not on biases and norms."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """The share of the steps during which the learning rate rises."""
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of attention weights; above 0 the fused attention kernels cannot be used."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients longer than this are scaled down to it."""
    seed: int = 0
    """Draws the new head, the order of rows and dropout."""


@plain_dataclass(frozen=True, kw_only=True)
class Rows:
    """Labelled rows as token ids."""

    tokens: Sequence[Sequence[int]]
    codes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.codes)


class Trainer:
    """Trains a classifier on token ids; the weights of the best epoch stay in the model."""

    def __init__(
        self,
        model: PreTrainedModel,
        reader: Reader,
        options: TrainingOptions,
        dtype: torch.dtype,
    ) -> None:
        self._model = model
        self._reader = reader
        self._options = options
        self._dtype = dtype
        self._optimizer = torch.optim.AdamW(
            _parameter_groups(model, options.weight_decay), lr=options.learning_rate, fused=True
        )

    def train(self, train: Rows, validation: Rows, log_path: Path) -> None:
        """Run all epochs, log every step, and end with the best epoch's weights.

        Raises:
            TrainingError: the loss is no longer a finite number.
        """
        options = self._options
        steps = options.epochs * math.ceil(len(train) / options.batch_size)
        schedule = LambdaLR(self._optimizer, _linear(round(options.warmup * steps), steps))
        best_loss, best_weights = math.inf, None
        with (
            log_path.open("w", encoding="utf-8") as log,
            stage("training", total=options.epochs * len(train)) as advance,
        ):
            journal = _Journal(log)
            for epoch in range(options.epochs):
                right = 0
                for number, rows in enumerate(self._batches(train, epoch)):
                    loss, grad_norm, correct = self._step(train, rows)
                    right += correct
                    journal.step(
                        epoch=epoch + min(1.0, (number + 1) * options.batch_size / len(train)),
                        loss=loss,
                        learning_rate=float(schedule.get_last_lr()[0]),
                        grad_norm=grad_norm,
                        tokens=sum(len(train.tokens[row]) for row in rows),
                    )
                    schedule.step()
                    advance(len(rows))
                facts = {"train_accuracy": right / len(train)}
                if len(validation):
                    facts |= self._judge(validation)
                    if facts["validation_loss"] < best_loss:
                        best_loss = facts["validation_loss"]
                        best_weights = _copied(self._model)
                journal.epoch(epoch + 1, facts)
        if best_weights is not None:
            self._model.load_state_dict(best_weights)
        self._model.eval()

    def _step(self, train: Rows, rows: NDArray[np.int64]) -> tuple[float, float, int]:
        """Take one step; return the loss, the gradient norm and how many rows were right."""
        self._model.train()
        codes = torch.from_numpy(train.codes[rows]).to(self._model.device)
        logits = self._logits([train.tokens[row] for row in rows])
        loss = nn.functional.cross_entropy(logits, codes)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"The loss became {loss.item()} at learning_rate "
                f"{self._options.learning_rate}: training has diverged. Lower learning_rate."
            )
        loss.backward()
        grad_norm = nn.utils.clip_grad_norm_(self._model.parameters(), self._options.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss.item(), float(grad_norm), int((logits.argmax(dim=-1) == codes).sum())

    def _logits(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        batch = self._reader.pad(tokens, self._model.device, align=False)
        with torch.autocast(
            self._model.device.type, self._dtype, enabled=self._dtype != torch.float32
        ):
            logits: Tensor = self._model(**batch).logits
        return logits.float()

    def _batches(self, train: Rows, epoch: int) -> Iterator[NDArray[np.int64]]:
        """Yield the epoch's batches: rows of like length together, in random order."""
        generator = np.random.default_rng((self._options.seed, epoch))
        lengths = np.array([len(tokens) for tokens in train.tokens])
        order = generator.permutation(len(train))
        size = self._options.batch_size
        batches = []
        for start in range(0, len(order), size * _WINDOW_BATCHES):
            window = order[start : start + size * _WINDOW_BATCHES]
            window = window[np.argsort(lengths[window], kind="stable")]
            batches += [window[at : at + size] for at in range(0, len(window), size)]
        for number in generator.permutation(len(batches)):
            yield batches[number]

    @torch.no_grad()
    def _judge(self, rows: Rows) -> dict[str, float]:
        self._model.eval()
        loss, right = 0.0, 0
        lengths = [len(tokens) for tokens in rows.tokens]
        for batch in length_batches(lengths, batch_tokens=self._options.batch_tokens):
            codes = torch.from_numpy(rows.codes[batch]).to(self._model.device)
            logits = self._logits([rows.tokens[row] for row in batch])
            loss += nn.functional.cross_entropy(logits, codes, reduction="sum").item()
            right += int((logits.argmax(dim=-1) == codes).sum())
        return {"validation_loss": loss / len(rows), "validation_accuracy": right / len(rows)}


class _Journal:
    """training.jsonl: a line for each step, and one for each epoch."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._start = time.perf_counter()
        self._last = self._start
        self._steps = 0

    def step(self, *, tokens: int, **facts: float) -> None:
        now = time.perf_counter()
        self._steps += 1
        self._write(
            step=self._steps,
            **facts,
            seconds=now - self._start,
            tokens_per_second=tokens / max(now - self._last, 1e-9),
        )
        self._last = now

    def epoch(self, epoch: int, facts: dict[str, float]) -> None:
        self._write(step=self._steps, epoch=epoch, **facts)
        self._last = time.perf_counter()

    def _write(self, **row: Any) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the optimizer's groups: vectors (biases and norms) are never decayed."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def _linear(warmup: int, steps: int) -> Any:
    """Return the share of the highest rate at a step: up during warm-up, then down to 0."""

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return max(0.0, (steps - step) / max(1, steps - warmup))

    return share


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
