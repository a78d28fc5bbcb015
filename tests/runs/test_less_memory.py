"""An interrupted fit goes on with less memory than it began with, to the same predictions."""

import csv
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from pollice.data.splits import SplitOptions
from pollice.errors import Interrupted
from pollice.memory.planner import Candidate, plan_memory
from pollice.method import options_without_effect
from pollice.methods import find_method, method_names
from pollice.models.pretrained.devices import quiet
from pollice.predictions.table import Predictions
from pollice.runs.experiment import DataSource, Experiment, fill_in_defaults
from pollice.runs.fitting import lengths_of
from pollice.runs.folder import RunFolder
from pollice.runs.run import prepare, run_experiment
from pollice.system.progress import Advance, listening
from tiny import opinions, tiny_causal, tiny_encoder

PLENTY = 2**40
TRAIN_ROWS = 48


@dataclass(frozen=True, kw_only=True)
class Row:
    """What the test needs to know of a method."""

    build: Callable[[Path], Path]
    options: Mapping[str, Any] = field(default_factory=dict)
    way: int
    """The number of the planner's way in which it goes on; it begins in the first smaller one."""
    changed: frozenset[str]
    """The options that the planner has changed in the end."""
    facts: Mapping[str, Any]
    """What the predictor says of its passes in the end."""


def wide_encoder(folder: Path) -> Path:
    return widened(tiny_encoder(folder, "bert"), AutoModel, layers=2, width=8192)


def wide_causal(folder: Path) -> Path:
    """So deep that recomputation saves much."""
    return widened(tiny_causal(folder, "llama"), AutoModelForCausalLM, layers=6, width=3072)


def widened(folder: Path, kind: Any, *, layers: int, width: int) -> Path:
    """Make a checkpoint so large that what the planner changes is a matter of memory.

    It has no dropout, whose masks depend on the passes.
    """
    shape = {"intermediate_size": width, "num_hidden_layers": layers}
    calm = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = kind.from_config(AutoConfig.from_pretrained(folder, **shape, **calm))
    with torch.no_grad():  # as they are drawn by default, all texts look alike
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.normal_(std=0.2)
    with quiet():
        model.save_pretrained(folder)
    return folder


ROWS: dict[str, Row] = {
    "finetune": Row(
        build=wide_encoder,
        way=2,
        changed=frozenset({"micro_batch_tokens"}),
        facts={"micro_batch_tokens": 1024},
    ),
    "trainer": Row(
        build=wide_encoder,
        options={"attention_dropout": 0.0},
        way=2,
        changed=frozenset({"gradient_accumulation_steps"}),
        facts={"micro_batches": 4},
    ),
    "lora": Row(
        build=wide_causal,
        options={"batch_tokens": 4096, "judge_before": False},
        way=-1,
        changed=frozenset({"batch_tokens", "recompute"}),
        facts={"micro_batches": 16},
    ),
}
COMMON: Mapping[str, Any] = {
    **{"epochs": 2, "batch_size": 16, "learning_rate": 0.003, "max_tokens": 256},
    **{"dtype": "float32", "device": "cpu", "checkpoint_steps": 3},
}


def experiment_of(name: str, folder: Path) -> Experiment:
    """Return a fit on short texts and one that is as long as is read: the plan is made for it."""
    rows = opinions(TRAIN_ROWS + 24)
    texts = ("the film was great " * 200, *rows.texts[1:])
    with (folder / "opinions.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(texts, rows.labels, strict=True)])
    checkpoint = ROWS[name].build(folder / "checkpoint")
    return Experiment(
        data=DataSource(source=str(folder / "opinions.csv")),
        split=SplitOptions(train_rows=TRAIN_ROWS, validation_rows=8, test_rows=16),
        methods={name: {**COMMON, **ROWS[name].options, "checkpoint": str(checkpoint)}},
    )


def exact_ways(experiment: Experiment) -> list[Candidate]:
    """Return the planner's ways that a run may take, the largest first."""
    ((_, method),) = fill_in_defaults(experiment)[1].items()
    parts, _ = prepare(experiment)
    assert max(map(len, parts.train.texts)) > 1000
    plan = plan_memory(method, lengths_of(parts), PLENTY)
    assert plan is not None
    ways = [way for way in plan.candidates if way.exact]
    assert [way.bytes for way in ways] == sorted((way.bytes for way in ways), reverse=True)
    return ways


def budget_for(experiment: Experiment, number: int) -> int:
    """Return a budget that the exact way of a number fits, and the one before it does not.

    A plan counts what the process holds already, so this is called just before the run.
    """
    larger, smaller = (exact_ways(experiment)[place] for place in (number - 1, number))
    assert larger.bytes - smaller.bytes > 64 * 2**20
    return (larger.bytes + smaller.bytes) // 2


@contextmanager
def stopped_after(rows: int) -> Iterator[None]:
    """Ask to stop as soon as so many training rows have been learned from."""

    @contextmanager
    def listen(description: str, total: int | None, unit: str) -> Iterator[Advance]:
        done = 0

        def advance(units: int) -> None:
            nonlocal done
            due = done < rows <= done + units and description.endswith(": training")
            done += units
            if due:
                signal.raise_signal(signal.SIGTERM)

        yield advance

    with listening(listen):
        yield


def predictions(folder: Path, name: str) -> Predictions:
    return Predictions.read(folder / name / "predictions.parquet")


@pytest.mark.parametrize("name", [name for name in method_names() if find_method(name).joint])
def test_every_joint_method_goes_on_with_less_memory(name: str, tmp_path: Path) -> None:
    """It begins in smaller passes than asked for, and goes on in smaller ones still."""
    row, experiment = ROWS[name], experiment_of(name, tmp_path)
    ways = exact_ways(experiment)
    run_experiment(experiment, tmp_path / "whole", memory=PLENTY)
    folder = tmp_path / "stopped"
    with stopped_after(TRAIN_ROWS + 16), pytest.raises(Interrupted):
        run_experiment(experiment, folder, memory=budget_for(experiment, 1))
    begun = json.loads(RunFolder(folder).work(name).plan.read_text(encoding="utf-8"))
    assert begun == ways[1].changes
    (point,) = (RunFolder(folder).work(name).path / "checkpoints").iterdir()
    assert 3 < int(point.name.split("-")[1]) < 6  # of 2 epochs of 3 steps
    run_experiment(experiment, folder, memory=budget_for(experiment, row.way))
    cost = json.loads((folder / name / "cost.json").read_text(encoding="utf-8"))
    assert cost["memory_changes"] == ways[row.way].changes != begun
    assert set(ways[row.way].changes) == row.changed <= options_without_effect(find_method(name))
    facts = json.loads((folder / name / "facts.json").read_text(encoding="utf-8"))
    assert row.facts.items() <= facts.items()
    expected = predictions(tmp_path / "whole", name)
    np.testing.assert_allclose(
        predictions(folder, name).probabilities, expected.probabilities, rtol=0, atol=1e-4
    )
    assert np.ptp(expected.probabilities, axis=0).max() > 0.01
