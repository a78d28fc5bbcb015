"""transformers' Trainer, made never to lose a step: checkpoints of ours, and exact resuming.

Knows nothing about data sets: rows come as token ids and label codes.
"""

import math
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from scipy.special import log_softmax
from torch import Tensor, nn
from transformers import EvalPrediction, PreTrainedModel, TrainerCallback, TrainerControl

from pollice.errors import Interrupted, TrainingError
from pollice.models.hugging_face.options import TrainerOptions
from pollice.models.hugging_face.rows import longest_first
from pollice.models.hugging_face.steps import StepTrainer
from pollice.models.pretrained.devices import quiet
from pollice.models.training.job import Identity, Job
from pollice.models.training.log import TrainingLog, begin_log
from pollice.models.training.resume_points import FOLDER, ResumePoint, ResumePointStore
from pollice.models.training.rows import Rows
from pollice.models.training.schedule import RELEASE_TOKENS, padded_tokens
from pollice.models.training.tensors import (
    gather_random_states,
    load_optimizer,
    load_random_states,
    optimizer_groups,
    random_states,
    save_optimizer,
    save_random_states,
    save_tensors,
    set_random_states,
)
from pollice.system.interruption import StopFlag, stopping
from pollice.system.measuring import Release
from pollice.system.progress import stage

_STATE = "trainer_state.json"  # the name that Trainer reads
_WEIGHTS = "model.safetensors"
_BEST = "best.safetensors"


def train_classifier(model: PreTrainedModel, job: Job[TrainerOptions]) -> dict[str, Any]:
    """Train a classifier, or go on from its newest checkpoint; it ends with the best weights.

    Returns:
        What was decided on the way: ``micro_batches``, the parts in which a step went through
        the model.

    Raises:
        Interrupted: SIGTERM or SIGINT came, and a checkpoint was written.
        MemoryPlanError: not even one row fits into memory.
        RunError: the resume point in ``job.workdir`` is of other rows, options or weights.
        TrainingError: the loss is no longer a finite number.
    """
    states = random_states()
    try:
        with quiet(), stopping() as stop:
            trainer = ResumableTrainer(model, job, stop)
            trainer.run()
            return {"micro_batches": trainer.micro_batches}
    finally:
        set_random_states(states)
        model.eval()


@dataclass(kw_only=True)
class _Position:
    """Where a run is, beyond what Trainer's own state and the tensors say."""

    right: int = 0
    """This epoch's training rows that were classified rightly."""
    best_loss: float | None = None
    evaluated: bool = True
    """Whether the validation rows of the last whole epoch were read to their end."""
    parts: int = 1
    seconds: float = 0.0


class _Stopped(Exception):  # noqa: N818 -- not an error: it leaves an evaluation
    pass


