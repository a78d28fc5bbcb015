"""The options of the method trainer.

Knows nothing about rows or models.
"""

from importlib.util import find_spec
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from pollice.errors import OptionError
from pollice.method import OPTIONS
from pollice.models.pretrained.options import ClassifierOptions
from pollice.models.training.options import OptimizerOptions

Tracker = Literal["trackio", "tensorboard", "mlflow", "wandb"]

WITHOUT_INFLUENCE = frozenset(
    (
        *("checkpoint", "device", "batch_tokens", "paged_optimizer"),
        *("checkpoint_steps", "keep_checkpoints", "push_to_hub", "report_to"),
    )
)
"""The options that change nothing about what is learned, but for rounding."""


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class TrainerOptions(OptimizerOptions, ClassifierOptions):
    """Options of training with transformers' Trainer; the defaults are the report's arguments."""

    checkpoint: str = "minilm"
    """A catalogue name, a folder, or hub:owner/name@revision."""
    epochs: int = Field(default=2, ge=1)
    """How often every training row is seen; the best epoch by validation log loss is kept."""
    learning_rate: float = Field(default=2e-5, gt=0, le=1)
    """The highest rate."""
    batch_size: int = Field(default=16, ge=1)
    """Rows of a training step, over all processes."""
    gradient_accumulation_steps: int = Field(default=1, ge=1)
    """The parts in which a step's rows go through the model; more take less memory."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's decay, not on biases and norms."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """The share of the steps during which the learning rate rises."""
    lr_scheduler: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    """How the learning rate falls after warm-up, by transformers' names."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients longer than this are scaled down to it."""
    group_by_length: bool = False
    """Whether rows of like length go into a step together: less padding, a less random order."""
    attention_dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout of attention weights; None: as the checkpoint's configuration says."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Draws the new head, the order of rows and dropout."""
    checkpoint_steps: int = Field(default=0, ge=0)
    """A checkpoint is written every so many steps; 0: only at the end of each epoch."""
    keep_checkpoints: int = Field(default=1, ge=1)
    """How many checkpoints stay on disk; the best weights so far are in each."""
    push_to_hub: str | None = None
    """The Hub repository (owner/name) that gets the trained model; a new one is private."""
    report_to: tuple[Tracker, ...] = ()
    """The trackers that are told every step: trackio, tensorboard, mlflow, wandb."""


def check_trackers(options: TrainerOptions) -> None:
    """Refuse a tracker whose package is not installed."""
    for tracker in options.report_to:
        if find_spec(tracker) is None:
            raise OptionError(
                f"report_to names {tracker}, but the package {tracker} is not installed. "
                f"Install it with: pip install {tracker}. Or leave it out."
            )
