"""Every weight of every family has its place, its rate and its decay."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from pollice.models.pretrained.weights import load_classifier
from pollice.models.training.layers import depth, freeze, layer_count, parameter_groups
from pollice.models.training.options import TrainingOptions
from tiny import ENCODER_FAMILIES, tiny_encoder

HEAD = ("classifier", "pooler", "pre_classifier", "head", "final_norm", "encoder.LayerNorm")


@pytest.fixture(scope="module", params=ENCODER_FAMILIES)
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> PreTrainedModel:
    folder = tiny_encoder(tmp_path_factory.mktemp("layers") / request.param, request.param)
    return load_classifier(folder, ("a", "b"), new_head=True, dtype=torch.float32)


def test_embeddings_lie_below_layers_and_the_head_above(model: PreTrainedModel) -> None:
    assert layer_count(model) == 2
    places = {name: depth(name, 2) for name, _ in model.named_parameters()}
    assert set(places.values()) == {0, 1, 2, 3}
    for name, place in places.items():
        expected = 0 if "embeddings" in name else 3 if any(h in name for h in HEAD) else None
        expected = 1 if "ayer.0." in name or "ayers.0." in name else expected
        expected = 2 if "ayer.1." in name or "ayers.1." in name else expected
        assert place == expected, name


def test_each_layer_learns_more_slowly_than_the_one_above(model: PreTrainedModel) -> None:
    options = TrainingOptions(layer_decay=0.5, head_learning_rate=None, weight_decay=0.1)
    groups = parameter_groups(model, options)
    found = {name: group for group in groups for name in group["named"]}
    parameters = dict(model.named_parameters())
    assert found.keys() == parameters.keys()
    for name, group in found.items():
        assert group["share"] == {0: 0.125, 1: 0.25, 2: 0.5, 3: 1.0}[depth(name, 2)]
        assert group["weight_decay"] == (0.1 if parameters[name].dim() > 1 else 0.0)
    for group in groups:
        assert all(a is b for a, b in zip(group["params"], group["named"].values(), strict=True))


def test_the_new_head_alone_learns_at_its_own_rate(model: PreTrainedModel) -> None:
    options = TrainingOptions(layer_decay=1, learning_rate=0.25, head_learning_rate=0.75)
    groups = parameter_groups(model, options)
    shares = {name: group["share"] for group in groups for name in group["named"]}
    encoder = {name for name, _ in model.named_parameters() if model.base_model_prefix in name}
    assert {name for name, share in shares.items() if share == 1} == encoder
    assert {share for name, share in shares.items() if name not in encoder} == {3}
    assert not encoder & {"classifier.weight", "classifier.out_proj.weight"}


def test_with_the_same_rate_for_all_there_are_two_groups(model: PreTrainedModel) -> None:
    groups = parameter_groups(model, TrainingOptions(layer_decay=1, head_learning_rate=None))
    assert sorted(group["weight_decay"] for group in groups) == [0.0, 0.01]
    assert {group["share"] for group in groups} == {1.0}


def test_frozen_weights_are_in_no_group(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "bert", "bert")
    frozen = load_classifier(folder, ("a", "b"), new_head=True, dtype=torch.float32)
    freeze(frozen, 0)
    assert all(parameter.requires_grad for parameter in frozen.parameters())
    freeze(frozen, 0, embeddings=True)
    learning = {n for n, p in frozen.named_parameters() if p.requires_grad}
    assert learning == {n for n, _ in frozen.named_parameters() if "embeddings" not in n}
    freeze(frozen, 1)
    names = [
        name for group in parameter_groups(frozen, TrainingOptions()) for name in group["named"]
    ]
    assert {depth(name, 2) for name in names} == {2, 3}
