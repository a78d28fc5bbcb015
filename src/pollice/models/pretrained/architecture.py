"""The architecture of a checkpoint, from its configuration alone.

Knows nothing about weights: the model is built without them, on torch's meta device.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
)

from pollice.catalogue.hub import HUB_PREFIX
from pollice.errors import CheckpointError
from pollice.models.pretrained.devices import quiet
from pollice.models.pretrained.names import bundled
from pollice.models.pretrained.safety import (
    FAULTS,
    check_config,
    first_line,
    refuse_foreign_code,
)
from pollice.models.pretrained.sources import resolve_checkpoint

Form = Literal["fp32", "bf16", "int8", "nf4"]
"""How weights are stored; int8 and nf4 as bitsandbytes does it."""

FORMS: tuple[Form, ...] = ("fp32", "bf16", "int8", "nf4")

NF4_BITS = 4 + 32 / 64
"""A linear weight in NF4: 4 bits, and a float32 scale for each block of 64."""
NF4_DOUBLE_BITS = 4 + 8 / 64 + 32 / (64 * 256)
"""With double quantization: 8-bit scales, and a float32 scale for each 256 of them (QLoRA, arXiv
2305.14314, section 3)."""


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What a checkpoint's configuration says of the model."""

    name: str
    family: str
    causal: bool
    """Whether it predicts the next word; else it is an encoder."""
    layers: int
    width: int
    heads: int
    key_value_heads: int
    head_size: int
    feed_forward: int
    gated: bool
    """Whether the feed-forward part has a second half that gates the first."""
    window: int | None
    """How many tokens back a layer with a sliding window sees; None: all."""
    windowed_layers: int
    context: int | None
    vocabulary: int
    activation: str
    norm: str
    positions: str
    embedding_parameters: int
    """Of the tables of tokens, positions and segments."""
    head_parameters: int
    """Of the output embedding; 0 where it is the input embedding, or where there is none."""
    linear_parameters: int
    """Of the layers' matrices: what int8 and NF4 compress."""
    linear_outputs: int
    """The rows of these matrices; int8 has a scale for each."""
    parameters: int
    stored_bytes: int
    """Of a number in the checkpoint's files: 4, or 2 in 16 bits."""

    @property
    def other_parameters(self) -> int:
        """All but the embedding parameters and those of an output embedding of its own."""
        return self.parameters - self.embedding_parameters - self.head_parameters

    @property
    def feed_forward_halves(self) -> int:
        """The feed-forward width, both halves of the gate counted."""
        return self.feed_forward * (2 if self.gated else 1)

    def weight_bytes(self, form: Form, *, double: bool = False) -> int:
        """Return the bytes of all weights; ``double``: NF4's scales are quantized again.

        Embeddings, norms and the output embedding stay in bfloat16 under int8 and NF4.
        """
        rest = self.parameters - self.linear_parameters
        match form:
            case "fp32":
                return 4 * self.parameters
            case "bf16":
                return 2 * self.parameters
            case "int8":
                return 2 * rest + self.linear_parameters + 4 * self.linear_outputs
            case _:
                bits = NF4_DOUBLE_BITS if double else NF4_BITS
                return 2 * rest + round(self.linear_parameters * bits / 8)

    @property
    def key_value_bytes(self) -> int | None:
        """The bytes of keys and values for each token, in bfloat16; None: nothing is kept."""
        if not self.causal:
            return None
        # Keys and values, of two bytes each.
        return 2 * 2 * self.layers * self.key_value_heads * self.head_size


def to_json(anatomy: Anatomy) -> dict[str, Any]:
    """Return the anatomy and what follows from it as plain JSON values."""
    return {
        **asdict(anatomy),
        "other_parameters": anatomy.other_parameters,
        "feed_forward_halves": anatomy.feed_forward_halves,
        "bytes": {
            **{form: anatomy.weight_bytes(form) for form in FORMS},
            "nf4_double": anatomy.weight_bytes("nf4", double=True),
        },
        "key_value_bytes_per_token": anatomy.key_value_bytes,
    }


@cache
def inspect_checkpoint(name: str, vocabulary: int | None = None) -> Anatomy:
    """Return the anatomy of a checkpoint; nothing but its configuration is read.

    Args:
        name: A bundled configuration, a folder with a config.json, ``hub:owner/name@revision``,
            or another name of the catalogue, which is fetched if need be.
        vocabulary: Another number of words than the configuration has.

    Raises:
        SourceError: there is no such checkpoint, or it cannot be had.
        CheckpointError: transformers does not know its architecture.
    """
    config = _read(name)
    if vocabulary is not None:
        config.vocab_size = vocabulary
    try:
        with quiet(), torch.device("meta"):
            kind: Any = AutoModelForCausalLM if _is_causal(config) else AutoModel
            model = kind.from_config(config, trust_remote_code=False)
    except FAULTS as error:
        refuse_foreign_code(name, error)
        raise CheckpointError(
            f"The architecture of {name} cannot be built from its configuration: {error}"
        ) from error
    return describe(name, model)


