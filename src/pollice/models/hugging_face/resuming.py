"""Training that goes on exactly where it was ended: resume points, the log, the signal to stop.

Knows nothing about what is trained. It follows transformers' Trainer by its callbacks, and lets it
go on from a folder that was written here: no method of Trainer that saves or loads is replaced.
"""

import math
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import TrainerCallback

from pollice.errors import Interrupted, RunError, TrainingError
from pollice.models.hugging_face.steps import StepTrainer
from pollice.models.pretrained.devices import quiet
from pollice.models.training.log import TrainingLog, begin_log
from pollice.models.training.resume_points import FOLDER, ResumePoint, ResumePointStore
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

_STATE = "trainer_state.json"  # Trainer reads this file and the next by these names
_WEIGHTS = "model.safetensors"
_BEST = "best.safetensors"


@contextmanager
def in_training(model: nn.Module) -> Iterator[StopFlag]:
    """Hear signals to stop; afterwards the model and the random generators are as they were."""
    states = random_states()
    try:
        with quiet(), stopping() as stop:
            yield stop
    finally:
        set_random_states(states)
        model.eval()


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a run is, beyond what Trainer's own state and the tensors say."""

    right: int = 0
    """This epoch's training rows that were classified rightly, those of all processes."""
    best_loss: float | None = None
    """The lowest log loss of the validation rows; None: they were never read."""
    best_epoch: int = 0
    """The epoch of that loss; 0: none."""
    evaluated: bool = True
    """Whether the validation rows of the last whole epoch were read to their end."""
    ended: bool = False
    """Whether patience has ended the run."""
    parts: int = 1
    seconds: float = 0.0


class _Ended(Exception):  # noqa: N818 -- not an error: it leaves Trainer's loop
    pass


