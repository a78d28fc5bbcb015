"""Our own training loop for an encoder with a classification head; interrupted, it goes on.

Knows nothing about data sets: rows come as token ids and label codes.
"""

import logging
import math
import signal
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from pollice.errors import Interrupted, MemoryPlanError, TrainingError, counted
from pollice.models.training.job import Job
from pollice.models.training.layers import add_lora, freeze
from pollice.models.training.log import TrainingLog, begin_log
from pollice.models.training.loop_state import new_state, weights_sha256
from pollice.models.training.objectives import Judgement, Objective
from pollice.models.training.options import TrainingOptions
from pollice.models.training.out_of_memory import take_step
from pollice.models.training.peers import connect
from pollice.models.training.resume_points import FOLDER, ResumePointStore
from pollice.models.training.schedule import (
    RELEASE_TOKENS,
    Indices,
    epoch_batches,
    micro_batches,
    padded_tokens,
    rate_share,
    usual_epochs,
)
from pollice.models.training.temperature import set_temperature
from pollice.system.interruption import StopFlag, stopping
from pollice.system.measuring import Release
from pollice.system.progress import Advance, stage

logger = logging.getLogger("pollice")


def train_classifier(model: PreTrainedModel, job: Job[TrainingOptions]) -> dict[str, Any]:
    """Train a classifier, or go on from the newest resume point; it ends with its best weights.

    Returns:
        What was decided on the way, for the report.

    Raises:
        TrainingError: the loss is no longer a finite number.
        MemoryPlanError: not even one row fits into memory.
        Interrupted: a signal came; a complete resume point was written first.
        RunError: the resume point in ``job.workdir`` is of other rows, options or weights.
    """
    with stopping() as stop:
        # LoRA first: the adapters that it puts into frozen layers must be frozen as well.
        rank = job.options.lora_rank
        adapter = add_lora(model, rank) if rank else None
        freeze(model, job.options.frozen_layers)
        facts = _Run(model, job, stop).go()
        if adapter:
            adapter.merge_and_unload()
        model.requires_grad_(True).eval()
    return facts