class ResumableTrainer(StepTrainer):
    """Trainer that publishes complete checkpoints and goes on from them exactly."""

    def __init__(self, model: PreTrainedModel, job: Job[TrainerOptions], stop: StopFlag) -> None:
        super().__init__(
            model,
            job,
            compute_metrics=partial(_judged, job.validation),
            callbacks=[_Follower(self)],
        )
        self._stop = stop
        self._stop_signal = 0
        self._store = ResumePointStore(job.workdir / FOLDER, keep=job.options.keep_checkpoints)
        self._at = _Position()
        self._best_weights: dict[str, Tensor] | None = None
        self._random_states: dict[str, Tensor] = {}
        self._last_checkpoint: Path | None = None
        self._release = Release(every=RELEASE_TOKENS)

    def run(self) -> None:
        """Train from the newest checkpoint, or from the beginning, to the end."""
        found = self._found = self._newest()
        if found is not None:
            self._identity.check(found.identity, found.folder.parent)
            self._at = _Position(**found.facts["position"])
            self.parts = self._at.parts
            self.args.eval_on_start = not self._at.evaluated
        folder = self._last_checkpoint = found.folder if found else None
        log = begin_log(self.job.workdir, folder, is_first=self._is_first)
        with (
            TrainingLog(log, seconds=self._at.seconds) as self._journal,
            stage("training", total=self._rows_left()) as self._advance,
        ):
            self.train(resume_from_checkpoint=str(folder) if folder else None)
        self.note_stop()
        self._raise_if_stopped()
        if self._best_weights is not None:
            self.model.load_state_dict(self._best_weights)
        self.accelerator.unwrap_model(self.model_wrapped, keep_fp32_wrapper=False)

    @property
    def _is_first(self) -> bool:
        return self.peers.rank == 0

    @property
    def _identity(self) -> Identity:
        return self.job.identity.with_facts(processes=self.peers.size)

    @property
    def _epoch_steps(self) -> int:
        return len(self.sampler.steps)

    def _newest(self) -> ResumePoint | None:
        """Look for a checkpoint, the first process first: it deletes what is damaged."""
        found = self._store.latest() if self._is_first else None
        self.peers.wait()
        return found if self._is_first else self._store.latest()

    def _rows_left(self) -> int:
        epochs, steps = divmod(self._found.step if self._found else 0, self._epoch_steps)
        options = self.job.options
        return (options.epochs - epochs) * len(self.job.train) - steps * options.batch_size

    # What the follower tells.

    def begin_epoch(self) -> None:
        """Draw the epoch's order."""
        self.sampler.set_epoch(self.state.global_step // self._epoch_steps)

    def end_step(self) -> None:
        """Count a step, and ask for a checkpoint where one is due."""
        self._at.right += int(self.step_right)
        self.step_right = 0
        self.note_stop()
        taken, every = self.state.global_step, self.job.options.checkpoint_steps
        rows = self.sampler.steps[taken % self._epoch_steps - 1]
        self._advance(len(rows))
        self._release.after(padded_tokens(self.job.train.lengths, rows))
        epoch_ends = taken % self._epoch_steps == 0  # saved after its evaluation
        due = every is not None and taken % every == 0
        self.control.should_save = not epoch_ends and (due or self._stop_signal > 0)

    def log_step(self, logs: Mapping[str, float]) -> None:
        """Write a step's line; stop where its loss is no longer a number."""
        step = self.state.global_step
        self.state.log_history.clear()  # the lines are in training.jsonl
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs["grad_norm"])):
            raise TrainingError(
                f"In step {step} the loss was {logs['loss']:.3g} and the gradient's norm "
                f"{logs['grad_norm']:.3g} at a learning rate of {logs['learning_rate']:.3g}: "
                "training has diverged. Lower learning_rate. The last good resume point is "
                f"{self._last_checkpoint or 'none'}."
            )
        epoch, number = divmod(step - 1, self._epoch_steps)
        share = (number + 1) * self.job.options.batch_size / len(self.job.train)
        self._journal.step(
            step=step,
            epoch=epoch + min(1.0, share),
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            grad_norm=logs["grad_norm"],
            tokens=self.sampler.tokens(number),
        )

    def close_epoch(self, metrics: Mapping[str, float]) -> None:
        """Write an epoch's line and keep its weights where they are the best so far."""
        facts = {"train_accuracy": self._right_everywhere() / len(self.job.train)}
        self._at.right = 0
        if metrics:
            loss = metrics["eval_log_loss"]
            facts |= {"validation_loss": loss, "validation_accuracy": metrics["eval_accuracy"]}
            if loss < (math.inf if self._at.best_loss is None else self._at.best_loss):
                self._at.best_loss = loss
                self._best_weights = _copied(self.model)
        step = self.state.global_step
        self._journal.epoch(step=step, epoch=step // self._epoch_steps, facts=facts)

    def note_stop(self) -> None:
        """Agree with the other processes on whether to stop."""
        self._stop_signal = self.peers.largest(self._stop.requested or 0)

    def leave_evaluation(self) -> None:
        """Leave an evaluation where the work was asked to stop."""
        self.note_stop()
        if self._stop_signal:
            raise _Stopped

    # What Trainer does at an epoch's end and where it is asked to save or to load.

    def _evaluate(self, *given: Any, **options: Any) -> dict[str, float]:
        """Evaluate without drawing random numbers; asked to stop, save and leave it for later."""
        resumed = not self._at.evaluated
        self._at.evaluated = False
        metrics: dict[str, float] = {}
        states = random_states()
        with suppress(_Stopped):
            metrics = super()._evaluate(*given, **options)
        set_random_states(states)
        if metrics:
            self._at.evaluated = True
            self.close_epoch(metrics)
        if resumed or not metrics:
            self._save_checkpoint(self.model, None)
        return metrics

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Publish a checkpoint in place of Trainer's own, which are not atomic."""
        self.store_flos()
        position = replace(
            self._at,
            right=self._right_everywhere(),
            parts=self.parts,
            seconds=self._journal.seconds,
        )
        states = gather_random_states(self.accelerator)
        if self._is_first:
            published = self._store.publish(
                self.state.global_step,
                partial(self._write, states=states),
                identity=self._identity.values(),
                facts={
                    "position": asdict(position),
                    "scheduler": self.lr_scheduler.state_dict(),
                    "groups": optimizer_groups(self.optimizer),
                },
            )
            self._last_checkpoint = published or self._last_checkpoint
        self.peers.wait()
        self._raise_if_stopped()

    def _write(self, folder: Path, states: Mapping[str, Tensor]) -> None:
        save_tensors(folder / _WEIGHTS, self.model.state_dict())
        if self._best_weights is not None:
            save_tensors(folder / _BEST, self._best_weights)
        save_optimizer(folder, self.optimizer)
        save_random_states(folder, states)
        self.state.save_to_json(str(folder / _STATE))
        self._journal.copy(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        folder = Path(resume_from_checkpoint)
        self.model.load_state_dict(load_file(folder / _WEIGHTS))
        if (folder / _BEST).is_file():
            self._best_weights = load_file(folder / _BEST)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if self._found is not None:
            facts = self._found.facts
            load_optimizer(self._found.folder, self.optimizer, facts["groups"])
            self.lr_scheduler.load_state_dict(dict(facts["scheduler"]))
            self._random_states = load_random_states(self._found.folder, self.peers.rank)
            self._load_rng_state(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        set_random_states(self._random_states)  # its folder may have been replaced since

    def _right_everywhere(self) -> int:
        return int(self.peers.sum(torch.tensor(self._at.right)))

    def _raise_if_stopped(self) -> None:
        if self._stop_signal:
            raise Interrupted(
                f"{signal.Signals(self._stop_signal).name} stopped the training after step "
                f"{self.state.global_step} of {self.state.max_steps}. The same command goes on "
                f"from {self._last_checkpoint or 'the beginning: no resume point was written'}.",
                self._stop_signal,
            )


class _Follower(TrainerCallback):
    """Tells a `ResumableTrainer` where Trainer's loop is."""

    def __init__(self, trainer: ResumableTrainer) -> None:
        self._trainer = trainer

    def on_epoch_begin(self, *state: Any, **_: Any) -> None:
        self._trainer.begin_epoch()

    def on_step_end(self, *state: Any, **_: Any) -> None:
        self._trainer.end_step()

    def on_log(self, *state: Any, logs: dict[str, float], **_: Any) -> None:  # type: ignore[override]
        if "grad_norm" in logs:
            self._trainer.log_step(logs)

    def on_prediction_step(self, *state: Any, **_: Any) -> None:
        self._trainer.leave_evaluation()

    def on_epoch_end(self, args: Any, state: Any, control: TrainerControl, **_: Any) -> None:
        if not control.should_evaluate:
            self._trainer.close_epoch({})
        control.should_save = True


def _judged(held_out: Rows, prediction: EvalPrediction) -> dict[str, float]:
    """Return log loss and accuracy of the texts, whose rows were read longest first."""
    logits = np.asarray(prediction.predictions, float)
    table = np.empty(logits.shape)
    table[longest_first(held_out)] = log_softmax(logits, axis=1)
    loss, accuracy = held_out.judge(table)
    return {"log_loss": loss, "accuracy": accuracy}


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
