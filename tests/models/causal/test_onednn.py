"""Products by oneDNN are those of linear layers, and are used in inference in float32 alone."""

import pytest
import torch
from torch import nn

from pollice.models.causal import onednn
from pollice.models.causal.onednn import fast_products

ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry a product of oneDNN, on any processor."""
    made: list[int] = []
    kernel = onednn._onednn

    def counted(*given: torch.Tensor) -> torch.Tensor:
        made.append(1)
        return kernel(*given)

    monkeypatch.setattr(onednn, "_onednn_wins", lambda: True)
    monkeypatch.setattr(onednn, "_onednn", counted)
    return made


@pytest.mark.skipif(not ONEDNN, reason="this PyTorch has no oneDNN")
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_gives_what_it_gives_by_itself(calls: list[int], bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(48, 33, bias=bias)
    states = torch.randn(2, 7, 48)
    with torch.inference_mode():
        expected = layer(states)
        with fast_products():
            torch.testing.assert_close(layer(states), expected)
    assert calls == [1]


@pytest.mark.skipif(not ONEDNN, reason="this PyTorch has no oneDNN")
def test_training_and_other_types_are_left_alone(calls: list[int]) -> None:
    layer = nn.Linear(8, 4)
    with fast_products():
        layer(torch.ones(1, 8)).sum().backward()
        with torch.inference_mode():
            layer.double()(torch.ones(1, 8).double())
    assert layer.weight.grad is not None
    assert calls == []


def test_where_nothing_is_won_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "_onednn_wins", lambda: False)
    monkeypatch.setattr(onednn, "_onednn", None)
    with torch.inference_mode(), fast_products():
        assert nn.Linear(8, 4)(torch.ones(1, 8)).shape == (1, 4)
