"""The training loop learns, logs every step, and ends with its best epoch's weights."""

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pollice.data.dataset import Dataset
from pollice.errors import CheckpointError, MemoryPlanError, TrainingError
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import load_classifier
from tiny import ENCODER_FAMILIES, tiny_encoder
from tiny_training import TRAIN, VALIDATION, Outcome, same, trained

STEP_FIELDS = [
    *("step", "epoch", "loss", "learning_rate", "grad_norm", "seconds", "tokens_per_second")
]
EPOCH_FIELDS = ["step", "epoch", "train_accuracy", "validation_loss", "validation_accuracy"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("training") / "bert", "bert")


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
    assert not same(whole.weights, last.weights)
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


def spoil(model: Any) -> None:
    model.classifier.bias.data.fill_(float("nan"))


def test_a_loss_that_is_no_number_ends_the_training(checkpoint: Path, tmp_path: Path) -> None:
    sentence = (
        "In step 1 the loss became nan at a learning rate of 0.003: training has diverged. "
        "Lower learning_rate. The last good resume point was not written yet."
    )
    with pytest.raises(TrainingError, match=f"^{re.escape(sentence)}$"):
        trained(checkpoint, tmp_path, prepare=spoil)


def test_the_same_seed_gives_the_same_weights(checkpoint: Path, tmp_path: Path) -> None:
    first = trained(checkpoint, tmp_path, epochs=1)
    assert same(first.weights, trained(checkpoint, tmp_path, epochs=1).weights)
    assert not same(first.weights, trained(checkpoint, tmp_path, epochs=1, seed=1).weights)


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
        layer_decay=1,
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
    assert not same(loose.weights, tight.weights)


def test_every_row_is_seen_once_an_epoch(checkpoint: Path, tmp_path: Path) -> None:
    outcome = trained(checkpoint, tmp_path, epochs=1, batch_size=10)
    assert len(outcome.steps) == 7
    assert outcome.epochs[0]["train_accuracy"] * 64 == pytest.approx(
        round(outcome.epochs[0]["train_accuracy"] * 64)
    )


