"""The options that every method with a checkpoint shares: how texts go through a model.

Knows nothing about any one method.
"""

from dataclasses import fields

from pydantic import Field
from pydantic.dataclasses import dataclass

from pollice.method import OPTIONS
from pollice.models.batching import Keep
from pollice.models.loading import Device, Dtype


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class ReadingOptions:
    """How a model reads texts; saved with every predictor that reads so."""

    max_tokens: int = Field(default=512, ge=1)
    """The most tokens of a text that are read; what is cut is counted."""
    keep: Keep = "head_tail"
    """Which end of a longer text is read."""
    batch_tokens: int = Field(default=4096, ge=1)
    """The most tokens that go through the model at once; fewer take less memory."""
    dtype: Dtype = "auto"
    """auto: bfloat16 where the hardware multiplies it natively."""
    device: Device = "auto"
    """auto: a GPU where there is one."""

    def reading(self) -> "ReadingOptions":
        """Return these options alone, without those of the method that has them."""
        return ReadingOptions(
            **{field.name: getattr(self, field.name) for field in fields(ReadingOptions)}
        )
