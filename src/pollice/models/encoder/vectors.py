"""Texts to vectors, by a frozen encoder.

Knows nothing about labels.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pollice.errors import CheckpointError
from pollice.models.batching import length_batches
from pollice.models.encoder.reader import Reader, check_max_tokens
from pollice.models.pieces import Encoded
from pollice.models.pretrained.devices import resolve_device, resolve_dtype
from pollice.models.pretrained.options import ReadingOptions
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import load_encoder

Pooling = Literal["mean", "cls"]


def read_prefix(checkpoint: Path) -> str:
    """Return what the checkpoint wants before every text, such as ``"query: "``; else nothing.

    It stands where sentence-transformers writes it.

    Raises:
        CheckpointError: the file cannot be read.
    """
    file = checkpoint / "config_sentence_transformers.json"
    if not file.is_file():
        return ""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        name = content.get("default_prompt_name")
        prefix = "" if name is None else content["prompts"][name]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"Expected the prompts of sentence-transformers in {file}, but it cannot be read as "
            "such. Repair it, remove it, or give prefix."
        ) from error
    if not isinstance(prefix, str):
        raise CheckpointError(
            f"Expected a prompt in {file} to be text, but found a {type(prefix).__name__}. "
            "Repair it, remove it, or give prefix."
        )
    return prefix


class TextEncoder:
    """A frozen encoder: texts to vectors."""

    def __init__(
        self, checkpoint: Path, settings: ReadingOptions, pooling: Pooling, prefix: str = ""
    ) -> None:
        self.checkpoint = checkpoint
        self.settings = settings
        self.pooling = pooling
        self.prefix = prefix
        device = resolve_device(settings.device)
        dtype = resolve_dtype(settings.dtype, device)
        self.model = load_encoder(checkpoint, dtype=dtype, device=device)
        check_max_tokens(self.model.config, settings.max_tokens)
        self.reader = Reader(
            TextTokenizer(checkpoint),
            max_tokens=settings.max_tokens,
            keep=settings.long_text,
            prefix=prefix,
        )

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], Encoded]:
        """Return vectors ``(texts, width)`` and what was read."""
        encoded = self.reader.read(texts)
        vectors = np.zeros((len(texts), self.model.config.hidden_size), np.float32)
        for rows in length_batches(encoded.lengths, batch_tokens=self.settings.batch_tokens):
            batch = self.reader.pad([encoded.tokens[row] for row in rows], self.model.device)
            # Before pooling: a sum over many tokens in bfloat16 would lose the last of them.
            states = self.model(**batch).last_hidden_state.float()
            vectors[rows] = self._pool(states, batch["attention_mask"]).cpu().numpy()
        return vectors, encoded

    def _pool(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0]
        weights = mask[:, :, None].to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)  # an empty text: 0
