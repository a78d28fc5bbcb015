"""The options that say how texts go through a model, shared by several methods.

Knows nothing about any one method, and nothing about training.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from pollice.method import (
    NO_EFFECT,
    OPTIONS,
    Method,
    formerly,
    say_former_names,
    with_current_names,
)
from pollice.models.batching import Keep
from pollice.models.pretrained.devices import Device, Dtype

LongText = Literal["head_tail", "head", "tail", "chunks"]
"""Which end of a text that is too long is read; chunks: all of it, in pieces."""

Weights = Literal["auto", "float32", "bfloat16", "nf4"]
"""How the weights that do not learn are held."""


def renamed(kind: type[Any], given: Any) -> Any:
    """Return what a class of options was given, its options by their present names.

    Only a method's user is told: nobody can change the options in a saved predictor.
    """
    options = given.kwargs if isinstance(given, ArgsKwargs) else given
    if not isinstance(options, Mapping):
        return given
    if issubclass(kind, Method):
        say_former_names(kind, options)
    return with_current_names(kind, options)


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class ModelOptions:
    """How texts go through any model."""

    max_tokens: int = Field(default=512, ge=1)
    """The most tokens of a text that are read; what is cut is counted."""
    batch_tokens: int = Field(default=2048, ge=1, json_schema_extra=NO_EFFECT)
    """The most tokens that go through the model at once; fewer take less memory."""
    dtype: Dtype = "auto"
    """auto: bfloat16 where the hardware multiplies it natively."""
    device: Device = Field(default="auto", json_schema_extra=NO_EFFECT)
    """auto: a GPU where there is one."""

    @model_validator(mode="before")
    @classmethod
    def _accept_former_names(cls, given: Any) -> Any:
        return renamed(cls, given)

    def _values(self, kind: type["ModelOptions"]) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(kind)}


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class ReadingOptions(ModelOptions):
    """How a model reads texts; saved with every predictor that reads so."""

    long_text: Keep = Field(default="head_tail", json_schema_extra=formerly("keep"))
    """Which end of a longer text is read."""

    def reading(self) -> "ReadingOptions":
        """Return these options alone, without those of the method that has them."""
        return ReadingOptions(**self._values(ReadingOptions))


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class LanguageModelOptions(ReadingOptions):
    """How a causal language model is held and reads."""

    weights: Weights = "auto"
    """How the weights that do not learn are held; auto: in dtype; nf4: in 4 bits, on CUDA."""

    @property
    def four_bit(self) -> bool:
        """Whether the weights that do not learn are held in 4 bits."""
        return self.weights == "nf4"

    def reading(self) -> ReadingOptions:
        """Return how a text is read; its data type is the one that the weights are held in."""
        reading = super().reading()
        if self.weights in ("float32", "bfloat16"):
            return replace(reading, dtype=self.weights)
        return reading


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class ClassifierOptions(ModelOptions):
    """How a trained classifier reads texts; saved with it."""

    long_text: LongText = Field(default="head_tail", json_schema_extra=formerly("keep"))
    """Which end of a longer text is read; chunks: all of it, in pieces of at most max_tokens,
    whose probabilities are averaged."""

    def reading(self) -> "ClassifierOptions":
        """Return these options alone, without those of the method that has them."""
        return ClassifierOptions(**self._values(ClassifierOptions))
