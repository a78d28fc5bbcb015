"""The options of training: those that every trained method has, and those of our own loop.

Knows nothing about any one method.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import ArgsKwargs

from pollice.method import NO_EFFECT, NOT_COMPARED, OPTIONS, formerly
from pollice.models.pretrained.options import ClassifierOptions, renamed

Recipe = Literal["default", "report"]
Select = Literal["log_loss", "accuracy", "last"]

_REPORT: Mapping[str, Any] = MappingProxyType(
    {
        "max_tokens": 512,
        "long_text": "head",
        "dtype": "float32",
        "epochs": 3,
        "learning_rate": 5e-5,
        "batch_size": 16,
        "micro_batch_tokens": 8192,
        "weight_decay": 0.01,
        "layer_decay": 1.0,
        "head_learning_rate": None,
        "warmup": 0.1,
        "warmup_steps": 500,
        "attention_dropout": 0.1,
        "label_smoothing": 0.0,
        "clip_norm": None,
        "select": "last",
        "temperature": False,
    }
)


def with_recipe(kind: type[Any], given: Any, report: Mapping[str, Any]) -> Any:
    """Return what a class of options was given; with recipe="report", the rest is the report's.

    An option given by an older name is renamed first: else the report's value would stand beside
    it.
    """
    given = renamed(kind, given)
    options = given.kwargs if isinstance(given, ArgsKwargs) else given
    if not isinstance(options, Mapping) or options.get("recipe") != "report":
        return given
    return {**report, **options}


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class OptimizerOptions:
    """How AdamW's state is held."""

    optimizer_bits: Literal[32, 8] = 32
    """Of each number of AdamW's state; 8 takes a quarter of the memory, and bitsandbytes."""
    paged_optimizer: bool = Field(default=False, json_schema_extra=NO_EFFECT)
    """Whether a GPU may move the optimizer's state to the host's memory; needs bitsandbytes."""


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class SavingOptions:
    """How often training writes a resume point, which an interrupted run goes on from."""

    checkpoint_steps: int | None = Field(
        default=None, ge=1, json_schema_extra={**NO_EFFECT, **formerly(none=0)}
    )
    """A resume point is written every so many steps, too; none: only where the method does so by
    itself, as at the end of an epoch."""
    keep_checkpoints: int = Field(default=1, ge=1, json_schema_extra=NO_EFFECT)
    """How many resume points stay on disk: the newest ones."""


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class TrainingOptions(SavingOptions, OptimizerOptions, ClassifierOptions):
    """Options of every method that trains an encoder with our own loop."""

    recipe: Recipe = Field(default="default", json_schema_extra=NOT_COMPARED)
    """report: the settings of the study that pollice grew from, wherever no other is given."""
    checkpoint: str = Field(default="minilm", json_schema_extra=NOT_COMPARED)
    """A catalogue name, a folder, or hub:owner/name@revision."""
    epochs: int | None = Field(default=None, ge=1)
    """How often every training row is seen; the best epoch on validation is kept. none: 3 times,
    or as often as it takes to make 120 steps, but 30 times at most."""
    select: Select = "log_loss"
    """What tells the best epoch on validation; last: the last one is kept."""
    temperature: bool = True
    """Whether the probabilities are made as sure as they may be by validation (arXiv 1706.04599,
    section 4.2): the labels stay, and log_loss tells the best epoch after it."""
    patience: int | None = Field(default=None, ge=1)
    """Training ends after so many epochs without a better one; none: after all epochs."""
    learning_rate: float = Field(default=5e-5, gt=0, le=1)
    """The highest rate; it rises during warm-up, then falls linearly to 0."""
    layer_decay: float = Field(default=0.95, gt=0, le=1)
    """Each layer's rate as a share of that of the layer above it (arXiv 1905.05583, section 5.3.2);
    1: all learn at the same rate."""
    head_learning_rate: float | None = Field(default=1e-3, gt=0, le=1)
    """The highest rate of the new head, whose weights begin as random numbers and have further to
    go than the encoder's; none: learning_rate."""
    batch_size: int = Field(default=16, ge=1)
    """Rows of a training step."""
    micro_batch_tokens: int = Field(default=4096, ge=1, json_schema_extra=NO_EFFECT)
    """The most tokens, padding counted, that go through the model at once in training; a step of
    more is taken in several passes, and learns the same."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decay, not on biases and norms."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """The share of the steps during which the learning rate rises."""
    warmup_steps: int | None = Field(default=None, ge=0)
    """The most steps during which the learning rate rises; none: as many as the share says."""
    attention_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of attention weights; above 0 the fused attention kernels cannot be used."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """The share of each row's weight that is spread over all labels."""
    class_weights: bool = False
    """Whether rare labels weigh as much as frequent ones in the training loss."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Gradients longer than this are scaled down to it; none: they are not."""
    frozen_layers: int = Field(default=0, ge=0)
    """The lowest layers that do not learn, nor do the embeddings below them."""
    freeze_embeddings: bool = False
    """Whether the embeddings do not learn: of a checkpoint for many languages they are most of
    the weights."""
    lora_rank: int | None = Field(default=None, ge=1)
    """The rank of a LoRA adapter that is trained instead of the encoder, then merged into it."""
    compile: bool = Field(default=False, json_schema_extra=NO_EFFECT)
    """Whether torch.compile makes the model faster, after minutes of preparation."""
    checkpoint_minutes: float = Field(default=5.0, ge=0, json_schema_extra=NO_EFFECT)
    """The most minutes of work that a killed process loses: so often a resume point is written,
    and at an epoch's end where the last is older than a tenth of it."""
    seed: int = Field(default=0, ge=0)
    """Draws the new head, the order of rows and dropout."""

    @model_validator(mode="before")
    @classmethod
    def _follow_recipe(cls, given: Any) -> Any:
        return with_recipe(cls, given, _REPORT)

    @model_validator(mode="after")
    def _check_patience(self) -> Self:
        if self.patience is not None and self.select == "last":
            raise ValueError("patience needs select to be log_loss or accuracy")
        return self
