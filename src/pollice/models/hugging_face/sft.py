"""TRL's SFTTrainer with a loss on the label's word alone, made never to lose a step.

Knows nothing about how prompts are built, nor about how an adapter is saved.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import TrainingArguments
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from pollice.models.causal.prompts import Ending
from pollice.models.hugging_face.options import TrainerOptions, TuningOptions
from pollice.models.hugging_face.prompt_rows import (
    AskedCollator,
    AskedRows,
    label_logits,
    predicting_positions,
)
from pollice.models.hugging_face.rows import RowDataset
from pollice.models.hugging_face.trainer import ResumableTrainer
from pollice.models.pretrained.devices import quiet
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.training.job import Identity, Job
from pollice.models.training.log import FILE
from pollice.models.training.tensors import (
    random_states,
    save_optimizer,
    save_random_states,
    save_tensors,
    set_random_states,
)
from pollice.system.interruption import StopFlag, stopping

_ADAPTER = "adapter.safetensors"
_BEST = "best.safetensors"
_EPOCHS = "epochs.json"


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What is trained on, how, and where its log and checkpoints lie."""

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
    """Train an adapter, or go on from its newest checkpoint; it ends as it was when it was best.

    Returns:
        What was decided on the way: ``micro_batches``, the parts in which a step went through
        the model, ``epochs`` and ``best_epoch``, the last one where there was no validation.

    Raises:
        Interrupted: SIGTERM or SIGINT came, and a checkpoint was written.
        MemoryPlanError: not even one row fits into memory.
        RunError: the checkpoint in ``tuning.workdir`` is of other rows, options or weights.
        TrainingError: the loss is no longer a finite number.
    """
    states = random_states()
    try:
        with quiet(), stopping() as stop:
            if model.device.type == "cpu":  # PyTorch's fused attention takes 3 times as long there
                base: Any = model.get_base_model()
                base.set_attn_implementation("eager")
            trainer = LabelTrainer(model, tuning, stop)
            trainer.run()
            return trainer.facts
    finally:
        set_random_states(states)
        model.eval()


class LabelLossTrainer(SFTTrainer):
    """SFTTrainer for rows that are token ids already, which builds no logits but the label's.

    Its rows are never tokenized, templated or cut again. TRL builds every position's logits on
    CPU: with a vocabulary of 262,144 words that is most of the work.
    """

    model: Any
    tuning: Tuning
    step_right: Tensor | int

    def __init__(
        self, *, args: TrainingArguments, train_dataset: Any, eval_dataset: Any, **options: Any
    ) -> None:
        options.pop("compute_loss_func")  # TRL would build all logits for it
        super().__init__(
            **{**options, "data_collator": AskedCollator(self.tuning.tokenizer.pad)},
            args=_configured(args, self.tuning.options, options["model"].dtype),
            train_dataset=_table(train_dataset),
            eval_dataset=_table(eval_dataset) if len(eval_dataset) else None,
            processing_class=self.tuning.tokenizer.tokenizer,
        )
        for weights in self.model.parameters():  # TRL makes those on 4-bit weights bfloat16
            if weights.requires_grad:
                weights.data = weights.data.float()

    def _send_telemetry(self) -> None:
        """Tell nobody."""

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
        logits = model(
            input_ids=inputs["input_ids"], logits_to_keep=learned, use_cache=False
        ).logits.float()
        targets = inputs["labels"].roll(-1, dims=1)[learned]
        counts = learned.sum(dim=1)
        losses = nn.functional.cross_entropy(logits, targets, reduction="none")
        if num_items_in_batch is None:
            loss = (losses / counts.repeat_interleave(counts)).sum() / len(counts)
        else:
            loss = losses.sum() / num_items_in_batch * self.accelerator.num_processes
        labels = self._label_logits(logits.detach(), counts, inputs["question"])
        if self.model.training:
            self.step_right += (labels.argmax(dim=-1) == inputs["code"]).sum()
        return (loss, labels) if return_outputs else loss

    def _label_logits(self, logits: Tensor, counts: Tensor, questions: Tensor) -> Tensor:
        """Return the labels' logits of every row; zeros for a row that is ignored."""
        asked = counts > 0
        first = (counts.cumsum(dim=0) - counts)[asked]
        endings = self.tuning.endings
        table = logits.new_zeros((len(counts), len(endings[0].words)))
        table[asked] = label_logits(logits[first], questions[asked], endings)
        return table

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, the labels' logits and the rows' label numbers."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, labels = self.compute_loss(model, inputs, return_outputs=True)
        return loss, labels, inputs["code"]


