"""What our own loop learns and is judged by: a step's loss, and the loss of validation rows.

Knows nothing about optimizers, epochs and resume points.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from pollice.models.batching import length_batches
from pollice.models.pretrained.devices import resolve_dtype
from pollice.models.training.job import Job
from pollice.models.training.options import Select, TrainingOptions
from pollice.models.training.peers import Peers
from pollice.models.training.rows import Rows
from pollice.models.training.schedule import Indices
from pollice.models.training.temperature import find_temperature, tempered


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How well an epoch's weights judge the validation rows."""

    loss: float
    accuracy: float
    temperature: float | None = None
    """The one that makes the probabilities best; None: it was not looked for."""
    tempered_loss: float | None = None
    """The loss at that temperature."""

    @property
    def facts(self) -> dict[str, float]:
        """Its numbers by their names in training.jsonl."""
        facts = {"validation_loss": self.loss, "validation_accuracy": self.accuracy}
        if self.temperature is not None and self.tempered_loss is not None:
            facts["temperature"] = self.temperature
            facts["validation_tempered_loss"] = self.tempered_loss
        return facts

    def rank(self, select: Select) -> tuple[float, float]:
        """Return what tells the best epoch: less is better."""
        # Raw log loss would choose an early epoch, since later ones are surer than they are right;
        # what the temperature leaves of it says how well the labels are told apart.
        loss = self.loss if self.tempered_loss is None else self.tempered_loss
        wrong = -self.accuracy
        return (loss, wrong) if select == "log_loss" else (wrong, loss)


class Objective:
    """The loss of training rows with its gradients, and the judgement of validation rows."""

    def __init__(self, model: PreTrainedModel, job: Job[TrainingOptions], peers: Peers) -> None:
        self._model = model
        self._job = job
        self._peers = peers
        # dynamic: passes have many lengths, and a graph for each would be compiled anew.
        self._forward: Any = torch.compile(model, dynamic=True) if job.options.compile else model
        self._dtype = resolve_dtype(job.options.dtype, model.device)
        labels = model.config.num_labels or 0
        weights = _label_weights(job.train.codes, labels, balanced=job.options.class_weights)
        self._label_weights = torch.from_numpy(weights).to(model.device)
        self._row_weights = weights[job.train.codes]

    def add_gradients(self, passes: Sequence[Indices], rows: Indices) -> Tensor:
        """Add a step's gradients to those that the weights hold.

        Args:
            passes: This process's training rows, as they go through the model together.
            rows: The step's rows of all processes: the loss is divided by their weight, so that
                neither passes nor processes change it.

        Returns:
            ``(2,)``: this process's share of the step's mean loss, and how many of its rows are
            judged right.
        """
        self._model.train()
        total_weight = float(self._row_weights[rows].sum())
        sums = torch.zeros(2, device=self._model.device)
        for numbers in passes:
            codes = torch.from_numpy(self._job.train.codes[numbers]).to(self._model.device)
            logits = self._logits(self._job.train, numbers)
            soft = self._job.train.soft_labels
            loss = nn.functional.cross_entropy(
                logits,
                codes if soft is None else torch.from_numpy(soft[numbers]).to(logits.device),
                weight=self._label_weights,
                reduction="sum",
                label_smoothing=self._job.options.label_smoothing,
            )
            # Peers add gradients up and do not average them: the divisor is that of all.
            (loss / total_weight).backward()
            right = (logits.argmax(dim=-1) == codes).sum()
            sums += torch.stack([loss.detach() / total_weight, right])
        return sums

    def judge_validation(self, between_batches: Callable[[], None]) -> Judgement | None:
        """Judge the validation rows, of which each process reads its share; None: there are none.

        Args:
            between_batches: Called before every batch, by all processes at the same time.
        """
        rows = self._job.validation
        if not len(rows):
            return None
        table = self._log_probabilities(rows, between_batches)
        loss, accuracy = rows.judge(table)
        if not self._job.options.temperature:
            return Judgement(loss=loss, accuracy=accuracy)
        temperature = find_temperature(rows, table)
        tempered_loss, _ = rows.judge(tempered(table, temperature))
        return Judgement(
            loss=loss, accuracy=accuracy, temperature=temperature, tempered_loss=tempered_loss
        )

    @torch.no_grad()
    def _log_probabilities(
        self, rows: Rows, between_batches: Callable[[], None]
    ) -> NDArray[np.float64]:
        """Return ``(rows, labels)`` in every process."""
        self._model.eval()
        rank, size = self._peers.rank, self._peers.size
        table = torch.zeros(len(rows), len(self._label_weights), dtype=torch.float64)
        batches = length_batches(rows.lengths, batch_tokens=self._job.options.batch_tokens)
        # One round for `size` batches: `between_batches` is a collective call, and all processes
        # must come to it equally often. A process fills its own rows; the sum adds the others'.
        for start in range(0, len(batches), size):
            between_batches()
            # The last round may have fewer batches than processes: then a slice is empty.
            for batch in batches[start + rank : start + rank + 1]:
                table[batch] = self._logits(rows, batch).double().log_softmax(dim=-1).cpu()
        summed: NDArray[np.float64] = self._peers.sum(table).cpu().numpy()
        return summed

    def _logits(self, rows: Rows, numbers: Indices) -> Tensor:
        device, dtype = self._model.device, self._dtype
        batch = self._job.reader.pad([rows.tokens[row] for row in numbers], device, align=False)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits: Tensor = self._forward(**batch).logits
        return logits.float()


def _label_weights(codes: NDArray[np.int64], labels: int, *, balanced: bool) -> NDArray[np.float32]:
    """Return each label's weight in the loss; balanced, each label's rows weigh the same."""
    if not balanced:
        return np.ones(labels, np.float32)
    # At least 1: a label without training rows would be a division by zero.
    counts = np.maximum(np.bincount(codes, minlength=labels), 1)
    return (len(codes) / (labels * counts)).astype(np.float32)
