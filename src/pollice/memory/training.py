"""What training takes in memory: the bytes of each part, from a checkpoint's anatomy.

Knows nothing about methods. The formulas are for the tensors that live at the peak.
"""

from dataclasses import dataclass

from pollice.memory.footprint import MIB, Parts
from pollice.memory.planned_model import PlannedModel
from pollice.models.pretrained.architecture import Anatomy

# Measured with torch 2.13 and glibc on x86.
_LEFT_BETWEEN = 1.15  # what is kept for the backward pass has another size in every pass
_LEFT_BY_ADAPTERS = 2.1  # in float32: the thin matrices' results break up what was freed
# Beyond the tensors of training in bfloat16: oneDNN compiles for each shape, so for each length.
_KERNELS, _KERNELS_UP_TO = 250 * MIB, 256


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """The rows that go through a model at once in training."""

    rows: int
    text: int
    """The tokens of the longest text, cut."""
    around: int = 0
    """The tokens that stand around each text."""

    @property
    def tokens(self) -> int:
        """All of them, padding counted."""
        return self.rows * (self.text + self.around)


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """How AdamW's state is held."""

    bits: int
    """Of each number: 32 or 8."""
    paged: bool
    """Whether a GPU keeps it in the host's memory."""

    def state_bytes(self, model: PlannedModel, learning: int, embeddings: int = 0) -> int:
        """Return two moments of each weight that learns; embeddings among them stay in 32 bits."""
        if self.paged and model.device.cuda:
            return 0
        # Two moments a weight: 2 x 4 bytes in 32 bits, 2 x 1 in 8 bits.
        if self.bits == 32:
            return 8 * learning
        return 2 * (learning - embeddings) + 8 * embeddings


@dataclass(frozen=True, kw_only=True)
class EncoderPart:
    """How much of an encoder learns: an adapter, the layers above the frozen ones, or all."""

    adapter_rank: int | None = None
    """The rank of an adapter that learns instead; none: there is no adapter."""
    frozen_layers: int = 0
    frozen_embeddings: bool = False

    def parameters(self, anatomy: Anatomy) -> int:
        """Return how many weights learn."""
        if self.adapter_rank:
            return adapter_parameters(anatomy, self.adapter_rank, all_matrices=True)
        if not self.frozen_layers:
            frozen = anatomy.embedding_parameters if self.frozen_embeddings else 0
            return anatomy.parameters - frozen
        return round(anatomy.linear_parameters * (1 - self.frozen_layers / anatomy.layers))


def encoder_training_parts(
    model: PlannedModel,
    batch: MicroBatch,
    part: EncoderPart,
    optimizer: Optimizer,
    *,
    attention_dropout: bool,
) -> Parts:
    """Return what an encoder takes that learns in float32 under AdamW.

    Products are in the data type asked for. The best epoch's weights are kept beside those that
    learn, and under mixed precision so is a copy of the matrices in bfloat16. A fused attention
    kernel keeps no scores, but ``attention_dropout`` rules it out.
    """
    anatomy = model.anatomy
    learning = part.parameters(anatomy)
    embeddings = anatomy.embedding_parameters if learning == anatomy.parameters else 0
    mixed = model.device.number_bytes == 2
    copies = 4 * learning + (2 * anatomy.linear_parameters if mixed else 0)
    kept = batch.tokens * _kept_by_encoder(model, batch.text if attention_dropout else 0)
    return {
        "weights": 4 * anatomy.parameters + copies,
        "gradients": 4 * learning,
        "optimizer": optimizer.state_bytes(model, learning, embeddings),
        "activations": _kept_for_backward(model, kept, batch, thin=bool(part.adapter_rank)),
    }


@dataclass(frozen=True, kw_only=True)
class DecoderAdapter:
    """An adapter that learns on a decoder's frozen weights."""

    rank: int
    all_matrices: bool
    """Whether every matrix of the layers is adapted; else those of queries and values."""
    recompute: bool
    """Whether the backward pass computes activations again."""