def without_dropout(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


@pytest.mark.parametrize("options", [{}, {"class_weights": True, "label_smoothing": 0.2}])
def test_a_step_in_several_passes_learns_what_one_pass_does(
    checkpoint: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    uneven = TRAIN.take([row for row in range(64) if row % 6])
    outcomes = [
        trained(
            *(checkpoint, tmp_path / str(tokens)),
            train=uneven,
            prepare=without_dropout,
            micro_batch_tokens=tokens,
            **options,
        )
        for tokens in (8192, 40)
    ]
    for first, second in zip(*(outcome.steps for outcome in outcomes), strict=True):
        assert second["loss"] == pytest.approx(first["loss"], abs=2e-4)
        assert second["grad_norm"] == pytest.approx(first["grad_norm"], rel=2e-3)
    assert outcomes[0].facts["best_epoch"] == outcomes[1].facts["best_epoch"]
    first, second = (outcome.epochs[-1]["validation_loss"] for outcome in outcomes)
    assert second == pytest.approx(first, abs=2e-3)


def limit_rows(most: int) -> Any:
    """Return what makes a model run out of memory on more rows than ``most`` in training."""

    def refuse(module: Any, arguments: Any, fields: dict[str, Any]) -> None:
        if module.training and len(fields["input_ids"]) > most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    return lambda model: model.register_forward_pre_hook(refuse, with_kwargs=True)


def test_where_memory_runs_out_the_step_is_taken_again_in_smaller_passes(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = trained(
        checkpoint, tmp_path / "halved", epochs=1, prepare=limit_rows(5), batch_size=64
    )
    assert outcome.facts["micro_batch_halved"] is True
    assert outcome.facts["micro_batch_tokens"] < 100
    assert len(outcome.steps) == 1
    said = [record.getMessage() for record in caplog.records if record.name == "pollice"]
    assert said[-1] == (
        "Step 1 did not fit into memory: it is taken again in passes of at most "
        f"{outcome.facts['micro_batch_tokens']} tokens, and so are all that follow."
    )
    small = trained(
        *(checkpoint, tmp_path / "small"),
        epochs=1,
        batch_size=64,
        micro_batch_tokens=outcome.facts["micro_batch_tokens"],
    )
    assert small.facts["micro_batch_halved"] is False
    assert same(outcome.weights, small.weights)


def test_a_row_that_does_not_fit_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    sentence = (
        "Step 1 does not fit into memory even with one row of 10 tokens at a time. Lower "
        "max_tokens, or train less of the model with lora_rank or frozen_layers."
    )
    with pytest.raises(MemoryPlanError, match=f"^{re.escape(sentence)}$"):
        trained(checkpoint, tmp_path, prepare=limit_rows(0), batch_size=1)


def test_other_errors_are_not_taken_for_a_lack_of_memory(checkpoint: Path, tmp_path: Path) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match=r"^something else$"):
        trained(checkpoint, tmp_path, prepare=lambda model: model.register_forward_pre_hook(fail))


def test_training_ends_where_patience_does(checkpoint: Path, tmp_path: Path) -> None:
    turned = replace(VALIDATION, labels=tuple(reversed(VALIDATION.labels)))
    outcome = trained(checkpoint, tmp_path, validation=turned, epochs=9, patience=2)
    assert len(outcome.epochs) == outcome.facts["epochs"] == 3
    assert outcome.facts["best_epoch"] == 1


@pytest.mark.parametrize(
    ("select", "field", "best"),
    [("log_loss", "validation_loss", min), ("accuracy", "validation_accuracy", max)],
)
def test_the_best_epoch_is_told_by_what_is_selected(
    checkpoint: Path, tmp_path: Path, select: str, field: str, best: Any
) -> None:
    outcome = trained(checkpoint, tmp_path, epochs=6, select=select)
    values = [row[field] for row in outcome.epochs]
    assert values[outcome.facts["best_epoch"] - 1] == best(values)


def test_the_temperature_changes_how_sure_the_model_is_and_no_label(
    checkpoint: Path, tmp_path: Path
) -> None:
    turned = replace(VALIDATION, labels=tuple(reversed(VALIDATION.labels)))
    plain, made = (
        trained(checkpoint, tmp_path / f"{on}", validation=turned, epochs=2, temperature=on)
        for on in (False, True)
    )
    assert list(made.epochs[0]) == [*EPOCH_FIELDS, "temperature", "validation_tempered_loss"]
    best = made.epochs[made.facts["best_epoch"] - 1]
    assert best["validation_tempered_loss"] == min(
        row["validation_tempered_loss"] for row in made.epochs
    )
    assert best["validation_tempered_loss"] < best["validation_loss"]
    assert made.facts["temperature"] == pytest.approx(best["temperature"], abs=1e-4)
    assert made.facts["temperature"] > 1.1  # every validation label is wrong
    found = judged(checkpoint, made, turned)
    assert found == pytest.approx(best["validation_tempered_loss"], abs=1e-5)
    assert found < judged(checkpoint, plain, turned)


def test_a_few_rows_are_seen_more_often(checkpoint: Path, tmp_path: Path) -> None:
    outcome = trained(checkpoint, tmp_path, epochs=None, batch_size=2, train=TRAIN.take(range(16)))
    assert len(outcome.epochs) == 15
    assert outcome.facts["steps"] == 120


def test_the_last_epoch_can_be_selected(checkpoint: Path, tmp_path: Path) -> None:
    turned = replace(VALIDATION, labels=tuple(reversed(VALIDATION.labels)))
    last = trained(checkpoint, tmp_path, validation=turned, epochs=2, select="last")
    unjudged = trained(checkpoint, tmp_path, validation=turned.take([]), epochs=2)
    assert same(last.weights, unjudged.weights)
    assert last.facts["best_epoch"] == 2


def test_frozen_layers_do_not_learn(checkpoint: Path, tmp_path: Path) -> None:
    before: dict[str, torch.Tensor] = {}
    outcome = trained(
        *(checkpoint, tmp_path),
        epochs=1,
        frozen_layers=1,
        prepare=lambda model: before.update(
            {name: value.clone() for name, value in model.state_dict().items()}
        ),
    )
    for name, value in outcome.weights.items():
        frozen = "embeddings" in name or "layer.0." in name
        assert torch.equal(value, before[name]) == frozen, name


def test_more_frozen_layers_than_there_are_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    sentence = "frozen_layers is 3, but this checkpoint has 2 layers. Lower frozen_layers."
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        trained(checkpoint, tmp_path, frozen_layers=3)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_an_adapter_is_merged_into_a_plain_model(family: str, tmp_path: Path) -> None:
    """Matrices of the layers changed, by a matrix of the adapter's rank; embeddings did not."""
    folder = tiny_encoder(tmp_path / family, family)
    before: dict[str, torch.Tensor] = {}
    outcome = trained(
        *(folder, tmp_path / "work"),
        epochs=8,
        learning_rate=0.02,
        lora_rank=2,
        prepare=lambda model: before.update(
            {name: value.clone() for name, value in model.state_dict().items()}
        ),
    )
    assert outcome.weights.keys() == before.keys()
    assert outcome.epochs[-1]["train_accuracy"] >= 0.8
    changes = {name: outcome.weights[name] - value for name, value in before.items()}
    changed = [name for name, change in changes.items() if change.abs().sum() > 0]
    inside = [name for name in changed if re.search(r"layers?\.\d", name)]
    assert len(inside) >= 2 * 4
    assert all(torch.linalg.matrix_rank(changes[name], rtol=1e-3) <= 2 for name in inside)
    assert not [name for name in changed if "embeddings" in name]
    assert any("classifier" in name for name in changed)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_all_families_learn(family: str, tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / family, family)
    outcome = trained(folder, tmp_path / "work", epochs=6, learning_rate=0.004)
    assert outcome.epochs[-1]["train_accuracy"] >= 0.8


def test_long_texts_are_learned_from_in_pieces(checkpoint: Path, tmp_path: Path) -> None:
    """Every word is seen: 8 words of a text in pieces of at most 4."""
    outcome = trained(checkpoint, tmp_path, epochs=6, max_tokens=6, long_text="chunks")
    assert len(outcome.steps) == 6 * 8
    assert outcome.epochs[-1]["validation_accuracy"] >= 0.75


def test_rare_labels_weigh_as_much_as_frequent_ones(checkpoint: Path, tmp_path: Path) -> None:
    """With no learning rate to speak of, the loss is that of a balanced set."""
    positive = [row for row, label in enumerate(TRAIN.labels) if label == "positive"]
    negative = [row for row, label in enumerate(TRAIN.labels) if label == "negative"]
    uneven = TRAIN.take(sorted(positive[:4] + negative[:28]))
    tiny_rate: dict[str, Any] = {"learning_rate": 1e-12, "epochs": 1, "batch_size": 32}
    losses: list[float] = []
    for rows, weighted in [
        (uneven, True),
        (TRAIN.take(positive[:4]), False),
        (TRAIN.take(negative[:28]), False),
    ]:
        outcome = trained(
            *(checkpoint, tmp_path / str(len(losses))),
            train=rows,
            prepare=without_dropout,
            class_weights=weighted,
            **tiny_rate,
        )
        losses.append(outcome.steps[0]["loss"])
    assert losses[0] == pytest.approx((losses[1] + losses[2]) / 2, abs=1e-5)


def test_nothing_is_said_where_nothing_happens(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pollice")
    outcome = trained(checkpoint, tmp_path, epochs=1)
    assert not caplog.records
    assert outcome.facts == {
        "recipe": "default",
        "best_epoch": 1,
        "temperature": 1.0,
        "epochs": 1,
        "steps": 4,
        "padding_waste": outcome.facts["padding_waste"],
        "micro_batch_halved": False,
        "micro_batch_tokens": 4096,
    }
    assert 0 <= outcome.facts["padding_waste"] < 0.1