def _table(rows: RowDataset) -> Any:
    asked: Any = rows.rows
    return asked.table(rows.order)


def _configured(
    arguments: TrainingArguments, options: TuningOptions, dtype: torch.dtype
) -> SFTConfig:
    """Return the arguments as SFTTrainer wants them."""
    config = SFTConfig(
        **{
            **arguments.to_dict(),
            "hub_token": None,
            "bf16": dtype == torch.bfloat16,
            "fp16": dtype == torch.float16,
            "activation_checkpointing": options.recompute,
            "max_length": None,
            "dataset_kwargs": {"skip_prepare_dataset": True},
        }
    )
    config._n_gpu = arguments._n_gpu
    return config


class LabelTrainer(ResumableTrainer, LabelLossTrainer):
    """Trains an adapter: checkpoints hold it alone, and the best epoch's is kept."""

    model: Any

    def __init__(self, model: Any, tuning: Tuning, stop: StopFlag) -> None:
        self.tuning = tuning
        self._best_epoch = 0
        self._best_adapter: dict[str, Tensor] = {}
        super().__init__(model, _job(tuning), stop)

    @property
    def facts(self) -> dict[str, Any]:
        """What was decided on the way."""
        epochs = self.state.global_step // self._epoch_steps
        return {
            "micro_batches": self.micro_batches,
            "epochs": epochs,
            "best_epoch": self._best_epoch or epochs,
        }

    def run(self) -> None:
        """Train from the newest checkpoint, or from the beginning, to the best epoch's adapter."""
        super().run()
        if self._best_adapter:
            self._set_adapter(self._best_adapter)

    def _adapter(self) -> dict[str, Tensor]:
        return {
            name: weights.detach()
            for name, weights in self.model.named_parameters()
            if weights.requires_grad
        }

    @torch.no_grad()
    def _set_adapter(self, values: Mapping[str, Tensor]) -> None:
        for name, weights in self._adapter().items():
            weights.copy_(values[name])

    def close_epoch(self, metrics: Mapping[str, float]) -> None:
        """Write an epoch's line, keep the best adapter, and stop where none gets better."""
        step = self.state.global_step
        epoch = step // self._epoch_steps
        facts = {"train_accuracy": self._right_everywhere() / len(self.job.train)}
        facts |= self._train_loss(epoch)
        self._at.right = 0
        if metrics:
            facts |= {
                "validation_loss": metrics["eval_loss"],
                "validation_log_loss": metrics["eval_log_loss"],
                "validation_accuracy": metrics["eval_accuracy"],
            }
            best = self._at.best_loss
            if best is None or metrics["eval_log_loss"] < best:
                self._at.best_loss = metrics["eval_log_loss"]
                self._best_epoch = epoch
                self._best_adapter = {
                    name: weights.cpu().clone() for name, weights in self._adapter().items()
                }
            patience = self.tuning.options.patience
            if patience is not None and epoch - self._best_epoch >= patience:
                self.control.should_training_stop = True
        self._journal.epoch(step=step, epoch=epoch, facts=facts)

    def _train_loss(self, epoch: int) -> dict[str, float]:
        """Return the mean loss of the epoch's steps, as the journal has it."""
        path = self.job.workdir / FILE
        lines = path.read_text(encoding="utf-8").splitlines() if self._is_first else []
        rows = [json.loads(line) for line in lines]
        losses = [row["loss"] for row in rows if "loss" in row and row["epoch"] > epoch - 1]
        return {"train_loss": sum(losses) / len(losses)} if losses else {}

    def _write(self, folder: Path, states: Mapping[str, Tensor]) -> None:
        save_tensors(folder / _ADAPTER, self._adapter())
        if self._best_adapter:
            save_tensors(folder / _BEST, self._best_adapter)
        stopped = self.control.should_training_stop and not self._stop_signal
        epochs = {"best": self._best_epoch, "stopped": stopped}
        (folder / _EPOCHS).write_text(json.dumps(epochs), encoding="utf-8")
        save_optimizer(folder, self.optimizer)
        save_random_states(folder, states)
        self.state.save_to_json(str(folder / "trainer_state.json"))
        self._journal.copy(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        self._set_adapter(load_file(folder / _ADAPTER))
        if (folder / _BEST).is_file():
            self._best_adapter = load_file(folder / _BEST)
        epochs = json.loads((folder / _EPOCHS).read_text(encoding="utf-8"))
        self._best_epoch = epochs["best"]
        if epochs["stopped"]:
            step = json.loads((folder / "trainer_state.json").read_text("utf-8"))["global_step"]
            self.args.num_train_epochs = step // self._epoch_steps


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
