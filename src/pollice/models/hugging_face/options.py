"""The options of the methods trainer and lora.

Knows nothing about rows or models.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from pollice.errors import OptionError
from pollice.method import NO_EFFECT, NOT_COMPARED, OPTIONS, formerly
from pollice.models.causal.adapters import AdapterShape, Targets
from pollice.models.pretrained.options import ClassifierOptions, LanguageModelOptions
from pollice.models.training.options import OptimizerOptions, Recipe, SavingOptions, with_recipe

Tracker = Literal["trackio", "tensorboard", "mlflow", "wandb"]

_REPORT: Mapping[str, Any] = MappingProxyType(
    {
        "weights": "nf4",
        "lora_rank": 64,
        "alpha": 16,
        "dropout": 0.1,
        "targets": "q_and_v",
        "epochs": 4,
        "batch_size": 4,
        "paged_optimizer": True,
        "learning_rate": 2e-4,
        "weight_decay": 0.001,
        "clip_norm": 0.3,
        "warmup": 0.03,
        "max_tokens": 512,
    }
)


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class TrainerOptions(SavingOptions, OptimizerOptions, ClassifierOptions):
    """Options of training with transformers' Trainer; the defaults are the report's arguments."""

    checkpoint: str = Field(default="minilm", json_schema_extra=NOT_COMPARED)
    """A catalogue name, a folder, or hub:owner/name@revision."""
    epochs: int = Field(default=2, ge=1)
    """How often every training row is seen; the best epoch by validation log loss is kept."""
    learning_rate: float = Field(default=2e-5, gt=0, le=1)
    """The highest rate."""
    batch_size: int = Field(default=16, ge=1)
    """Rows of a training step, over all processes."""
    gradient_accumulation_steps: int = Field(default=1, ge=1, json_schema_extra=NO_EFFECT)
    """The parts in which a step's rows go through the model; more take less memory."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decay, not on biases and norms."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """The share of the steps during which the learning rate rises."""
    lr_scheduler: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    """How the learning rate falls after warm-up, by transformers' names."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Gradients longer than this are scaled down to it; none: they are not."""
    group_by_length: bool = False
    """Whether rows of like length go into a step together: less padding, a less random order."""
    attention_dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout of attention weights; None: as the checkpoint's configuration says."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Draws the new head, the order of rows and dropout."""
    push_to_hub: str | None = Field(default=None, json_schema_extra=NO_EFFECT)
    """The Hub repository (owner/name) that gets the trained model; a new one is private."""
    report_to: tuple[Tracker, ...] = Field(default=(), json_schema_extra=NO_EFFECT)
    """The trackers that are told every step: trackio, tensorboard, mlflow, wandb."""


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class TuningOptions(SavingOptions, OptimizerOptions, LanguageModelOptions):
    """Options of training an adapter on a causal language model to answer with the label."""

    recipe: Recipe = Field(default="default", json_schema_extra=NOT_COMPARED)
    """report: the settings of the study that pollice grew from, wherever no other is given."""
    checkpoint: str = Field(default="gemma-3-270m", json_schema_extra=NOT_COMPARED)
    """A catalogue name, a folder, or hub:owner/name@revision."""
    lora_rank: int = Field(default=16, ge=1, json_schema_extra=formerly("rank"))
    """The rank of the adapter's matrices (LoRA, arXiv 2106.09685)."""
    alpha: int = Field(default=32, ge=1)
    """The adapter's share is multiplied by alpha / lora_rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout of what the adapter reads; above 0 a step takes a fifth longer on CPU."""
    targets: Targets = "all"
    """The linear layers that are adapted: all but the output, or those of queries and values."""
    questions: Literal["turns", "each"] = "turns"
    """turns: a row is asked one of the questions, dealt evenly; each: all, at as many times the
    price."""
    epochs: int = Field(default=2, ge=1)
    """How often every training row is seen; the best epoch by validation log loss is kept."""
    patience: int | None = Field(default=2, ge=1)
    """Training ends after so many epochs without a better one; none: after all epochs."""
    batch_size: int = Field(default=8, ge=1)
    """Rows of a training step; they go through the model in parts of at most batch_tokens."""
    learning_rate: float = Field(default=5e-4, gt=0, le=1)
    """The highest rate; it rises during warm-up, then falls to 0 along a cosine."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decay."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """The share of the steps during which the learning rate rises."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Gradients longer than this are scaled down to it; none: they are not."""
    recompute: bool = Field(default=False, json_schema_extra=NO_EFFECT)
    """Whether activations are computed again in the backward pass: less memory, more time."""
    max_tokens: int = Field(default=256, ge=1)
    """The most tokens of a text that are read; what is cut is counted."""
    batch_tokens: int = Field(default=512, ge=1, json_schema_extra=NO_EFFECT)
    """The most tokens that learn at once; fewer take less memory. Judging, which holds less for
    each, reads four times as many."""
    merge: bool = Field(default=False, json_schema_extra=NOT_COMPARED)
    """Whether the saved predictor has the adapter added to its weights: faster, slightly rounded,
    and without the model from before."""
    judge_before: bool = Field(default=True, json_schema_extra=NOT_COMPARED)
    """Whether the test rows are judged by the model from before tuning too, at twice the price;
    a saved predictor judges by the tuned one alone."""
    calibration_texts: int = Field(default=64, ge=0, json_schema_extra=NOT_COMPARED)
    """Training texts, without their labels, that calibrate the model from before."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Draws the adapter, the questions, the order of rows and dropout."""

    @model_validator(mode="before")
    @classmethod
    def _follow_recipe(cls, given: Any) -> Any:
        return with_recipe(cls, given, _REPORT)

    @model_validator(mode="after")
    def _check_merge(self) -> Self:
        if self.merge and self.four_bit:
            raise ValueError(
                "merge cannot add an adapter to 4-bit weights without rounding it away: use "
                "weights 'bfloat16'"
            )
        return self

    @property
    def shape(self) -> AdapterShape:
        """The adapter's."""
        return AdapterShape(
            rank=self.lora_rank, alpha=self.alpha, dropout=self.dropout, targets=self.targets
        )


def check_trackers(options: TrainerOptions) -> None:
    """Refuse a tracker whose package is not installed."""
    for tracker in options.report_to:
        if find_spec(tracker) is None:
            raise OptionError(
                f"report_to names {tracker}, but the package {tracker} is not installed. "
                f"Install it with: pip install {tracker}. Or leave it out."
            )
