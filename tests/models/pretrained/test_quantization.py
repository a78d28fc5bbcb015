"""4-bit weights: asked, tuned, saved and taken up again, and refused where there is no GPU.

The GPU is what is taken away here: bitsandbytes quantizes on a CPU as well, only slowly.
"""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pollice.errors import CheckpointError
from pollice.memory.footprint import ANY_TEXTS
from pollice.memory.planner import plan_memory
from pollice.methods import create_method
from pollice.methods.prompt import Prompt
from pollice.models.pretrained import weights
from pollice.models.pretrained.options import ReadingOptions
from pollice.models.pretrained.weights import FOUR_BIT_NEEDS_CUDA, load_language_model
from pollice.predictions.predict import predict
from pollice.runs.predictors import load_predictor, save_predictor
from tiny import tiny_causal
from tuning import TRAIN, UNSEEN, VALIDATION, tuned

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
LEARNING: dict[str, Any] = {"questions": "each", "learning_rate": 0.005, "epochs": 5}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_causal(tmp_path / "llama", "llama")


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a CPU for a GPU."""
    monkeypatch.setattr(weights, "check_four_bit", lambda device: None)
    monkeypatch.setattr("pollice.methods.lora.check_four_bit", lambda device: None)
    # There it packs weights for products in judging that have no gradient in training.
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: False)


def matrices(model: Any) -> set[torch.dtype]:
    return {weight.dtype for name, weight in model.named_parameters() if "_proj" in name}


@needs_bitsandbytes
@pytest.mark.usefixtures("without_gpu")
def test_the_layers_are_packed_and_the_embeddings_are_not(checkpoint: Path) -> None:
    model: Any = load_language_model(checkpoint, ReadingOptions(device="cpu"), four_bit=True)
    assert matrices(model) == {torch.uint8}
    assert model.get_input_embeddings().weight.dtype in (torch.bfloat16, torch.float16)


@needs_bitsandbytes
@pytest.mark.usefixtures("without_gpu")
def test_a_prompt_on_packed_weights_is_saved_with_them(checkpoint: Path, tmp_path: Path) -> None:
    prompt = Prompt(checkpoint=str(checkpoint), weights="nf4", device="cpu", max_tokens=24)
    scorer = prompt.fit(TRAIN, VALIDATION, workdir=tmp_path)
    save_predictor(scorer, tmp_path / "saved", method="prompt", options={})
    loaded: Any = load_predictor(tmp_path / "saved")
    assert matrices(loaded._model.model) == {torch.uint8}
    np.testing.assert_array_equal(
        loaded.predict_proba(UNSEEN.texts), scorer.predict_proba(UNSEEN.texts)
    )
    plain = Prompt(checkpoint=str(checkpoint), weights="bfloat16", device="cpu", max_tokens=24)
    other = plain.fit(TRAIN, VALIDATION, workdir=tmp_path)
    assert np.abs(other.predict_proba(UNSEEN.texts) - scorer.predict_proba(UNSEEN.texts)).max() > 0


@needs_bitsandbytes
@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("options", [{}, {"optimizer_bits": 8, "recompute": True}])
def test_packed_weights_are_tuned_and_come_back_with_their_adapter(
    checkpoint: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    scorer = tuned(checkpoint, tmp_path / "work", weights="nf4", **LEARNING, **options)
    run = predict(scorer, UNSEEN.texts)
    gold = [UNSEEN.label_names.index(label) for label in UNSEEN.labels]
    assert (run.probabilities.argmax(axis=1) == gold).mean() >= 0.9
    save_predictor(scorer, tmp_path / "saved", method="lora", options={})
    loaded = load_predictor(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.predict_proba(UNSEEN.texts), run.probabilities)


@needs_bitsandbytes
def test_nothing_is_said_of_them_where_they_are_not_used() -> None:
    command = [sys.executable, "-c", "import pollice.models.training.layers, bitsandbytes"]
    assert subprocess.run(command, capture_output=True, check=True).stderr == b""


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_they_are_refused(checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=f"^{re.escape(FOUR_BIT_NEEDS_CUDA)}$"):
        load_language_model(checkpoint, ReadingOptions(), four_bit=True)


@pytest.mark.parametrize("method", ["lora", "prompt"])
def test_nor_are_they_planned(method: str, checkpoint: Path) -> None:
    asked = create_method(
        method, {"weights": "nf4", "device": "cpu", "checkpoint": str(checkpoint)}
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(FOUR_BIT_NEEDS_CUDA)}$"):
        plan_memory(asked, ANY_TEXTS)
