"""A classifier, trained by transformers' Trainer.

Knows nothing about data sets: rows come as token ids and label codes. Saving, going on and stopping
are in `resuming`.
"""

from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from pollice.models.hugging_face.arguments import OneGpuArguments
from pollice.models.hugging_face.options import TrainerOptions
from pollice.models.hugging_face.resuming import ResumableRun, in_training
from pollice.models.hugging_face.rows import IGNORED, Collator
from pollice.models.hugging_face.steps import StepTrainer
from pollice.models.training.job import Job


def train_classifier(model: PreTrainedModel, job: Job[TrainerOptions]) -> dict[str, Any]:
    """Train a classifier, or go on from its newest resume point; it ends with the best weights.

    Returns:
        What was decided on the way: ``micro_batches``, the parts in which a step went through
        the model.

    Raises:
        Interrupted, MemoryPlanError, RunError, TrainingError: as `ResumableRun.train` says.
    """
    with in_training(model) as stop:
        trainer = ClassifierTrainer(model, job)
        ResumableRun(trainer, stop).train()
        return {"micro_batches": trainer.micro_batches}


class ClassifierTrainer(StepTrainer):
    """Trainer of a classifier, whose loss is the mean over the rows of a whole step."""

    def __init__(self, model: PreTrainedModel, job: Job[TrainerOptions]) -> None:
        collate = partial(Collator, job.reader)
        super().__init__(
            job, collate, OneGpuArguments, {}, model=model, compute_loss_func=self._loss
        )

    def _loss(self, outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        """Return the sum of the rows' losses over the rows of the whole step."""
        logits = outputs.logits.float()
        if self.model.training:
            self.step_right += (logits.argmax(dim=-1) == labels).sum()
        total = nn.functional.cross_entropy(logits, labels, reduction="sum", ignore_index=IGNORED)
        return total / (len(labels) if num_items_in_batch is None else num_items_in_batch)
