"""Architectures from configurations alone: the figures that are published, and any folder's."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pollice.errors import CheckpointError, SourceError
from pollice.models.pretrained.architecture import describe, inspect_checkpoint, to_json
from pollice.models.pretrained.names import bundled
from pollice.models.pretrained.sources import resolve_checkpoint
from pollice.models.pretrained.weights import load_causal, load_encoder
from tiny import CAUSAL_FAMILIES, ENCODER_FAMILIES, WINDOW, tiny_causal, tiny_encoder

PUBLISHED = {
    "mistral-7b-instruct": 7_241_732_096,
    "distilbert": 66_362_880,
    "bert-base": 109_482_240,
    "minilm": 22_713_216,
    "gemma-3-270m": 268_098_176,
    "smollm2-135m-instruct": 134_515_008,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_parameters_are_those_published(name: str) -> None:
    assert inspect_checkpoint(name).parameters == PUBLISHED[name]


def test_mistral_is_as_the_report_prints_it() -> None:
    anatomy = inspect_checkpoint("mistral-7b-instruct")
    assert (anatomy.width, anatomy.layers, anatomy.head_size) == (4096, 32, 128)
    assert (anatomy.feed_forward, anatomy.heads, anatomy.key_value_heads) == (14336, 32, 8)
    assert (anatomy.window, anatomy.context, anatomy.vocabulary) == (4096, 8192, 32000)
    assert (anatomy.activation, anatomy.norm, anatomy.gated) == ("silu", "RMSNorm", True)


@pytest.mark.parametrize(
    ("name", "shape", "other", "embedding", "reported"),
    [
        ("gemma-2b", (2048, 18, 32768, 8, 1, 256), 1_981_884_416, 524_288_000, 524_550_144),
        ("gemma-7b", (3072, 28, 49152, 16, 16, 256), 7_751_248_896, 786_432_000, 786_825_216),
    ],
)
def test_gemma_is_as_the_report_prints_it(
    name: str, shape: tuple[int, ...], other: int, embedding: int, reported: int
) -> None:
    """Also with the report's vocabulary of 256,128 words, which only the embeddings depend on."""
    anatomy = inspect_checkpoint(name)
    assert shape == (
        anatomy.width,
        anatomy.layers,
        anatomy.feed_forward_halves,
        anatomy.heads,
        anatomy.key_value_heads,
        anatomy.head_size,
    )
    assert (anatomy.other_parameters, anatomy.embedding_parameters) == (other, embedding)
    larger = inspect_checkpoint(name, 256_128)
    assert (larger.other_parameters, larger.embedding_parameters) == (other, reported)


def test_bytes_follow_from_the_parameters() -> None:
    anatomy = inspect_checkpoint("gemma-2b")
    linear = 18 * (2048 * (2048 + 2 * 256) + 2048 * 2048 + 3 * 2048 * 16384)
    assert anatomy.linear_parameters == linear
    rest = anatomy.parameters - linear
    assert anatomy.weight_bytes("fp32") == 4 * anatomy.parameters
    assert anatomy.weight_bytes("bf16") == 2 * anatomy.parameters
    assert anatomy.weight_bytes("int8") == 2 * rest + linear + 4 * anatomy.linear_outputs
    assert anatomy.weight_bytes("nf4") == 2 * rest + linear * 4.5 / 8
    double = (anatomy.weight_bytes("nf4", double=True) - 2 * rest) * 8 / linear
    assert double == pytest.approx(4.127, abs=0.001)


def test_keys_and_values_of_a_token() -> None:
    """Two of them, of each layer and key/value head, in two bytes; an encoder keeps none."""
    assert inspect_checkpoint("mistral-7b-instruct").key_value_bytes == 2 * 32 * 8 * 128 * 2
    assert inspect_checkpoint("minilm").key_value_bytes is None


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_a_folder_is_as_its_loaded_model(family: str, tmp_path: Path) -> None:
    folder = tiny_causal(tmp_path / family, family)
    anatomy = inspect_checkpoint(str(folder))
    loaded = load_causal(folder, dtype=torch.float32, device=torch.device("cpu"))
    assert anatomy == describe(str(folder), loaded)
    assert anatomy.causal
    assert anatomy.positions.startswith("rotary, base ")
    assert anatomy.window == (WINDOW if family in ("gemma2", "gemma3", "mistral") else None)
    assert anatomy.windowed_layers == {"gemma2": 1, "gemma3": 2, "mistral": 2}.get(family, 0)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_an_encoder_is_as_its_loaded_model(family: str, tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / family, family)
    anatomy = inspect_checkpoint(str(folder))
    assert anatomy == describe(
        str(folder), load_encoder(folder, dtype=torch.float32, device=torch.device("cpu"))
    )
    assert not anatomy.causal
    assert (anatomy.layers, anatomy.width, anatomy.feed_forward) == (2, 32, 48)
    assert anatomy.positions == {
        "deberta-v2": "relative",
        "modernbert": "rotary, base 10,000 and 160,000",
    }.get(family, "learned")
    assert anatomy.gated == (family == "modernbert")


def test_a_folder_with_a_configuration_alone_is_enough(tmp_path: Path) -> None:
    whole = tiny_causal(tmp_path / "whole", "gemma3")
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "config.json").write_bytes((whole / "config.json").read_bytes())
    alone = inspect_checkpoint(str(tmp_path / "alone"))
    assert replace(alone, name="") == replace(inspect_checkpoint(str(whole)), name="")


def test_the_json_has_every_figure() -> None:
    content = json.loads(json.dumps(to_json(inspect_checkpoint("gemma-2b"))))
    assert content["other_parameters"] == 1_981_884_416
    assert content["feed_forward_halves"] == 32768
    assert content["key_value_bytes_per_token"] == 18_432
    assert set(content["bytes"]) == {"fp32", "bf16", "int8", "nf4", "nf4_double"}


def test_unknown_checkpoints_are_refused() -> None:
    sentence = (
        "There is no checkpoint 'minilmm': give a name of the catalogue (distilbert, gemma-2b, "
        "gemma-3-270m, gemma-7b, minilm, mistral-7b-instruct, smollm2-135m-instruct), a folder "
        "with a config.json, a .gguf file, or hub:owner/name@revision. Did you mean 'minilm'?"
    )
    with pytest.raises(SourceError, match=f"^{re.escape(sentence)}$"):
        inspect_checkpoint("minilmm")


def test_a_configuration_that_transformers_does_not_know_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "abacus"}')
    with pytest.raises(
        CheckpointError,
        match=rf"^The configuration of {re.escape(str(tmp_path))} cannot be read: The checkpoint "
        r"you are trying to load has model type `abacus` but Transformers does not recognize this "
        r"architecture\. .* Name a folder with a config\.json that transformers knows\.$",
    ):
        inspect_checkpoint(str(tmp_path))


@pytest.mark.weights
@pytest.mark.parametrize("name", ["minilm", "gemma-3-270m", "smollm2-135m-instruct"])
def test_bundled_configurations_are_those_of_the_weights(name: str) -> None:
    fetched = inspect_checkpoint(str(resolve_checkpoint(name)))
    assert replace(fetched, name=name) == inspect_checkpoint(name)


def test_every_bundled_configuration_can_be_built() -> None:
    for name in bundled():
        assert inspect_checkpoint(name).parameters > inspect_checkpoint(name).linear_parameters