def decoder_training_parts(
    model: PlannedModel, batch: MicroBatch, adapter: DecoderAdapter, optimizer: Optimizer
) -> Parts:
    """Return what a decoder takes whose adapter learns in float32.

    The loss is on the label's word alone, so logits are of one position in each row.
    """
    anatomy = model.anatomy
    learning = adapter_parameters(anatomy, adapter.rank, all_matrices=adapter.all_matrices)
    kept = batch.tokens * _kept_by_decoder(model, adapter)
    return {
        "weights": model.weight_bytes + 4 * learning,
        "gradients": 4 * learning,
        "optimizer": optimizer.state_bytes(model, learning),
        "activations": _kept_for_backward(model, kept, batch, thin=False),
        "label logits": 3 * 4 * batch.rows * anatomy.vocabulary,
    }


def adapter_parameters(anatomy: Anatomy, rank: int, *, all_matrices: bool) -> int:
    """Return what two thin matrices beside each adapted one have, or beside queries and values."""
    queries = anatomy.heads * anatomy.head_size
    if all_matrices:
        # The columns of the layers' matrices: width everywhere but after queries and gate.
        inward = 5 if anatomy.gated else 4
        columns = anatomy.layers * (inward * anatomy.width + queries + anatomy.feed_forward)
        return rank * (anatomy.linear_outputs + columns)
    shared = anatomy.key_value_heads * anatomy.head_size
    return rank * anatomy.layers * (2 * anatomy.width + queries + shared)


def _kept_for_backward(model: PlannedModel, kept: int, batch: MicroBatch, *, thin: bool) -> int:
    """Return what the tensors that the backward pass reads take, with the room between them.

    ``thin``: whether only the thin matrices of an encoder's adapter learn.
    """
    if model.device.cuda:
        return model.with_kept_blocks(kept)
    mixed = model.device.number_bytes == 2
    left = _LEFT_BY_ADAPTERS if thin and not mixed else _LEFT_BETWEEN
    shapes = min(1, batch.text / _KERNELS_UP_TO) if mixed else 0
    return model.with_kept_blocks(round(left * kept)) + round(shapes * _KERNELS)


def _kept_by_encoder(model: PlannedModel, keys: int) -> int:
    """Return the bytes of a token that an encoder's forward pass keeps for the backward one.

    For each layer in float32: the inputs of queries, feed-forward and both norms, queries, keys,
    values and what attention returns, twice since the heads are put together again; the
    feed-forward part before and after its activation; a byte a number for two dropout masks.
    Under mixed precision each matrix keeps its own copy of its input, norms keep float32.
    ``keys``: how many scores of each head are kept, under dropout: as scores, as weights and
    dropped, all in float32; 0 under a fused kernel.
    """
    anatomy = model.anatomy
    width, feed_forward = anatomy.width, anatomy.feed_forward
    halves = 3 if anatomy.gated else 2
    if model.device.number_bytes == 2:
        per_layer = 28 * width + 2 * halves * feed_forward
    else:
        per_layer = 34 * width + 4 * halves * feed_forward
    return anatomy.layers * (per_layer + 12 * anatomy.heads * keys)


def _kept_by_decoder(model: PlannedModel, adapter: DecoderAdapter) -> int:
    """Return the bytes of a token that a decoder with adapters keeps for the backward pass.

    For each layer: norms in float32; what every adapter reads, with its dropout mask; queries,
    keys and values for every head, and what attention returns; three halves of the feed-forward
    part and their product. With recomputation: each layer's input, and one layer's whole with its
    gradients.
    """
    anatomy, size = model.anatomy, model.device.number_bytes
    queries = anatomy.heads * anatomy.head_size
    norms = 4 * 4 * anatomy.width
    if adapter.all_matrices:
        read = 5 * anatomy.width + queries + anatomy.feed_forward
    else:
        read = 2 * anatomy.width
    attention, feed_forward = 4 * size * queries, 4 * size * anatomy.feed_forward
    layer = norms + (size + 1) * read + attention + feed_forward
    if adapter.recompute:
        return 2 * layer + anatomy.layers * size * anatomy.width
    return anatomy.layers * layer
