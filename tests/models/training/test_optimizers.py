"""AdamW in 8 bits learns like that in 32, and a checkpoint brings it back as it was."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pollice.errors import OptionError
from pollice.methods import create_method
from pollice.models.training import optimizers
from pollice.models.training.loop_state import TrainingState, new_state
from pollice.models.training.options import OptimizerOptions, TrainingOptions
from pollice.models.training.tensors import load_optimizer, optimizer_groups, save_optimizer
from tiny import tiny_encoder
from tiny_training import TRAIN, VALIDATION, trained

EIGHT = OptimizerOptions(optimizer_bits=8)
needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("optimizers") / "bert", "bert")


def wide_model() -> nn.Sequential:
    """Return matrices of 4,096 weights and more, which alone are held in 8 bits."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(64, 64), nn.Linear(64, 64), nn.Linear(64, 2))


def learn(model: nn.Module, optimizer: Any, steps: int) -> list[float]:
    """Tell even numbers from odd ones, and return the losses."""
    numbers = torch.arange(64)
    losses = []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(numbers), numbers % 2)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def build(options: OptimizerOptions) -> tuple[Any, Any]:
    optimizers.prepare_optimizer(options, "cpu")
    model = wide_model()
    groups = [{"params": list(model.parameters()), "weight_decay": 0.0, "lr": 0.01}]
    return model, optimizers.adamw(model, groups, options)


@needs_bitsandbytes
def test_eight_bits_learn_like_thirty_two() -> None:
    model, optimizer = build(EIGHT)
    found = learn(model, optimizer, 20)
    assert found == pytest.approx(learn(*build(OptimizerOptions()), 20), abs=0.02)
    assert found[-1] < 0.3 * found[0]
    embedding, matrix = model[0].weight, model[1].weight
    assert optimizer.state[matrix]["state1"].dtype == torch.uint8
    assert optimizer.state[embedding]["state1"].dtype == torch.float32


@needs_bitsandbytes
@pytest.mark.parametrize("options", [EIGHT, OptimizerOptions()])
def test_a_trainer_s_checkpoint_brings_the_optimizer_back(
    options: OptimizerOptions, tmp_path: Path
) -> None:
    model, optimizer = build(options)
    learn(model, optimizer, 3)
    save_optimizer(tmp_path, optimizer)
    groups, weights = optimizer_groups(optimizer), {**model.state_dict()}
    weights = {name: value.clone() for name, value in weights.items()}
    expected = learn(model, optimizer, 4)
    again, other = build(options)
    again.load_state_dict(weights)
    load_optimizer(tmp_path, other, groups)
    assert learn(again, other, 4) == expected


@needs_bitsandbytes
def test_our_loop_s_checkpoint_brings_it_back(checkpoint: Path, tmp_path: Path) -> None:
    options = TrainingOptions(optimizer_bits=8, layer_decay=1)

    def state() -> TrainingState:
        optimizers.prepare_optimizer(options, "cpu")
        model: Any = wide_model()
        model.config = type("Config", (), {"num_hidden_layers": 1})
        model.base_model_prefix = "encoder"
        return new_state(model, options)

    def step(one: TrainingState) -> None:
        one.set_rate(0.01)
        for number, weight in enumerate(one.weights.values()):
            torch.manual_seed(number)
            weight.grad = torch.randn_like(weight)
        one.optimizer.step()

    first, second = state(), state()
    step(first)
    first.save(tmp_path)
    second.load(tmp_path, {**vars(first.position), "best": None})
    step(first)
    step(second)
    for name, weight in first.weights.items():
        assert torch.equal(weight, second.weights[name]), name


@needs_bitsandbytes
def test_finetune_trains_with_it(checkpoint: Path, tmp_path: Path) -> None:
    outcome = trained(
        checkpoint, tmp_path, epochs=6, learning_rate=0.005, optimizer_bits=8, paged_optimizer=True
    )
    assert outcome.epochs[-1]["train_accuracy"] >= 0.9


@needs_bitsandbytes
def test_trainer_trains_with_it(checkpoint: Path, tmp_path: Path) -> None:
    options = {"checkpoint": str(checkpoint), "device": "cpu", "max_tokens": 32, "epochs": 6}
    method = create_method("trainer", {**options, "learning_rate": 0.005, "optimizer_bits": 8})
    fitted: Any = method.fit(TRAIN, VALIDATION, workdir=tmp_path)
    right = [
        fitted.label_names[code] == label
        for code, label in zip(
            fitted.predict_proba(TRAIN.texts).argmax(axis=1), TRAIN.labels, strict=True
        )
    ]
    assert sum(right) / len(right) >= 0.9


@pytest.mark.parametrize("method", ["finetune", "trainer", "lora"])
def test_without_its_package_it_is_refused_before_anything_is_read(
    method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(optimizers, "find_spec", lambda name: None)
    asked = create_method(
        method, {"optimizer_bits": 8, "device": "cpu", "checkpoint": str(tmp_path / "nowhere")}
    )
    with pytest.raises(OptionError, match=r"^optimizer_bits is 8, but that needs bitsandbytes"):
        asked.fit(TRAIN, VALIDATION, workdir=tmp_path)


@pytest.mark.parametrize(
    ("options", "device", "name"),
    [
        (OptimizerOptions(), "cuda", "adamw_torch_fused"),
        (EIGHT, "cpu", "adamw_8bit"),
        (OptimizerOptions(paged_optimizer=True), "cpu", "adamw_torch_fused"),
        (OptimizerOptions(paged_optimizer=True), "cuda", "paged_adamw_32bit"),
        (OptimizerOptions(paged_optimizer=True, optimizer_bits=8), "cuda", "paged_adamw_8bit"),
    ],
)
def test_transformers_has_names_for_them(options: OptimizerOptions, device: str, name: str) -> None:
    assert optimizers.trainer_name(options, torch.device(device)) == name
