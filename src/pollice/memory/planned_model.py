"""A checkpoint as a device would hold it, and what lies around it in memory.

Knows nothing about what the model does. What is measured and not derived is a named constant.
"""

from dataclasses import dataclass

from pollice.errors import CheckpointError
from pollice.memory.footprint import CPU_LIBRARIES, MIB, Footprint, Lengths, Parts
from pollice.models.pretrained.architecture import Anatomy, inspect_checkpoint
from pollice.models.pretrained.devices import Device, Dtype
from pollice.models.pretrained.planned_device import PlannedDevice, planned_device
from pollice.models.pretrained.weights import FOUR_BIT_NEEDS_CUDA

# Measured with torch 2.13 and glibc on x86: blocks of other sizes that were freed, and stay.
KEPT_BLOCKS = 200 * MIB
_CUDA_ROUNDING = 1.1  # blocks that CUDA's allocator keeps besides those in use

# A tokenizer's memory for each byte of tokenizer.json, two copies, and what reading it leaves.
_TOKENIZER_FIXED, _TOKENIZER_SHARE = 15 * MIB, 10
_SECOND_TOKENIZER = 0.35  # of the first one
_ENCODER_JSON, _SMALL_JSON, _LARGE_JSON = 15, 72, 110  # bytes of tokenizer.json for each word
_MANY_WORDS = 100_000


@dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """A checkpoint's anatomy on the device that is planned for."""

    anatomy: Anatomy
    device: PlannedDevice
    four_bit: bool = False
    """Whether the weights that do not learn are held in NF4."""

    @property
    def weight_bytes(self) -> int:
        """The weights that do not learn; in NF4 with the largest matrix unpacked for a product."""
        if self.four_bit:
            unpacked = 2 * self.anatomy.width * self.anatomy.feed_forward
            return self.anatomy.weight_bytes("nf4") + unpacked
        return self.anatomy.weight_bytes("bf16" if self.device.number_bytes == 2 else "fp32")

    def with_kept_blocks(self, live: int) -> int:
        """Return what tensors take with the blocks that the allocator keeps beside them."""
        return round(live * _CUDA_ROUNDING) if self.device.cuda else live + KEPT_BLOCKS

    def footprint(
        self, parts: Parts, lengths: Lengths, *, second_tokenizer: bool = False
    ) -> Footprint:
        """Return the footprint of work with the model, from the parts that the work takes."""
        if self.device.cuda:
            return Footprint.of_gpu(parts)
        share = 1 + _SECOND_TOKENIZER if second_tokenizer else 1
        tokenizer = round(share * _tokenizer_bytes(self.anatomy))
        return Footprint.of_process({**parts, "tokenizer": tokenizer}, lengths, CPU_LIBRARIES)


def plan_model(
    checkpoint: str, device: Device, dtype: Dtype, *, four_bit: bool = False
) -> PlannedModel:
    """Return a checkpoint as it would be held; only its configuration is read.

    Raises:
        SourceError: there is no such checkpoint, or it cannot be had.
        CheckpointError: transformers does not know its architecture, or 4-bit weights are asked
            for without a GPU.
    """
    planned = planned_device(device, dtype)
    if four_bit and not planned.cuda:
        raise CheckpointError(FOUR_BIT_NEEDS_CUDA)
    return PlannedModel(anatomy=inspect_checkpoint(checkpoint), device=planned, four_bit=four_bit)


def _tokenizer_bytes(anatomy: Anatomy) -> int:
    merges = _LARGE_JSON if anatomy.vocabulary > _MANY_WORDS else _SMALL_JSON
    json_bytes = anatomy.vocabulary * (merges if anatomy.causal else _ENCODER_JSON)
    return _TOKENIZER_FIXED + _TOKENIZER_SHARE * json_bytes
