"""Products by oneDNN are those of linear layers, and are used in inference in float32 alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from pollice.models.causal.onednn import OneDnnProducts, fast_products, onednn_is_faster

ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")
needs_onednn = pytest.mark.skipif(not ONEDNN, reason="this PyTorch has no oneDNN")


def products(run: Callable[[], object]) -> int:
    """Count the products of oneDNN while something runs, in this thread."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        run()
    return sum(event.name == "mkldnn::_linear_pointwise" for event in seen.events())


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_gives_what_it_gives_by_itself(bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(48, 33, bias=bias)
    states = torch.randn(2, 7, 48)
    with torch.inference_mode():
        expected = layer(states)
        with OneDnnProducts():
            torch.testing.assert_close(layer(states), expected)
            assert products(lambda: layer(states)) == 1


@needs_onednn
def test_training_and_other_types_are_left_alone() -> None:
    layer, wide = nn.Linear(8, 4), nn.Linear(8, 4).double()

    def run() -> None:
        layer(torch.ones(1, 8)).sum().backward()
        with torch.inference_mode():
            wide(torch.ones(1, 8).double())

    with OneDnnProducts():
        assert products(run) == 0
    assert layer.weight.grad is not None


@needs_onednn
def test_other_threads_multiply_as_they_did() -> None:
    layer, states = nn.Linear(8, 4), torch.ones(1, 8)

    @torch.inference_mode()
    def run() -> Tensor:
        made: Tensor = layer(states)
        return made

    with OneDnnProducts(), ThreadPoolExecutor(1) as other:
        assert other.submit(products, run).result() == 0
        assert products(run) == 1


@pytest.mark.parametrize(
    ("processor", "faster"), [("GenuineIntel", False), ("AuthenticAMD", ONEDNN), (None, False)]
)
def test_only_processors_of_amd_gain_by_it(
    processor: str | None, faster: bool, tmp_path: Path
) -> None:
    """None: there is no Linux here, which alone says what its processor is."""
    path = tmp_path / "cpuinfo"
    if processor:
        path.write_text(f"vendor_id : {processor}\n", encoding="utf-8")
    assert onednn_is_faster(path) == faster


def test_where_nothing_is_won_nothing_is_changed() -> None:
    kind = OneDnnProducts if onednn_is_faster() else nullcontext
    assert isinstance(fast_products(), kind)
