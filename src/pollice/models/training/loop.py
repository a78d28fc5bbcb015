"""Training an encoder with a classification head: the loop, and how it goes on after an end.

Knows nothing about data sets: rows come as token ids and label codes.
"""

import logging
import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from pollice.errors import Interrupted, MemoryPlanError, TrainingError
from pollice.models.batching import length_batches
from pollice.models.encoder.reader import Reader
from pollice.models.training.checkpoints import CheckpointStore, check_identity
from pollice.models.training.layers import add_lora, freeze
from pollice.models.training.log import Journal, begin_journal
from pollice.models.training.loop_state import identity_of, new_state
from pollice.models.training.options import TrainingOptions
from pollice.models.training.peers import Peers
from pollice.models.training.rows import Rows
from pollice.models.training.schedule import (
    RELEASE_TOKENS,
    Indices,
    epoch_batches,
    micro_batches,
    padded_tokens,
    rate_share,
    usual_epochs,
)
from pollice.models.training.temperature import find_temperature, set_temperature, tempered
from pollice.system.interruption import StopFlag, stopping
from pollice.system.measuring import Release
from pollice.system.progress import Advance, stage

logger = logging.getLogger("pollice")

_MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained on, how, and where its log and checkpoints lie."""

    train: Rows
    validation: Rows
    reader: Reader
    options: TrainingOptions
    dtype: torch.dtype
    """That of the passes; the weights stay as they are."""
    workdir: Path
    peers: Peers


def train_classifier(model: PreTrainedModel, job: Job) -> dict[str, Any]:
    """Train a classifier, or go on from its newest checkpoint; the best epoch's weights stay in it.

    Returns:
        What was decided on the way, for the report.

    Raises:
        TrainingError: the loss is no longer a finite number.
        MemoryPlanError: not even one row fits into memory.
        Interrupted: a signal came; a complete checkpoint was written first.
        RunError: the checkpoint in ``job.workdir`` is of other rows, options or weights.
    """
    with stopping() as stop:
        rank = job.options.lora_rank
        adapter = add_lora(model, rank) if rank else None
        freeze(model, job.options.frozen_layers)
        facts = _Run(model, job, stop).go()
        if adapter:
            adapter.merge_and_unload()
        model.requires_grad_(True).eval()
    return facts


class _Run:
    def __init__(self, model: PreTrainedModel, job: Job, stop: StopFlag) -> None:
        self._model = model
        self._job = job
        self._options = job.options
        self._peers = job.peers
        self._stop = stop
        self._forward: Any = torch.compile(model, dynamic=True) if job.options.compile else model
        label_weights = _label_weights(model, job)
        self._label_weights = label_weights.to(model.device)
        self._row_weights = label_weights.numpy()[job.train.codes]
        batch_size = job.options.batch_size
        self._epochs = job.options.epochs or usual_epochs(len(job.train), batch_size)
        self._steps = self._epochs * math.ceil(len(job.train) / batch_size)
        warmup_steps = round(job.options.warmup * self._steps)
        most = job.options.warmup_steps
        self._warmup_steps = warmup_steps if most is None else min(most, warmup_steps)
        self._store = CheckpointStore(
            job.workdir / "checkpoints", keep=job.options.keep_checkpoints
        )
        self._identity = identity_of(model, job.options, job.train, job.validation)
        self._state = new_state(model, job.options)
        self._last_checkpoint = self._resume()
        self._saved_at = time.monotonic()
        self._release = Release(every=RELEASE_TOKENS)
        is_first = self._peers.rank == 0
        log = begin_journal(job.workdir, self._last_checkpoint, is_first=is_first)
        self._journal = Journal(log, seconds=self._state.position.seconds)

    def go(self) -> dict[str, Any]:
        """Run all epochs that are left, and put the best epoch's weights into the model."""
        at, options = self._state.position, self._options
        total = self._epochs * len(self._job.train)
        with self._journal, stage("training", total=total) as advance:
            advance(at.epoch * len(self._job.train) + at.batch * options.batch_size)
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
            self._step(rows)
            advance(len(rows))
            self._release.after(at.padded_tokens - before)
            if at.step % (options.checkpoint_steps or self._steps + 1) == 0:
                self._save()
            else:
                self._save_after(options.checkpoint_minutes)
            self._end_if_asked()

    def _step(self, rows: Indices) -> None:
        """Learn from some rows, and log it."""
        at, options, state = self._state.position, self._options, self._state
        share = rate_share(at.step, steps=self._steps, warmup_steps=self._warmup_steps)
        state.set_rate(options.learning_rate * share)
        loss, right = self._find_gradients(rows)
        grad_norm = self._clip_gradients()
        self._check_finite(loss, grad_norm, options.learning_rate * share)
        state.optimizer.step()
        state.optimizer.zero_grad()
        at.step, at.batch, at.right = at.step + 1, at.batch + 1, at.right + right
        seen = min(1.0, at.batch * options.batch_size / len(self._job.train))
        self._journal.step(
            step=at.step,
            epoch=at.epoch + seen,
            loss=loss,
            learning_rate=options.learning_rate * share,
            grad_norm=grad_norm,
            tokens=int(self._job.train.lengths[rows].sum()),
        )

    def _find_gradients(self, rows: Indices) -> tuple[float, int]:
        """Return the rows' loss and how many were right; where memory runs out, try smaller passes.

        Dropout is a function of seed, step and process: a step taken again is the same step.
        """
        at, peers, lengths = self._state.position, self._peers, self._job.train.lengths
        seeds = np.random.SeedSequence((self._options.seed, at.step, peers.rank))
        mine = rows[peers.rank :: peers.size]  # they are in the order of their lengths
        while True:
            torch.manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
            passes = micro_batches(lengths, mine, micro_batch_tokens=at.micro_batch_tokens)
            sums, fits = self._accumulate(passes, float(self._row_weights[rows].sum()))
            if peers.largest(int(not fits)) == 0:
                break
            self._state.optimizer.zero_grad()
            self._halve(passes)
        at.tokens += int(lengths[mine].sum())
        at.padded_tokens += sum(padded_tokens(lengths, one) for one in passes)
        loss, right = peers.sum(sums).tolist()
        return loss, int(right)

    def _accumulate(self, passes: Sequence[Indices], total_weight: float) -> tuple[Tensor, bool]:
        """Add up the gradients; return loss and right rows, and whether memory was enough."""
        self._model.train()
        sums = torch.zeros(2, device=self._model.device)
        fits = True
        try:
            for rows in passes:
                codes = self._codes(rows)
                logits = self._logits(self._job.train, rows)
                loss = nn.functional.cross_entropy(
                    logits,
                    codes,
                    weight=self._label_weights,
                    reduction="sum",
                    label_smoothing=self._options.label_smoothing,
                )
                (loss / total_weight).backward()
                right = (logits.argmax(dim=-1) == codes).sum()
                sums += torch.stack([loss.detach() / total_weight, right])
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            fits = False
        return sums, fits

    def _halve(self, passes: Sequence[Indices]) -> None:
        at, lengths = self._state.position, self._job.train.lengths
        most_tokens = max((padded_tokens(lengths, one) for one in passes), default=0)
        largest = self._peers.largest(most_tokens)
        if self._peers.largest(max((len(one) for one in passes), default=0)) == 1:
            raise MemoryPlanError(
                f"Step {at.step + 1} does not fit into memory even with one row of {largest} "
                "tokens at a time. Lower max_tokens, or train less of the model with lora_rank or "
                "frozen_layers."
            )
        at.micro_batch_tokens = largest // 2
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        logger.warning(
            "Step %d did not fit into memory: it is taken again in passes of at most %d tokens, "
            "and so are all that follow.",
            at.step + 1,
            at.micro_batch_tokens,
        )

    def _clip_gradients(self) -> float:
        weights = list(self._state.weights.values())
        self._peers.sum_gradients(weights)
        return float(nn.utils.clip_grad_norm_(weights, self._options.clip_norm or math.inf))

    def _check_finite(self, loss: float, grad_norm: float, rate: float) -> None:
        if math.isfinite(loss) and math.isfinite(grad_norm):
            return
        what = f"loss became {loss}" if not math.isfinite(loss) else f"gradient became {grad_norm}"
        kept = f"is {self._last_checkpoint}" if self._last_checkpoint else "was not written yet"
        raise TrainingError(
            f"In step {self._state.position.step + 1} the {what} at a learning rate of {rate:.3g}: "
            f"training has diverged. Lower learning_rate. The last good checkpoint {kept}."
        )

    def _codes(self, rows: Indices) -> Tensor:
        return torch.from_numpy(self._job.train.codes[rows]).to(self._model.device)

    def _logits(self, rows: Rows, numbers: Indices) -> Tensor:
        device, dtype = self._model.device, self._job.dtype
        batch = self._job.reader.pad([rows.tokens[row] for row in numbers], device, align=False)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            logits: Tensor = self._forward(**batch).logits
        return logits.float()

    def _finish_epoch(self) -> None:
        at = self._state.position
        facts = {"train_accuracy": at.right / len(self._job.train)}
        judged = self._judge_validation() if len(self._job.validation) else {}
        at.epoch, at.batch, at.right = at.epoch + 1, 0, 0
        self._choose(judged)
        self._journal.epoch(step=at.step, epoch=at.epoch, facts=facts | judged)
        self._save_after(self._options.checkpoint_minutes / 10)
        self._end_if_asked()

    def _choose(self, judged: Mapping[str, float]) -> None:
        """Remember the weights if they are the best yet; unjudged, the last ones are."""
        at, select = self._state.position, self._options.select
        if not judged or select == "last":
            at.best_epoch, at.temperature = at.epoch, judged.get("temperature", 1.0)
            return
        loss = judged.get("validation_tempered_loss", judged["validation_loss"])
        wrong = -judged["validation_accuracy"]
        key = (loss, wrong) if select == "log_loss" else (wrong, loss)
        if at.best is None or key < at.best:
            at.best, at.best_epoch, at.temperature = key, at.epoch, judged.get("temperature", 1.0)
            self._state.keep_weights()

    def _judge_validation(self) -> dict[str, float]:
        rows = self._job.validation
        table = self._judge(rows)
        loss, accuracy = rows.judge(table)
        judged = {"validation_loss": loss, "validation_accuracy": accuracy}
        if self._options.temperature:
            temperature = find_temperature(rows, table)
            tempered_loss, _ = rows.judge(tempered(table, temperature))
            judged |= {"temperature": temperature, "validation_tempered_loss": tempered_loss}
        return judged

    @torch.no_grad()
    def _judge(self, rows: Rows) -> NDArray[np.float64]:
        """Return log-probabilities ``(rows, labels)``; batches are dealt to the processes."""
        self._model.eval()
        rank, size = self._peers.rank, self._peers.size
        table = torch.zeros(len(rows), len(self._label_weights), dtype=torch.float64)
        batches = length_batches(rows.lengths, batch_tokens=self._options.batch_tokens)
        for start in range(0, len(batches), size):
            self._end_if_asked()
            for batch in batches[start + rank : start + rank + 1]:
                table[batch] = self._logits(rows, batch).double().log_softmax(dim=-1).cpu()
        summed: NDArray[np.float64] = self._peers.sum(table).cpu().numpy()
        return summed

    def _resume(self) -> Path | None:
        """Go on from the newest checkpoint, if there is one; return its folder."""
        found = None
        for rank in range(self._peers.size):  # the first deletes what is damaged, then all look
            if rank == self._peers.rank:
                found = self._store.latest()
            self._peers.wait()
        if found is None:
            return None
        check_identity(found.identity, self._identity, found.folder.parent)
        self._state.load(found.folder, found.facts)
        logger.info("Training goes on from step %d of %d.", found.step, self._steps)
        return found.folder

    def _save(self) -> None:
        at = self._state.position
        at.seconds = self._journal.seconds
        self._saved_at = time.monotonic()
        if self._peers.rank == 0:
            folder = self._store.publish(
                at.step, self._write, identity=self._identity, facts=asdict(at)
            )
            self._last_checkpoint = folder or self._last_checkpoint

    def _write(self, folder: Path) -> None:
        self._state.save(folder)
        self._journal.copy(folder)

    def _save_after(self, minutes: float) -> None:
        if time.monotonic() - self._saved_at >= 60 * minutes:
            self._save()

    def _end_if_asked(self) -> None:
        """Write a checkpoint and end, where any of the processes was asked to."""
        number = self._peers.largest(self._stop.requested or 0)
        if number == 0:
            return
        self._save()
        self._peers.wait()  # the launcher ends all as soon as one has ended
        kept = self._last_checkpoint
        raise Interrupted(
            f"{signal.Signals(number).name} stopped the training after step "
            f"{self._state.position.step} of {self._steps}. The same command goes on from "
            f"{kept if kept else 'the beginning, since no checkpoint could be written'}.",
            number,
        )


def _label_weights(model: PreTrainedModel, job: Job) -> Tensor:
    """Return each label's weight in the loss; balanced, each label's rows weigh the same."""
    labels = model.config.num_labels or 0
    if not job.options.class_weights:
        return torch.ones(labels)
    counts = np.maximum(np.bincount(job.train.codes, minlength=labels), 1)
    return torch.from_numpy((len(job.train) / (labels * counts)).astype(np.float32))


def _is_out_of_memory(error: Exception) -> bool:
    """Tell whether memory ran out: on a CPU, torch says it in words only."""
    said = str(error).lower()
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or any(words in said for words in _MEMORY_WORDS)
