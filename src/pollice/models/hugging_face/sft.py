"""An adapter, trained by TRL's SFTTrainer with a loss on the label's word alone.

Knows nothing about how prompts are built, nor about how an adapter is saved. Saving, going on and
stopping are in `resuming`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from pollice.models.causal.prompts import Ending
from pollice.models.hugging_face.arguments import OneGpuArguments
from pollice.models.hugging_face.options import TrainerOptions, TuningOptions
from pollice.models.hugging_face.prompt_rows import (
    AskedCollator,
    AskedRows,
    label_logits,
    predicting_positions,
)
from pollice.models.hugging_face.resuming import ResumableRun, in_training
from pollice.models.hugging_face.steps import StepTrainer
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.training.job import Identity, Job
from pollice.models.training.log import FILE


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What is trained on, how, and where its log and resume points lie."""

    options: TuningOptions
    tokenizer: TextTokenizer
    endings: Sequence[Ending]
    """The questions' endings, with the words of the labels."""
    train: AskedRows
    validation: AskedRows
    identity: Identity
    """What a resume point must share with this run, besides rows."""
    workdir: Path


def tune(model: PeftModel, tuning: Tuning) -> dict[str, Any]:
    """Train an adapter, or go on from its newest resume point; it ends as it was when best.

    Returns:
        What was decided on the way: ``micro_batches``, the parts in which a step went through
        the model, ``epochs`` and ``best_epoch``, the last one where there was no validation.

    Raises:
        Interrupted, MemoryPlanError, RunError, TrainingError: as `ResumableRun.train` says.
    """
    with in_training(model) as stop:
        if model.device.type == "cpu":  # PyTorch's fused attention takes 3 times as long there
            base: Any = model.get_base_model()
            base.set_attn_implementation("eager")
        trainer = LabelTrainer(model, tuning)
        position = ResumableRun(trainer, stop, patience=tuning.options.patience).train()
        epochs = trainer.state.global_step // len(trainer.sampler.steps)
        return {
            "micro_batches": trainer.micro_batches,
            "epochs": epochs,
            "best_epoch": position.best_epoch or epochs,
        }


class _OneGpuConfig(OneGpuArguments, SFTConfig):
    pass


class LabelTrainer(StepTrainer, SFTTrainer):
    """SFTTrainer for rows that are token ids already, which builds no logits but the label's.

    Its rows are never tokenized, templated or cut again. TRL builds every position's logits on
    CPU: with a vocabulary of 262,144 words that is most of the work.
    """

    def __init__(self, model: PeftModel, tuning: Tuning) -> None:
        self._endings = tuning.endings
        super().__init__(
            _job(tuning),
            partial(AskedCollator, tuning.tokenizer.pad),
            _OneGpuConfig,
            {
                "bf16": model.dtype == torch.bfloat16,
                "activation_checkpointing": tuning.options.recompute,
                "max_length": None,
                "dataset_kwargs": {"skip_prepare_dataset": True},
            },
            model=model,
            processing_class=tuning.tokenizer.tokenizer,
        )
        for weights in self.model.parameters():  # TRL makes those on 4-bit weights bfloat16
            if weights.requires_grad:
                weights.data = weights.data.float()

    def _send_telemetry(self) -> None:
        """Tell nobody: TRL would send what is trained on which hardware.

        There is no option for it but an environment variable, read before TRL is imported.
        """

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the mean log loss of the labels' tokens, over all those of the step.

        Args:
            model: What is trained, in whatever wraps it.
            inputs: What `AskedCollator` returns.
            return_outputs: Whether to return the labels' logits too, ``(rows, labels)``.
            num_items_in_batch: The labels' tokens in the whole step; None: each row counts the
                same.
        """
        learned = predicting_positions(inputs["labels"])
        # No attention_mask: padding is on the right, where a causal model does not look. The logits
        # are (learned tokens of all rows, vocabulary), row after row.
        logits = model(
            input_ids=inputs["input_ids"], logits_to_keep=learned, use_cache=False
        ).logits.float()
        # roll brings the first label to the last place, which is never among the learned ones.
        targets = inputs["labels"].roll(-1, dims=1)[learned]
        counts = learned.sum(dim=1)
        losses = nn.functional.cross_entropy(logits, targets, reduction="none")
        if num_items_in_batch is None:
            loss = (losses / counts.repeat_interleave(counts)).sum() / len(counts)
        else:
            # Times the processes, as Trainer does: `_share_gradients` divides by them.
            loss = losses.sum() / num_items_in_batch * self.accelerator.num_processes
        labels = self._label_logits(logits.detach(), counts, inputs["question"])
        if self.model.training:
            self.step_right += (labels.argmax(dim=-1) == inputs["code"]).sum()
        return (loss, SequenceClassifierOutput(logits=labels)) if return_outputs else loss

    def _label_logits(self, logits: Tensor, counts: Tensor, questions: Tensor) -> Tensor:
        """Return the labels' logits of every row; zeros for a row that is ignored."""
        asked = counts > 0
        first = (counts.cumsum(dim=0) - counts)[asked]
        table = logits.new_zeros((len(counts), len(self._endings[0].words)))
        table[asked] = label_logits(logits[first], questions[asked], self._endings)
        return table

    def epoch_facts(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the losses and the accuracy that training.jsonl has of an epoch."""
        facts = self._train_loss(epoch)
        if metrics:
            facts |= {
                "validation_loss": metrics["eval_loss"],
                "validation_log_loss": metrics["eval_log_loss"],
                "validation_accuracy": metrics["eval_accuracy"],
            }
        return facts

    def _train_loss(self, epoch: int) -> dict[str, float]:
        """Return the mean loss of the epoch's steps, as the log has it."""
        if self.peers.rank:  # only the first process writes a log
            return {}
        lines = (self.job.workdir / FILE).read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        losses = [row["loss"] for row in rows if "loss" in row and row["epoch"] > epoch - 1]
        return {"train_loss": sum(losses) / len(losses)} if losses else {}


def _job(tuning: Tuning) -> Job[TrainerOptions]:
    options = tuning.options
    longest = int(tuning.train.lengths.max())
    parts = -(-options.batch_size * longest // options.batch_tokens)
    shared = [field.name for field in fields(TrainerOptions) if hasattr(options, field.name)]
    nobody: Any = None  # the rows are read already
    return Job(
        options=TrainerOptions(
            **{name: getattr(options, name) for name in shared},
            gradient_accumulation_steps=min(parts, options.batch_size),
            lr_scheduler="cosine",
            group_by_length=True,
        ),
        reader=nobody,
        train=tuning.train,
        validation=tuning.validation,
        identity=tuning.identity.with_facts(
            training_rows=tuning.train.sha256(), validation_rows=tuning.validation.sha256()
        ),
        workdir=tuning.workdir,
    )
