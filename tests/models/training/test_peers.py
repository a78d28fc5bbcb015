"""Several processes learn what one would, agree on when to end, and only the first writes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from killing import in_processes
from pollice.methods.finetune import Finetune
from pollice.models.training.peers import connect
from pollice.system.processes import is_first
from tiny import tiny_encoder
from tiny_training import TRAIN, USUAL, VALIDATION, at_forward, same, trained

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("parallel") / "bert", "bert")


def test_alone_a_process_agrees_with_itself() -> None:
    peers = connect(CPU)
    assert (peers.rank, peers.size) == (0, 1)
    assert peers.largest(3) == 3
    assert torch.equal(peers.sum(torch.tensor([1.0, 2.0])), torch.tensor([1.0, 2.0]))
    weight = nn.Parameter(torch.ones(2))
    peers.sum_gradients([weight])
    assert weight.grad is None
    peers.wait()
    assert is_first()


def check_sums(rank: int) -> None:
    peers = connect(CPU)
    assert (peers.rank, peers.size) == (rank, 2)
    assert is_first() == (rank == 0)
    assert peers.sum(torch.tensor([1.0, rank])).tolist() == [2.0, 1.0]
    assert peers.largest(7 * rank) == 7
    both, one, none = (nn.Parameter(torch.zeros(2, 2)) for _ in range(3))
    both.grad = torch.full((2, 2), rank + 1.0)
    if rank:
        one.grad = torch.ones(2, 2)
    peers.sum_gradients([both, one, none])
    assert both.grad.eq(3).all()
    assert one.grad is not None
    assert one.grad.eq(1).all()
    assert none.grad is None
    assert connect(CPU) == peers


def test_processes_add_up_and_agree() -> None:
    assert in_processes(2, check_sums) == [0, 0]


def without_dropout(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def weights_of(folder: Path, rank: int) -> dict[str, Tensor]:
    return load_file(folder / f"{rank}.safetensors")


def test_two_processes_learn_what_one_does(checkpoint: Path, tmp_path: Path) -> None:
    """The last step of an epoch has one row: one of the processes has none."""
    options: dict[str, Any] = {"train": TRAIN.take(range(61)), "batch_size": 15, "epochs": 2}

    def work(rank: int) -> None:
        outcome = trained(checkpoint, tmp_path, prepare=without_dropout, **options)
        save_file(outcome.weights, tmp_path / f"{rank}.safetensors")

    assert in_processes(2, work) == [0, 0]
    assert same(weights_of(tmp_path, 0), weights_of(tmp_path, 1))
    together = (tmp_path / "training.jsonl").read_text().splitlines()
    alone = trained(checkpoint, tmp_path / "alone", prepare=without_dropout, **options)
    assert len(together) == len(alone.steps) + len(alone.epochs)
    for name, value in weights_of(tmp_path, 0).items():
        torch.testing.assert_close(value, alone.weights[name], rtol=0, atol=1e-3)
    loss = json.loads(together[-1])["validation_loss"]
    assert loss == pytest.approx(alone.epochs[-1]["validation_loss"], abs=1e-3)


def test_a_signal_to_one_ends_both_and_both_go_on(checkpoint: Path, tmp_path: Path) -> None:
    """Dropout is drawn apart in each process, and is the same after going on."""
    options: dict[str, Any] = {"epochs": 2}

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def work(folder: Path, stopped: int | None, rank: int) -> None:
        prepare = at_forward(3, stop) if rank == stopped else lambda model: None
        outcome = trained(checkpoint, folder, prepare=prepare, **options)
        save_file(outcome.weights, folder / f"{rank}.safetensors")

    whole, ended = tmp_path / "whole", tmp_path / "ended"
    assert in_processes(2, partial(work, whole, None)) == [0, 0]
    assert in_processes(2, partial(work, ended, 1)) == [143, 143]
    assert [path.name for path in (ended / "checkpoints").iterdir()] == ["step-00000003"]
    assert in_processes(2, partial(work, ended, None)) == [0, 0]
    for rank in (0, 1):
        assert same(weights_of(ended, rank), weights_of(whole, 0))


def test_where_memory_runs_out_for_one_both_take_smaller_passes(
    checkpoint: Path, tmp_path: Path
) -> None:
    def refuse(module: Any, arguments: Any, fields: dict[str, Any]) -> None:
        if module.training and len(fields["input_ids"]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    def work(rank: int) -> None:
        def limit(model: Any) -> None:
            if rank:
                model.register_forward_pre_hook(refuse, with_kwargs=True)

        outcome = trained(checkpoint, tmp_path, prepare=limit, epochs=1)
        assert outcome.facts["micro_batch_halved"] is True
        save_file(outcome.weights, tmp_path / f"{rank}.safetensors")

    assert in_processes(2, work) == [0, 0]
    assert same(weights_of(tmp_path, 0), weights_of(tmp_path, 1))


LAUNCHED = """
import sys
from pathlib import Path

from safetensors.numpy import save_file

from pollice.methods.finetune import Finetune
from pollice.system.processes import is_first
from tiny_training import TRAIN, USUAL, VALIDATION

checkpoint, folder = sys.argv[1:]
method = Finetune(checkpoint=checkpoint, **USUAL)
predictor = method.fit(TRAIN, VALIDATION, workdir=Path(folder))
if is_first():
    save_file({"scores": predictor.predict_proba(VALIDATION.texts)}, f"{folder}/scores")
"""


def test_torchrun_gives_the_predictions_of_one_process(checkpoint: Path, tmp_path: Path) -> None:
    """Without dropout, which each process draws for itself."""
    plain = tmp_path / "plain"
    shutil.copytree(checkpoint, plain)
    config = json.loads((plain / "config.json").read_text())
    (plain / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.0}))
    (tmp_path / "launched.py").write_text(LAUNCHED)
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    command = [*(sys.executable, "-m", "torch.distributed.run", "--standalone")]
    command += ["--nproc_per_node", "2", str(tmp_path / "launched.py"), str(plain), str(together)]
    places = (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", ""))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    method = Finetune(checkpoint=str(plain), **USUAL)
    expected = method.fit(TRAIN, VALIDATION, workdir=alone).predict_proba(VALIDATION.texts)
    np.testing.assert_allclose(load_file(together / "scores")["scores"], expected, atol=1e-3)
