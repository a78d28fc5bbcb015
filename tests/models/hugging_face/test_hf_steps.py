"""Steps that do not fit into memory are repeated in parts, and processes share them."""

import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from pollice.errors import Interrupted, MemoryPlanError
from tiny import tiny_encoder
from tiny_hf_training import Outcome, before_pass, check_same, children, fit, stop


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint without dropout."""
    folder = tiny_encoder(tmp_path_factory.mktemp("calm") / "bert", "bert")
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


# Without enough memory.


@contextmanager
def memory_for(rows: int) -> Iterator[None]:
    """Let training run out of memory with more rows at once."""

    def count(module: torch.nn.Module, _: Any, output: Any) -> None:
        if module.training and len(getattr(output, "logits", ())) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = register_module_forward_hook(count)
    try:
        yield
    finally:
        hook.remove()


def run_out() -> None:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "pollice"]


def check_alike(found: Outcome, expected: Outcome) -> None:
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
    for here, there in zip(found.log, expected.log, strict=True):
        assert here == pytest.approx(there, abs=1e-4)


@pytest.mark.parametrize(("rows", "parts"), [(2, 4), (1, 8)])
def test_steps_that_do_not_fit_are_repeated_in_smaller_parts(
    rows: int, parts: int, calm: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = fit(tmp_path / "expected", calm)
    with memory_for(rows):
        found = fit(tmp_path / "found", calm)
    check_alike(found, expected)
    assert found.facts == {"micro_batches": parts}
    assert said(caplog) == [
        f"Step 1 did not fit into memory: it is taken again in {number} passes, and so are all "
        "that follow."
        for number in (4, 8)
        if number <= parts
    ]


def test_a_step_is_repeated_from_its_first_micro_batch(calm: Path, tmp_path: Path) -> None:
    expected = fit(tmp_path / "expected", calm)
    with before_pass(6, run_out):
        found = fit(tmp_path / "found", calm)
    check_alike(found, expected)
    assert found.facts == {"micro_batches": 4}


def test_the_parts_are_kept_where_a_run_goes_on(calm: Path, tmp_path: Path) -> None:
    with memory_for(2):
        expected = fit(tmp_path / "expected", calm)
        with (
            before_pass(24, stop),
            pytest.raises(Interrupted),
        ):
            fit(tmp_path / "found", calm)
    found = fit(tmp_path / "found", calm)
    check_same(found, expected)
    assert found.facts == {"micro_batches": 4}


def test_one_row_that_does_not_fit_is_refused(calm: Path, tmp_path: Path) -> None:
    sentence = (
        "Step 1 does not fit into memory even with one row of up to 32 tokens at a time. Lower "
        "max_tokens, or take a smaller checkpoint."
    )
    with memory_for(0), pytest.raises(MemoryPlanError, match=f"^{re.escape(sentence)}$"):
        fit(tmp_path, calm)


# Several processes.


def share(rank: int, port: int, workdir: Path, checkpoint: Path, stop_at: int) -> None:
    """Be one of two processes, as torchrun starts them."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    os.environ |= {name: str(value) for name, value in place.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    try:
        with before_pass(stop_at if rank == 1 else 0, stop):
            outcome = fit(workdir, checkpoint, gradient_accumulation_steps=1)
    except Interrupted as ended:
        sys.exit(ended.exit_code)
    np.save(workdir / f"{rank}.npy", outcome.probabilities)


def two_processes(workdir: Path, checkpoint: Path, *, stop_at: int = 0) -> list[int | None]:
    workdir.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    both = [
        children.Process(target=share, args=(rank, port, workdir, checkpoint, stop_at))
        for rank in range(2)
    ]
    for child in both:
        child.start()
    for child in both:
        child.join()
    return [child.exitcode for child in both]


def accuracies(workdir: Path) -> list[float]:
    rows = map(json.loads, (workdir / "training.jsonl").read_text(encoding="utf-8").splitlines())
    return [row["train_accuracy"] for row in rows if "train_accuracy" in row]


def test_two_processes_learn_what_one_learns(calm: Path, tmp_path: Path) -> None:
    """The last step has 4 rows, and a signal to the second process ends both."""
    alone = fit(tmp_path / "alone", calm, gradient_accumulation_steps=1)
    together = tmp_path / "together"
    assert two_processes(together, calm) == [0, 0]
    for rank in range(2):
        np.testing.assert_allclose(
            np.load(together / f"{rank}.npy"), alone.probabilities, atol=1e-3
        )
    assert len((together / "training.jsonl").read_text().splitlines()) == len(alone.log)
    ended = tmp_path / "ended"
    assert two_processes(ended, calm, stop_at=4) == [143, 143]
    assert [path.name for path in (ended / "checkpoints").iterdir()] == ["step-00000004"]
    assert two_processes(ended, calm) == [0, 0]
    np.testing.assert_array_equal(np.load(ended / "0.npy"), np.load(together / "0.npy"))
    assert accuracies(ended) == accuracies(together)
