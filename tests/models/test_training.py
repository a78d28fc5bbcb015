"""The training loop learns, logs every step, and ends with its best epoch's weights."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pollice.data import Dataset
from pollice.errors import TrainingError
from pollice.models.encoder import Reader
from pollice.models.loading import TextTokenizer, load_classifier
from pollice.models.training import Rows, Trainer, TrainingOptions
from tiny import opinions, tiny_encoder

STEP_FIELDS = [
    *("step", "epoch", "loss", "learning_rate", "grad_norm", "seconds", "tokens_per_second")
]
EPOCH_FIELDS = ["step", "epoch", "train_accuracy", "validation_loss", "validation_accuracy"]
OPINIONS = opinions(96)
TRAIN, VALIDATION = OPINIONS.take(range(64)), OPINIONS.take(range(64, 96))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A model that was trained, and what was logged."""

    weights: dict[str, torch.Tensor]
    steps: list[dict[str, Any]]
    epochs: list[dict[str, Any]]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("training") / "bert", "bert")


def trained(
    checkpoint: Path,
    folder: Path,
    *,
    validation: Dataset = VALIDATION,
    first_weights: dict[str, float] | None = None,
    **options: Any,
) -> Outcome:
    usual = {"epochs": 3, "learning_rate": 0.003, "max_tokens": 32, "dtype": "float32"}
    settings = TrainingOptions(checkpoint=str(checkpoint), **{**usual, **options})
    reader = Reader(TextTokenizer(checkpoint), max_tokens=settings.max_tokens, keep="head")
    torch.manual_seed(settings.seed)
    model: Any = load_classifier(checkpoint, TRAIN.label_names, new_head=True, dtype=torch.float32)
    for name, value in (first_weights or {}).items():
        model.get_parameter(name).data.fill_(value)
    trainer = Trainer(model, reader, settings, torch.float32)
    trainer.train(rows_of(reader, TRAIN), rows_of(reader, validation), folder / "training.jsonl")
    assert not model.training
    lines = (folder / "training.jsonl").read_text(encoding="utf-8").splitlines()
    logged = [json.loads(line) for line in lines]
    return Outcome(
        weights=model.state_dict(),
        steps=[row for row in logged if "loss" in row],
        epochs=[row for row in logged if "loss" not in row],
    )


def rows_of(reader: Reader, dataset: Dataset) -> Rows:
    codes = [dataset.label_names.index(label) for label in dataset.labels]
    return Rows(tokens=reader.read(dataset.texts).tokens, codes=np.array(codes, np.int64))


def same(first: Outcome, second: Outcome) -> bool:
    return all(torch.equal(value, second.weights[name]) for name, value in first.weights.items())


def test_the_loss_falls_on_separable_data(checkpoint: Path, tmp_path: Path) -> None:
    outcome = trained(checkpoint, tmp_path, epochs=8, learning_rate=0.005)
    losses = [row["loss"] for row in outcome.steps]
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:4])
    assert outcome.epochs[-1]["train_accuracy"] >= 0.9
    assert outcome.epochs[-1]["validation_accuracy"] >= 0.75
    assert outcome.epochs[-1]["validation_loss"] < outcome.epochs[0]["validation_loss"]


def test_every_step_and_epoch_is_logged(checkpoint: Path, tmp_path: Path) -> None:
    outcome = trained(checkpoint, tmp_path, epochs=2, batch_size=24)
    assert [list(row) for row in outcome.steps] == [STEP_FIELDS] * 6
    assert [list(row) for row in outcome.epochs] == [EPOCH_FIELDS] * 2
    assert [row["step"] for row in outcome.steps] == [1, 2, 3, 4, 5, 6]
    assert [row["epoch"] for row in outcome.steps] == [0.375, 0.75, 1.0, 1.375, 1.75, 2.0]
    assert [(row["step"], row["epoch"]) for row in outcome.epochs] == [(3, 1), (6, 2)]
    seconds = [row["seconds"] for row in outcome.steps]
    assert seconds == sorted(seconds)
    assert all(row["tokens_per_second"] > 0 and row["grad_norm"] > 0 for row in outcome.steps)


