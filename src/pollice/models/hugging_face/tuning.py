"""The options of fine-tuning a causal language model with an adapter.

Knows nothing about how it is trained.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from pollice.method import NO_EFFECT, OPTIONS
from pollice.models.causal.adapters import AdapterShape, Targets
from pollice.models.pretrained.options import LanguageModelOptions
from pollice.models.training.options import OptimizerOptions, with_recipe

WITHOUT_INFLUENCE = frozenset(
    (
        *("recipe", "checkpoint", "device", "batch_tokens", "merge", "paged_optimizer"),
        *("judge_before", "calibration_texts", "checkpoint_steps", "keep_checkpoints"),
    )
)
"""The options that change nothing about what is learned, but for rounding."""

_REPORT: Mapping[str, Any] = MappingProxyType(
    {
        "weights": "nf4",
        "rank": 64,
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
class TuningOptions(OptimizerOptions, LanguageModelOptions):
    """Options of training an adapter on a causal language model to answer with the label."""

    recipe: Literal["default", "report"] = "default"
    """report: the settings of the study that pollice grew from, wherever no other is given."""
    checkpoint: str = "gemma-3-270m"
    """A catalogue name, a folder, or hub:owner/name@revision."""
    rank: int = Field(default=16, ge=1)
    """The rank of the adapter's matrices (LoRA, arXiv 2106.09685)."""
    alpha: int = Field(default=32, ge=1)
    """The adapter's share is multiplied by alpha / rank."""
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
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients longer than this are scaled down to it."""
    recompute: bool = Field(default=False, json_schema_extra=NO_EFFECT)
    """Whether activations are computed again in the backward pass: less memory, more time."""
    max_tokens: int = Field(default=256, ge=1)
    """The most tokens of a text that are read; what is cut is counted."""
    batch_tokens: int = Field(default=512, ge=1, json_schema_extra=NO_EFFECT)
    """The most tokens that learn at once; fewer take less memory. Judging, which holds less for
    each, reads four times as many."""
    merge: bool = False
    """Whether the saved predictor has the adapter added to its weights: faster, slightly rounded,
    and without the model from before."""
    judge_before: bool = True
    """Whether the test rows are judged by the model from before tuning too, at twice the price;
    a saved predictor judges by the tuned one alone."""
    calibration_texts: int = Field(default=64, ge=0)
    """Training texts, without their labels, that calibrate the model from before."""
    checkpoint_steps: int = Field(default=0, ge=0)
    """A checkpoint is written every so many steps; 0: only at the end of each epoch."""
    keep_checkpoints: int = Field(default=1, ge=1)
    """How many checkpoints stay on disk; the best adapter so far is in each."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Draws the adapter, the questions, the order of rows and dropout."""

    @model_validator(mode="before")
    @classmethod
    def _follow_recipe(cls, given: Any) -> Any:
        return with_recipe(given, _REPORT)

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
            rank=self.rank, alpha=self.alpha, dropout=self.dropout, targets=self.targets
        )