class ResumableRun(TrainerCallback):
    """One run of a Trainer, from its newest resume point or from the beginning, to its end.

    Args:
        trainer: Has everything but weights from before.
        stop: Says when to save and leave.
        patience: The run ends after so many epochs without a better one; None: after all epochs.
    """

    def __init__(
        self, trainer: StepTrainer, stop: StopFlag, *, patience: int | None = None
    ) -> None:
        self._trainer = trainer
        self._job = trainer.job
        self._peers = trainer.peers
        self._is_first = trainer.peers.rank == 0
        self._epoch_steps = len(trainer.sampler.steps)
        self._identity = self._job.identity.with_facts(processes=self._peers.size)
        self._patience = patience
        self._stop = stop
        self._stop_signal = 0
        self._release = Release(every=RELEASE_TOKENS)
        keep = self._job.options.keep_checkpoints
        self._store = ResumePointStore(self._job.workdir / FOLDER, keep=keep)
        self._found = found = self._newest()
        self._steps_before = found.step if found else 0
        self._last = found.folder if found else None
        self._position = Position(**found.facts["position"]) if found else Position()
        has_best = found is not None and self._position.best_loss is not None
        self._best = load_file(found.folder / _BEST) if found and has_best else {}
        self._random_states: dict[str, Tensor] = {}

    def train(self) -> Position:
        """Train to the end; the model ends with the weights of its best epoch.

        Raises:
            Interrupted: SIGTERM or SIGINT came, and a resume point was written.
            MemoryPlanError: not even one row fits into memory.
            RunError: the newest resume point is of other rows, options or weights.
            TrainingError: the loss is no longer a finite number.
        """
        trainer = self._trainer
        trainer.add_callback(self)
        trainer.parts = self._position.parts
        # Trainer then evaluates before it trains: an evaluation that was left begins anew.
        trainer.args.eval_on_start = not self._position.evaluated
        log = begin_log(self._job.workdir, self._last, is_first=self._is_first)
        with (
            TrainingLog(log, seconds=self._position.seconds) as self._log,
            stage("training", total=self._rows_left()) as self._advance,
            suppress(_Ended),
        ):
            trainer.train(resume_from_checkpoint=str(self._last) if self._last else None)
        self._note_stop()
        self._raise_if_stopped()
        trainer.model.load_state_dict(self._best, strict=False)
        # With bf16, accelerate has put its own `forward` on the model; this takes it off again.
        trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)
        return self._position

    def _newest(self) -> ResumePoint | None:
        """Look for a resume point, the first process first: it deletes what is damaged."""
        found = self._store.latest() if self._is_first else None
        self._peers.wait()
        found = found if self._is_first else self._store.latest()
        if found is not None:
            self._identity.check(found.identity, found.folder.parent)
            _check_files(found.folder)
        return found

    def _rows_left(self) -> int:
        epochs, steps = divmod(self._steps_before, self._epoch_steps)
        options = self._job.options
        return (options.epochs - epochs) * len(self._job.train) - steps * options.batch_size

    # What Trainer's loop calls.

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Restore what Trainer would unpickle."""
        if self._found is not None:
            trainer, facts = self._trainer, self._found.facts
            # Trainer has made the optimizer by now, and loaded no state: it looks for optimizer.pt.
            load_optimizer(self._found.folder, trainer.optimizer, facts["groups"])
            trainer.lr_scheduler.load_state_dict(dict(facts["scheduler"]))
            set_random_states(load_random_states(self._found.folder, self._peers.rank))
        self._random_states = random_states()

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Draw the epoch's order."""
        if self._position.ended:  # before, or by an evaluation that was left and is read now
            raise _Ended
        self._trainer.sampler.set_epoch(self._step // self._epoch_steps)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Forget the numbers drawn since a resume point within an epoch was read.

        A DataLoader draws one from torch's generator as an epoch begins: this epoch's has been
        drawn before the resume point was written.
        """
        if self._step == self._steps_before and self._step % self._epoch_steps:
            set_random_states(self._random_states)

    def on_log(self, *_: Any, **context: Any) -> None:
        """Count and write a step, and save where that is due: Trainer logs last in every step."""
        self._trainer.state.log_history.clear()  # its lines are in training.jsonl
        logs = context["logs"]
        if "grad_norm" not in logs:  # not a step's line
            return
        self._check_finite(logs)
        self._write_step(logs)
        self._note_stop()
        every = self._job.options.checkpoint_steps
        due = every is not None and self._step % every == 0
        epoch_ends = self._step % self._epoch_steps == 0  # saved after its evaluation
        if not epoch_ends and (due or self._stop_signal):
            self._publish()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Prepare for the evaluation, or close the epoch where there is none."""
        if self._trainer.control.should_evaluate:
            self._position = replace(self._position, evaluated=False)
            self._random_states = random_states()
        else:
            self._close_epoch({})

    def on_prediction_step(self, *_: Any, **__: Any) -> None:
        """Save and leave an evaluation where the work was asked to stop."""
        self._note_stop()
        if self._stop_signal:
            # The resume point gets the numbers from before the evaluation, which is done again.
            set_random_states(self._random_states)
            self._publish()

    def on_evaluate(self, *_: Any, **context: Any) -> None:
        """Close the epoch, as if its evaluation had drawn no random numbers."""
        set_random_states(self._random_states)
        self._position = replace(self._position, evaluated=True)
        self._close_epoch(context["metrics"])

    # What is done there.

    @property
    def _step(self) -> int:
        return self._trainer.state.global_step

    def _check_finite(self, logs: Mapping[str, float]) -> None:
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs["grad_norm"])):
            raise TrainingError(
                f"In step {self._step} the loss was {logs['loss']:.3g} and the gradient's norm "
                f"{logs['grad_norm']:.3g} at a learning rate of {logs['learning_rate']:.3g}: "
                "training has diverged. Lower learning_rate. The last good resume point is "
                f"{self._last or 'none'}."
            )

    def _write_step(self, logs: Mapping[str, float]) -> None:
        # Minus 1: Trainer has counted the step before it logs it.
        epoch, number = divmod(self._step - 1, self._epoch_steps)
        train, sampler = self._job.train, self._trainer.sampler
        share = (number + 1) * self._job.options.batch_size / len(train)
        self._log.step(
            step=self._step,
            epoch=epoch + min(1.0, share),
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            grad_norm=logs["grad_norm"],
            tokens=sampler.tokens(number),
        )
        right = self._peers.sum(torch.tensor(int(self._trainer.step_right)))
        self._trainer.step_right = 0
        self._position = replace(self._position, right=self._position.right + int(right))
        self._advance(len(sampler.steps[number]))
        self._release.after(padded_tokens(train.lengths, sampler.steps[number]))

    def _close_epoch(self, metrics: Mapping[str, float]) -> None:
        """Write an epoch's line, keep its weights where they are the best so far, and save."""
        epoch = self._step // self._epoch_steps
        facts = {"train_accuracy": self._position.right / len(self._job.train)}
        facts |= self._trainer.epoch_facts(epoch, metrics)
        # Before `_publish`, which copies the log: a line written later would be lost.
        self._log.epoch(step=self._step, epoch=epoch, facts=facts)
        self._position = replace(self._position, right=0)
        if metrics:
            self._keep_best(epoch, metrics["eval_log_loss"])
            if self._patience is not None and epoch - self._position.best_epoch >= self._patience:
                self._position = replace(self._position, ended=True)
                self._trainer.control.should_training_stop = True
        self._publish()

    def _keep_best(self, epoch: int, loss: float) -> None:
        best = self._position.best_loss
        if best is None or loss < best:
            self._position = replace(self._position, best_loss=loss, best_epoch=epoch)
            learned = _learned(self._trainer.model)
            # On a CPU .cpu() copies nothing: without clone() the next step would change the best.
            self._best = {name: weights.cpu().clone() for name, weights in learned.items()}

    def _publish(self) -> None:
        """Write a resume point, whole or not at all; then leave if the work was asked to stop."""
        trainer, seconds = self._trainer, self._log.seconds
        self._position = replace(self._position, parts=trainer.parts, seconds=seconds)
        # Outside the `if` below: all processes take part in gathering.
        states = gather_random_states(trainer.accelerator)
        if self._is_first:
            published = self._store.publish(
                self._step,
                partial(self._write, states=states),
                identity=self._identity.values(),
                facts={
                    "position": asdict(self._position),
                    "scheduler": trainer.lr_scheduler.state_dict(),
                    "groups": optimizer_groups(trainer.optimizer),
                },
            )
            self._last = published or self._last
        # Nobody leaves before the files are there: the launcher ends all when one process ends.
        self._peers.wait()
        self._raise_if_stopped()

    def _write(self, folder: Path, states: Mapping[str, Tensor]) -> None:
        save_tensors(folder / _WEIGHTS, _learned(self._trainer.model))
        if self._best:
            save_tensors(folder / _BEST, self._best)
        save_optimizer(folder, self._trainer.optimizer)
        save_random_states(folder, states)
        self._trainer.state.save_to_json(str(folder / _STATE))
        self._log.copy(folder)

    def _note_stop(self) -> None:
        """Agree with the other processes on whether to stop."""
        self._stop_signal = self._peers.largest(self._stop.requested or 0)

    def _raise_if_stopped(self) -> None:
        if self._stop_signal:
            raise Interrupted(
                f"{signal.Signals(self._stop_signal).name} stopped the training after step "
                f"{self._step} of {self._trainer.state.max_steps}. The same command goes on "
                f"from {self._last or 'the beginning: no resume point was written'}.",
                self._stop_signal,
            )


def _learned(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that learn: all of a classifier, of a tuned model the adapter's alone."""
    return {name: w.detach() for name, w in model.named_parameters() if w.requires_grad}


def _check_files(folder: Path) -> None:
    """Refuse files that were not written here: Trainer would unpickle some, as optimizer.pt."""
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".json", ".jsonl", ".safetensors"):
            raise RunError(
                f"The resume point {folder} holds {path.name}, which pollice does not write, and "
                f"loading it could run foreign code. Delete {path}, or that folder to begin anew."
            )
    if not (folder / _WEIGHTS).is_file():  # those of adapters had another name
        raise RunError(
            f"The resume point {folder} was written by an older pollice and cannot be read. "
            "Delete that folder to begin anew, or finish with the older one."
        )
