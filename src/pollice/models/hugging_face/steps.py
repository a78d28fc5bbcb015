"""The training step of transformers' Trainer: its rows, and what it does without memory.

Knows nothing about losses, evaluation and resume points.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PrinterCallback, Trainer

from pollice.errors import MemoryPlanError
from pollice.models.hugging_face.arguments import OneGpuArguments, training_arguments
from pollice.models.hugging_face.options import TrainerOptions
from pollice.models.hugging_face.rows import StepSampler, longest_first, row_numbers
from pollice.models.pretrained.devices import resolve_device
from pollice.models.training.job import Job
from pollice.models.training.out_of_memory import take_step
from pollice.models.training.peers import connect
from pollice.models.training.rows import Rows


class StepTrainer(Trainer):
    """Trainer whose steps shrink to fit memory; several processes share one batch.

    Stands before `SFTTrainer` among the bases of a class: it replaces what both have.

    Args:
        job: What is trained on, and where.
        collate: Makes the collator of some rows.
        kind: The class of the arguments.
        arguments: More of them than the options say.
        options: What Trainer is made of besides.
    """

    model: Any
    train_dataset: Any
    lr_scheduler: Any

    def __init__(
        self,
        job: Job[TrainerOptions],
        collate: Callable[[Any], Any],
        kind: type[OneGpuArguments],
        arguments: Mapping[str, Any],
        **options: Any,
    ) -> None:
        self.peers = connect(resolve_device(job.options.device))
        evaluates = len(job.validation) > 0
        super().__init__(
            args=training_arguments(
                kind, job.options, job.workdir, self.peers, evaluates=evaluates, **arguments
            ),
            # Trainer has one collator; that of the training rows is in `get_train_dataloader`.
            data_collator=collate(job.validation),
            train_dataset=row_numbers(range(len(job.train))),
            eval_dataset=row_numbers(longest_first(job.validation)) if evaluates else None,
            compute_metrics=partial(_judge, job.validation),
            **options,
        )
        # With disable_tqdm, Trainer adds this callback, which prints every log line.
        self.remove_callback(PrinterCallback)
        self.job = job
        self._collate_training = collate(job.train)
        self.sampler = StepSampler(job.train.lengths, job.options, self.peers)
        self.parts = 1
        """The parts in which a micro-batch goes through the model."""
        self.step_right: Tensor | int = 0
        """This process's rows of the running step that are classified rightly."""
        self._batches: list[dict[str, Tensor]] = []

    @property
    def micro_batches(self) -> int:
        """The parts in which a step's rows go through the model."""
        return self.args.gradient_accumulation_steps * self.parts

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return this process's micro-batches; the order depends on seed and epoch alone."""
        # Not prepared by accelerate: it would share out among processes what is shared already.
        return DataLoader(
            self.train_dataset, batch_sampler=self.sampler, collate_fn=self._collate_training
        )

    def epoch_facts(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return what training.jsonl says of an epoch's validation rows; without rows, nothing.

        Args:
            epoch: Its number, from 1.
            metrics: What Trainer's evaluation found.
        """
        if not metrics:
            return {}
        return {
            "validation_loss": metrics["eval_log_loss"],
            "validation_accuracy": metrics["eval_accuracy"],
        }

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None
    ) -> Tensor:
        """Learn from a micro-batch; out of memory, repeat the step so far in smaller parts.

        Processes share their gradients at a step's end, when all of them have got through.
        """
        # All of the step's batches are kept: lack of memory in one costs the earlier gradients too.
        self._batches.append(inputs)
        loss = take_step(
            lambda: self._learn(model, self._batches[-1:], num_items_in_batch),
            lambda: self._learn(model, self._batches, num_items_in_batch),
            partial(self._shrink, model),
            step=self.state.global_step + 1,
            peers=self.peers,
        )
        if self.accelerator.sync_gradients:
            self._batches.clear()
            self._share_gradients()
        return loss

    def _learn(self, model: nn.Module, batches: Sequence[dict[str, Tensor]], items: Any) -> Tensor:
        """Add the batches' gradients; return the last one's loss."""
        # Trainer has added up the earlier batches' losses itself: only the last one's is returned.
        # no_sync: a process out of memory must not leave others waiting in their backward pass.
        with self.accelerator.no_sync(model):
            for batch in batches:
                loss = torch.zeros((), device=self.args.device)
                for part in _parts(batch, self.parts):
                    loss += super().training_step(model, part, items)
        return loss

    def _shrink(self, model: nn.Module) -> str:
        """Halve the parts, and forget what the step has learned so far."""
        rows = -(-self.job.options.batch_size // self.peers.size)
        rows = -(-rows // self.args.gradient_accumulation_steps)
        if self.parts >= rows:
            raise MemoryPlanError(
                f"Step {self.state.global_step + 1} does not fit into memory even with one row of "
                f"up to {self.job.options.max_tokens} tokens at a time. Lower max_tokens, or take "
                "a smaller checkpoint."
            )
        self.parts = min(rows, 2 * self.parts)
        model.zero_grad()
        self.step_right = 0
        return f"in {self.micro_batches} passes"

    def _share_gradients(self) -> None:
        """Give all processes the mean of their gradients: Trainer has multiplied each loss."""
        if self.peers.size > 1:
            learning = [p for p in self.model.parameters() if p.requires_grad]
            self.peers.sum_gradients(learning)
            for parameter in learning:
                if parameter.grad is not None:
                    parameter.grad /= self.peers.size


def _parts(batch: dict[str, Tensor], parts: int) -> Iterator[dict[str, Tensor]]:
    """Cut a batch into parts of its rows, each as long as its longest row."""
    if parts == 1:
        yield batch
        return
    rows = len(batch["labels"])
    for part in torch.arange(rows).tensor_split(min(parts, rows)):
        length = int(batch["attention_mask"][part].sum(dim=1).max())
        yield {
            name: value[part][:, :length] if value.dim() > 1 else value[part]
            for name, value in batch.items()
        }


def _judge(held_out: Rows, prediction: EvalPrediction) -> dict[str, float]:
    """Return log loss and accuracy of the texts, whose rows were read longest first."""
    logits = np.asarray(prediction.predictions, float)
    table = np.empty(logits.shape)
    table[longest_first(held_out)] = log_softmax(logits, axis=1)
    loss, accuracy = held_out.judge(table)
    return {"log_loss": loss, "accuracy": accuracy}