def test_the_best_epoch_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    """The validation labels are turned round, so that every epoch is worse than the last."""
    turned = replace(VALIDATION, labels=tuple(reversed(VALIDATION.labels)))
    assert all(a != b for a, b in zip(turned.labels, VALIDATION.labels, strict=True))
    whole = trained(checkpoint, tmp_path, validation=turned, epochs=4)
    losses = [row["validation_loss"] for row in whole.epochs]
    assert losses.index(min(losses)) == 0
    last = trained(checkpoint, tmp_path, validation=VALIDATION.take([]), epochs=4)
    assert not same(whole, last)
    assert judged(checkpoint, whole, turned) == pytest.approx(losses[0], abs=1e-5)
    assert judged(checkpoint, last, turned) == pytest.approx(losses[-1], abs=1e-5)


def judged(checkpoint: Path, outcome: Outcome, rows: Dataset) -> float:
    model: Any = load_classifier(checkpoint, TRAIN.label_names, new_head=True, dtype=torch.float32)
    model.load_state_dict(outcome.weights)
    tokenizer = TextTokenizer(checkpoint).tokenizer
    losses = []
    for text, label in zip(rows.texts, rows.labels, strict=True):
        with torch.inference_mode():
            logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
        losses.append(-logits.log_softmax(dim=-1)[rows.label_names.index(label)].item())
    return float(np.mean(losses))


def test_without_validation_rows_the_last_epoch_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    outcome = trained(checkpoint, tmp_path, validation=VALIDATION.take([]), epochs=2)
    assert [list(row) for row in outcome.epochs] == [["step", "epoch", "train_accuracy"]] * 2


def test_a_loss_that_is_no_number_ends_the_training(checkpoint: Path, tmp_path: Path) -> None:
    sentence = (
        "The loss became nan at learning_rate 0.003: training has diverged. Lower learning_rate."
    )
    with pytest.raises(TrainingError, match=f"^{re.escape(sentence)}$"):
        trained(checkpoint, tmp_path, first_weights={"classifier.bias": float("nan")})


def test_the_same_seed_gives_the_same_weights(checkpoint: Path, tmp_path: Path) -> None:
    first = trained(checkpoint, tmp_path, epochs=1)
    assert same(first, trained(checkpoint, tmp_path, epochs=1))
    assert not same(first, trained(checkpoint, tmp_path, epochs=1, seed=1))


def test_the_rate_rises_then_falls_in_straight_lines(checkpoint: Path, tmp_path: Path) -> None:
    outcome = trained(
        checkpoint, tmp_path, epochs=2, batch_size=13, learning_rate=0.001, warmup=0.2
    )
    rates = [row["learning_rate"] * 1000 for row in outcome.steps]
    falling = [(10 - step) / 8 for step in range(2, 10)]
    np.testing.assert_allclose(rates, [0.5, 1.0, *falling])


def test_there_need_be_no_warmup(checkpoint: Path, tmp_path: Path) -> None:
    outcome = trained(checkpoint, tmp_path, epochs=1, learning_rate=0.001, warmup=0)
    rates = [row["learning_rate"] * 1000 for row in outcome.steps]
    np.testing.assert_allclose(rates, [1.0, 0.75, 0.5, 0.25])


def test_only_matrices_decay(checkpoint: Path, tmp_path: Path) -> None:
    """One step with a decay that takes everything: norms and biases keep their values."""
    outcome = trained(
        checkpoint,
        tmp_path,
        validation=VALIDATION.take([]),
        epochs=1,
        batch_size=64,
        learning_rate=0.001,
        weight_decay=1000,
        warmup=0,
    )
    assert len(outcome.steps) == 1
    for name, value in outcome.weights.items():
        if name.endswith("LayerNorm.weight"):
            assert (value - 1).abs().max() < 0.0011, name
        elif value.dim() > 1 and value.is_floating_point():
            assert value.abs().max() < 0.0011, name


def test_gradients_are_clipped(checkpoint: Path, tmp_path: Path) -> None:
    """AdamW is blind to the gradients' scale, but not to that of the first against the second."""
    loose = trained(checkpoint, tmp_path, epochs=1, clip_norm=1e9)
    tight = trained(checkpoint, tmp_path, epochs=1, clip_norm=0.01)
    assert loose.steps[0]["grad_norm"] == tight.steps[0]["grad_norm"] > 0.01
    assert not same(loose, tight)


def test_every_row_is_seen_once_an_epoch(checkpoint: Path, tmp_path: Path) -> None:
    outcome = trained(checkpoint, tmp_path, epochs=1, batch_size=10)
    assert len(outcome.steps) == 7
    assert outcome.epochs[0]["train_accuracy"] * 64 == pytest.approx(
        round(outcome.epochs[0]["train_accuracy"] * 64)
    )
