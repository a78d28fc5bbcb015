"""A frozen encoder's vectors under a logistic regression."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from pollice.data.dataset import Dataset
from pollice.memory.footprint import Footprint, Lengths, PlannedMethod, halved
from pollice.memory.planned_model import plan_model
from pollice.memory.reading import largest_batch, reading_parts
from pollice.method import OPTIONS
from pollice.models.encoder.classifiers import VectorClassifier
from pollice.models.encoder.reader import check_max_tokens
from pollice.models.encoder.vectors import Pooling, TextEncoder, read_prefix
from pollice.models.linear_head import fit_head
from pollice.models.pretrained.options import ReadingOptions
from pollice.models.pretrained.sources import resolve_checkpoint
from pollice.models.pretrained.weights import read_config
from pollice.models.soft_labels import copy_by_label
from pollice.system.progress import in_chunks, stage


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Features(ReadingOptions, PlannedMethod):
    """A frozen encoder's vectors, scaled, with logistic regression: minutes, and no GPU."""

    predictor_type = VectorClassifier
    takes_weights = True
    takes_soft_labels = True

    checkpoint: str = "multilingual-e5-small"
    """A catalogue name, a folder, or hub:owner/name@revision."""
    prefix: str | None = None
    """What stands before every text, such as "query: "; none: what the checkpoint says itself."""
    pooling: Pooling = "mean"
    """The vector of a text: the mean of its tokens, or that of its first token."""
    seed: int = Field(default=0, ge=0)
    """Part of every method; nothing here is random."""

    def check(self, train: Dataset) -> None:
        """Refuse a checkpoint that cannot be had, or that has no places for so many tokens."""
        check_max_tokens(read_config(resolve_checkpoint(self.checkpoint)), self.max_tokens)

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> VectorClassifier:
        """Encode the rows once, and choose the regularization by validation log loss."""
        checkpoint = resolve_checkpoint(self.checkpoint)
        prefix = read_prefix(checkpoint) if self.prefix is None else self.prefix
        encoder = TextEncoder(checkpoint, self.reading(), self.pooling, prefix)
        vectors = _encode(encoder, train, "encoding training")
        held_out = None
        if len(validation):
            held_out = (_encode(encoder, validation, "encoding validation"), validation.labels)
        labels, weights = train.labels, train.weights
        if train.soft_labels is not None:
            copies = copy_by_label(train.soft_labels, train.label_names, weights)
            vectors, labels, weights = vectors[copies.rows], copies.labels, copies.weights
        head = fit_head(vectors, labels, train.label_names, validation=held_out, weights=weights)
        return VectorClassifier(encoder, head, train.label_names)

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what encoding takes; the vectors and their head are small beside it."""
        model = plan_model(self.checkpoint, self.device, self.dtype)
        tokens = largest_batch(lengths.cut(self.max_tokens), lengths.rows, self.batch_tokens)
        return model.footprint(reading_parts(model, tokens), lengths)

    def halve_batch(self, lengths: Lengths) -> Mapping[str, int]:
        """Return half of batch_tokens, as long as it holds a text."""
        return halved("batch_tokens", self.batch_tokens, lengths.cut(self.max_tokens))


def _encode(encoder: TextEncoder, rows: Dataset, description: str) -> NDArray[np.float32]:
    with stage(description, total=len(rows)) as advance:
        return np.concatenate(
            [encoder.encode(chunk)[0] for chunk in in_chunks(rows.texts, advance)]
        )
