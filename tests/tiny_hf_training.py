"""Training a tiny checkpoint with transformers' Trainer, ended here and there."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.modules.module import register_module_forward_pre_hook

from pollice.methods.trainer import HuggingFaceTrainer
from pollice.system.hashing import file_sha256
from tiny import opinions

ROWS = opinions(52)
TRAIN, VALIDATION, UNSEEN = ROWS.take(range(36)), ROWS.take(range(36, 48)), ROWS.take(range(48, 52))
USUAL: dict[str, Any] = {
    "epochs": 2,
    "learning_rate": 0.003,
    "batch_size": 8,
    "gradient_accumulation_steps": 2,
    "max_tokens": 32,
    "dtype": "float32",
    "checkpoint_steps": 2,
}
STEPS, PASSES = 5, 10  # of an epoch: steps, and batches that go through the model in training

children = multiprocessing.get_context("forkserver")
children.set_forkserver_preload(["tiny_hf_training"])


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run left: its predictions, its last checkpoint, its log without the clock."""

    probabilities: NDArray[np.float64]
    checkpoint: dict[str, str]
    log: list[dict[str, Any]]
    facts: dict[str, Any]


def fit(workdir: Path, checkpoint: Path, **options: Any) -> Outcome:
    workdir.mkdir(exist_ok=True)
    method = HuggingFaceTrainer(checkpoint=str(checkpoint), **{**USUAL, **options})
    predictor = method.fit(TRAIN, VALIDATION, workdir=workdir)
    folders = sorted((workdir / "checkpoints").iterdir())
    lines = (workdir / "training.jsonl").read_text(encoding="utf-8").splitlines()
    clock = ("seconds", "tokens_per_second")
    rows = [json.loads(line) for line in lines]
    return Outcome(
        probabilities=predictor.predict_proba(UNSEEN.texts),
        checkpoint={path.name: file_sha256(path) for path in folders[-1].glob("*.safetensors")},
        log=[{name: row[name] for name in row if name not in clock} for row in rows],
        facts=dict(predictor.facts),
    )


def check_same(found: Outcome, expected: Outcome) -> None:
    """The last checkpoint holds weights, best weights, optimizer and random numbers."""
    assert len(expected.checkpoint) == 4
    assert found.checkpoint == expected.checkpoint
    assert found.log == expected.log
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)


@contextmanager
def before_pass(number: int, act: Callable[[], object]) -> Iterator[None]:
    """Act just before a batch goes through the classifier for the ``number``-th time."""
    passes = 0

    def count(module: torch.nn.Module, _: Any) -> None:
        nonlocal passes
        if type(module).__name__.endswith("ForSequenceClassification"):
            passes += 1
            if passes == number:
                act()

    hook = register_module_forward_pre_hook(count)
    try:
        yield
    finally:
        hook.remove()


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_child(work: Callable[..., None], *arguments: Any) -> int | None:
    child = children.Process(target=work, args=arguments)
    child.start()
    child.join()
    return child.exitcode


def stop(sent: signal.Signals = signal.SIGTERM) -> None:
    signal.raise_signal(sent)