class _Run:
    """One training: the main flow first, then its steps in their order, then saving."""

    def __init__(self, model: PreTrainedModel, job: Job[TrainingOptions], stop: StopFlag) -> None:
        options = job.options
        self._model = model
        self._job = job
        self._options = options
        self._stop = stop
        self._peers = connect(model.device)
        self._objective = Objective(model, job, self._peers)
        self._epochs = options.epochs or usual_epochs(len(job.train), options.batch_size)
        self._steps = self._epochs * math.ceil(len(job.train) / options.batch_size)
        warmup, most = round(options.warmup * self._steps), options.warmup_steps
        self._warmup_steps = warmup if most is None else min(most, warmup)
        self._store = ResumePointStore(job.workdir / FOLDER, keep=options.keep_checkpoints)
        # Hashed before `_resume`, which puts other weights into the model.
        self._identity = job.identity.with_facts(**{"first weights": weights_sha256(model)[:16]})
        self._state = new_state(model, options)
        self._resume_point = self._resume()
        self._saved_at = time.monotonic()
        self._release = Release(every=RELEASE_TOKENS)
        log = begin_log(job.workdir, self._resume_point, is_first=self._peers.rank == 0)
        self._log = TrainingLog(log, seconds=self._state.position.seconds)

    def go(self) -> dict[str, Any]:
        """Run all epochs that are left, and put the best epoch's weights into the model."""
        at, options = self._state.position, self._options
        total = self._epochs * len(self._job.train)
        with self._log, stage("training", total=total) as advance:
            advance(at.epoch * len(self._job.train) + at.batch * options.batch_size)
            # Asked before each epoch: a run that had ended takes no further epoch on resuming.
            while at.epoch < self._epochs and not self._is_past_its_best():
                self._run_epoch(advance)
                self._finish_epoch()
        self._state.set_weights(self._state.best_weights)
        set_temperature(self._model, at.temperature)
        return {
            "recipe": options.recipe,
            "best_epoch": at.best_epoch,
            "temperature": round(at.temperature, 4),
            "epochs": at.epoch,
            "steps": at.step,
            "padding_waste": round(1 - at.tokens / at.padded_tokens, 4),
            "micro_batch_halved": at.micro_batch_tokens < options.micro_batch_tokens,
            "micro_batch_tokens": at.micro_batch_tokens,
        }

    def _is_past_its_best(self) -> bool:
        at, patience = self._state.position, self._options.patience
        return patience is not None and at.epoch - at.best_epoch >= patience

    def _run_epoch(self, advance: Advance) -> None:
        at, options = self._state.position, self._options
        batches = epoch_batches(
            self._job.train.lengths,
            batch_size=options.batch_size,
            seed=options.seed,
            epoch=at.epoch,
        )
        for rows in batches[at.batch :]:
            before = at.padded_tokens
            self._train_step(rows)
            advance(len(rows))
            self._release.after(at.padded_tokens - before)
            # Without checkpoint_steps the divisor is above every step's number: none is due.
            if at.step % (options.checkpoint_steps or self._steps + 1) == 0:
                self._save()
            else:
                self._save_after(options.checkpoint_minutes)
            self._end_if_asked()

    def _train_step(self, rows: Indices) -> None:
        rate = self._set_rate()
        loss, right = self._find_gradients(rows)
        grad_norm = self._clip_gradients()
        self._check_finite(loss, grad_norm, rate)
        self._change_weights(right)
        self._log_step(rows, loss=loss, learning_rate=rate, grad_norm=grad_norm)

    def _set_rate(self) -> float:
        """Give every group of weights its rate at this step; return the highest."""
        at, highest = self._state.position, self._options.learning_rate
        rate = highest * rate_share(at.step, steps=self._steps, warmup_steps=self._warmup_steps)
        self._state.set_rate(rate)
        return rate

    def _find_gradients(self, rows: Indices) -> tuple[float, int]:
        """Return the step's loss and how many rows were right; passes shrink to fit into memory."""
        at, peers, lengths = self._state.position, self._peers, self._job.train.lengths
        mine = rows[peers.rank :: peers.size]  # so all have rows of like length: they are in order
        # Dropout depends on seed, step and process alone: a step that is taken again, after an
        # interruption or for lack of memory, is the same step.
        seeds = np.random.SeedSequence((self._options.seed, at.step, peers.rank))
        dropout_seed = int(seeds.generate_state(1, np.uint64)[0])

        def passes() -> list[Indices]:
            return micro_batches(lengths, mine, micro_batch_tokens=at.micro_batch_tokens)

        def attempt() -> torch.Tensor:
            torch.manual_seed(dropout_seed)
            return self._objective.add_gradients(passes(), rows)

        sums = take_step(
            attempt, attempt, lambda: self._shrink(passes()), step=at.step + 1, peers=peers
        )
        at.tokens += int(lengths[mine].sum())
        at.padded_tokens += sum(padded_tokens(lengths, one) for one in passes())
        loss, right = peers.sum(sums).tolist()
        return loss, int(right)

    def _shrink(self, passes: list[Indices]) -> str:
        """Halve the tokens of a pass, and forget the gradients of passes that did not fit."""
        at, lengths = self._state.position, self._job.train.lengths
        self._state.optimizer.zero_grad()
        # Half of the largest pass there was, not of the limit, which may lie far above it.
        most_tokens = max((padded_tokens(lengths, one) for one in passes), default=0)
        largest = self._peers.largest(most_tokens)
        if self._peers.largest(max((len(one) for one in passes), default=0)) == 1:
            raise MemoryPlanError(
                f"Step {at.step + 1} does not fit into memory even with one row of {largest} "
                "tokens at a time. Lower max_tokens, or train less of the model with lora_rank or "
                "frozen_layers."
            )
        at.micro_batch_tokens = largest // 2
        return f"in passes of at most {counted(at.micro_batch_tokens, 'token')}"

    def _clip_gradients(self) -> float:
        # Sum before the clip: all processes must scale by the norm of the whole step. An infinite
        # limit clips nothing, and the norm is still returned for the log.
        weights = list(self._state.weights.values())
        self._peers.sum_gradients(weights)
        return float(nn.utils.clip_grad_norm_(weights, self._options.clip_norm or math.inf))

    def _check_finite(self, loss: float, grad_norm: float, rate: float) -> None:
        if math.isfinite(loss) and math.isfinite(grad_norm):
            return
        what = f"loss became {loss}" if not math.isfinite(loss) else f"gradient became {grad_norm}"
        kept = f"is {self._resume_point}" if self._resume_point else "was not written yet"
        raise TrainingError(
            f"In step {self._state.position.step + 1} the {what} at a learning rate of {rate:.3g}: "
            f"training has diverged. Lower learning_rate. The last good resume point {kept}."
        )

    def _change_weights(self, right: int) -> None:
        at = self._state.position
        self._state.optimizer.step()
        self._state.optimizer.zero_grad()
        at.step, at.batch, at.right = at.step + 1, at.batch + 1, at.right + right

    def _log_step(self, rows: Indices, **facts: float) -> None:
        at = self._state.position
        seen = min(1.0, at.batch * self._options.batch_size / len(self._job.train))
        tokens = int(self._job.train.lengths[rows].sum())
        self._log.step(step=at.step, epoch=at.epoch + seen, tokens=tokens, **facts)

    def _finish_epoch(self) -> None:
        at = self._state.position
        facts = {"train_accuracy": at.right / len(self._job.train)}
        # The position moves on only after the judgement. A run that is stopped in it has no batches
        # of this epoch left when it resumes, and judges again.
        judged = self._objective.judge_validation(self._end_if_asked)
        at.epoch, at.batch, at.right = at.epoch + 1, 0, 0
        self._choose(judged)
        facts |= judged.facts if judged else {}
        self._log.epoch(step=at.step, epoch=at.epoch, facts=facts)
        self._save_after(self._options.checkpoint_minutes / 10)
        self._end_if_asked()

    def _choose(self, judged: Judgement | None) -> None:
        """Remember the weights if they are the best yet; unjudged, the last ones are."""
        at, select = self._state.position, self._options.select
        temperature = 1.0 if judged is None else (judged.temperature or 1.0)
        if judged is None or select == "last":
            at.best_epoch, at.temperature = at.epoch, temperature
        elif at.best is None or judged.rank(select) < at.best:
            at.best, at.best_epoch, at.temperature = judged.rank(select), at.epoch, temperature
            self._state.keep_weights()

    def _resume(self) -> Path | None:
        """Go on from the newest resume point, if there is one; return its folder."""
        found = None
        for rank in range(self._peers.size):  # the first deletes what is damaged, then all look
            if rank == self._peers.rank:
                found = self._store.latest()
            self._peers.wait()
        if found is None:
            return None
        self._identity.check(found.identity, found.folder.parent)
        self._state.load(found.folder, found.facts)
        # There may be less memory now than there was then, or too little had been found then.
        at, most = self._state.position, self._options.micro_batch_tokens
        at.micro_batch_tokens = min(at.micro_batch_tokens, most)
        logger.info("Training goes on from step %d of %d.", found.step, self._steps)
        return found.folder

    def _save(self) -> None:
        at = self._state.position
        at.seconds = self._log.seconds
        self._saved_at = time.monotonic()
        # No process waits here, so it does no harm that clocks differ in `_save_after`.
        if self._peers.rank == 0:
            folder = self._store.publish(
                at.step, self._write, identity=self._identity.values(), facts=asdict(at)
            )
            self._resume_point = folder or self._resume_point

    def _write(self, folder: Path) -> None:
        self._state.save(folder)
        self._log.copy(folder)

    def _save_after(self, minutes: float) -> None:
        if time.monotonic() - self._saved_at >= 60 * minutes:
            self._save()

    def _end_if_asked(self) -> None:
        """Write a resume point and end, where any of the processes was asked to."""
        # A signal may reach only one process; if it left alone, the others would wait for it.
        number = self._peers.largest(self._stop.requested or 0)
        if number == 0:
            return
        self._save()
        self._peers.wait()  # the launcher ends all as soon as one has ended
        beginning = "the beginning, since no resume point could be written"
        raise Interrupted(
            f"{signal.Signals(number).name} stopped the training after step "
            f"{self._state.position.step} of {self._steps}. The same command goes on from "
            f"{self._resume_point or beginning}.",
            number,
        )