def _read(name: str) -> Any:
    """Return the configuration, that of the text part where there are several."""
    if name in bundled():
        return AutoConfig.for_model(**bundled()[name])
    try:
        return _fetched(name).get_text_config()
    except FAULTS as error:
        refuse_foreign_code(name, error)
        raise CheckpointError(
            f"The configuration of {name} cannot be read: {first_line(error)} "
            "Name a folder with a config.json that transformers knows."
        ) from error


def _fetched(name: str) -> Any:
    repository, at, revision = name.removeprefix(HUB_PREFIX).partition("@")
    if name.startswith(HUB_PREFIX) and at:
        check_config(repository, revision)
        return AutoConfig.from_pretrained(repository, revision=revision, trust_remote_code=False)
    folder = resolve_checkpoint(name)
    check_config(folder)
    return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _is_causal(config: Any) -> bool:
    fills_gaps = type(config) in MODEL_FOR_MASKED_LM_MAPPING
    return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and (
        not fills_gaps or bool(getattr(config, "is_decoder", False))
    )


def describe(name: str, model: Any) -> Anatomy:
    """Return the anatomy of a model, whether or not it holds weights."""
    config = model.config
    head = model.get_output_embeddings()
    # The same object, also on the meta device: from_config ties the weights.
    tied = head is None or head.weight is model.get_input_embeddings().weight
    linear = [
        module for module in model.modules() if isinstance(module, nn.Linear) and module is not head
    ]
    heads = config.num_attention_heads
    feed_forward = _first(config, "intermediate_size", "hidden_dim", "ffn_dim", "n_inner")
    # GPT-2 leaves n_inner empty where it is four times the width.
    feed_forward = feed_forward or 4 * config.hidden_size
    window, windowed = _window(config)
    return Anatomy(
        name=name,
        family=config.model_type,
        causal=head is not None,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=heads,
        key_value_heads=_first(config, "num_key_value_heads") or heads,
        # Gemma's heads are not the width divided by their number.
        head_size=_first(config, "head_dim") or config.hidden_size // heads,
        feed_forward=feed_forward,
        gated=_is_gated(model, config.hidden_size, feed_forward),
        window=window,
        windowed_layers=windowed,
        context=_first(config, "max_position_embeddings"),
        vocabulary=config.vocab_size,
        activation=str(
            _first(config, "hidden_activation", "hidden_act", "activation", "activation_function")
        ),
        norm=_norm(model),
        positions=_positions(config, model),
        embedding_parameters=sum(
            module.weight.numel() for module in model.modules() if isinstance(module, nn.Embedding)
        ),
        head_parameters=0 if tied else head.weight.numel(),
        linear_parameters=sum(module.weight.numel() for module in linear),
        linear_outputs=sum(module.out_features for module in linear),
        parameters=model.num_parameters(),
        stored_bytes=(config.dtype or torch.float32).itemsize,
    )


def _first(config: Any, *names: str) -> Any:
    """Return the first of the fields that a configuration has and sets."""
    found = (getattr(config, name, None) for name in names)
    return next((value for value in found if value is not None), None)


def _window(config: Any) -> tuple[int | None, int]:
    """Return the sliding window, and in how many layers it is used."""
    window = _first(config, "sliding_window", "local_attention")
    # Qwen2's config.json names a window even where it is turned off.
    if window is None or not getattr(config, "use_sliding_window", True):
        return None, 0
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return window, config.num_hidden_layers
    windowed = sum(kind == "sliding_attention" for kind in kinds)
    return (window if windowed else None), windowed


def _is_gated(model: nn.Module, width: int, feed_forward: int) -> bool:
    """Tell whether there is a gate: a matrix of its own, or one of twice the width."""
    return any(
        name.endswith("gate_proj")
        # ModernBERT has gate and value in one matrix, Wi.
        or (isinstance(module, nn.Linear) and module.weight.shape == (2 * feed_forward, width))
        for name, module in model.named_modules()
    )


def _norm(model: nn.Module) -> str:
    kinds = (type(module).__name__ for module in model.modules())
    found = next((kind for kind in kinds if kind.endswith("Norm")), "none")
    return "RMSNorm" if "RMS" in found else found


def _positions(config: Any, model: nn.Module) -> str:
    bases = sorted(set(_rotary_bases(getattr(config, "rope_parameters", None) or {})))
    if bases:
        return f"rotary, base {' and '.join(f'{base:,.0f}' for base in bases)}"
    if getattr(config, "relative_attention", False):
        return "relative"
    learned = any(
        isinstance(module, nn.Embedding) and ("position" in name or name.endswith("wpe"))
        for name, module in model.named_modules()
    )
    return "learned" if learned else "none"


def _rotary_bases(parameters: Mapping[str, Any]) -> Iterator[float]:
    """Yield the bases, also where each kind of layer has its own."""
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _rotary_bases(value)
        elif name == "rope_theta":
            yield value
