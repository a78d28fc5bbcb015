"""Texts -> vectors, and the sequence classifier: encoders read in batches of like length.

Knows nothing about training.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from pollice.errors import CheckpointError
from pollice.models.batching import aligned, cut, length_batches, padded
from pollice.models.linear_head import LinearHead
from pollice.models.pretrained.weights import (
    TextTokenizer,
    link_checkpoint,
    load_classifier,
    load_encoder,
    on_device,
    quiet,
    resolve_device,
    resolve_dtype,
)
from pollice.models.training.options import (
    ClassifierOptions,
    LongText,
    ModelOptions,
    ReadingOptions,
)
from pollice.predictions.table import Predictor, Scores

Pooling = Literal["mean", "cls"]
TokenRow = Sequence[int] | NDArray[np.int32]

NOTHING: Mapping[str, Any] = MappingProxyType({})
_COUNTED_FROM_PADDING = ("camembert", "roberta", "xlm-roberta")  # positions start after pad's id


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Texts as an encoder reads them: each in one piece, or a long one in several."""

    tokens: list[list[int]]
    """For each piece its ids, with the control tokens around them."""
    owners: NDArray[np.int64]
    """``(pieces,)``: the text that each piece is of, in order."""
    truncated: NDArray[np.bool_]
    """``(texts,)``."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """``(pieces,)``, control tokens counted."""
        return np.array([len(tokens) for tokens in self.tokens], np.int64)

    def average(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the means over each text's pieces: ``(texts, columns)``."""
        totals = np.zeros((len(self.truncated), table.shape[1]))
        np.add.at(totals, self.owners, table)
        pieces: NDArray[np.int64] = np.bincount(self.owners, minlength=len(totals))
        return totals / pieces[:, None]

    def tokens_read(self) -> NDArray[np.int64]:
        """Return the tokens of all pieces of each text, ``(texts,)``."""
        totals = np.zeros(len(self.truncated), np.int64)
        np.add.at(totals, self.owners, self.lengths)
        return totals


class Reader:
    """Turns texts into token ids with the encoder's own control tokens around them."""

    def __init__(self, tokenizer: TextTokenizer, *, max_tokens: int, keep: LongText) -> None:
        self._tokenizer = tokenizer
        self._keep = keep
        self._lead, self._trail = _surroundings(tokenizer)
        self._max_tokens = max_tokens
        self._room = max_tokens - len(self._lead) - len(self._trail)
        if self._room < 1:
            raise CheckpointError(
                f"max_tokens is {max_tokens}, but this checkpoint's control tokens alone take "
                f"{max_tokens - self._room}. Raise max_tokens."
            )

    def read(self, texts: Sequence[str]) -> Encoded:
        """Encode texts, and cut the long ones or divide them."""
        encoded = self._tokenizer.encode_texts(texts)
        divided = [self._pieces(tokens) for tokens in encoded]
        whole = self._keep == "chunks"
        return Encoded(
            tokens=[[*self._lead, *piece, *self._trail] for pieces in divided for piece in pieces],
            owners=np.repeat(np.arange(len(divided)), [len(pieces) for pieces in divided]),
            truncated=np.array(
                [not whole and len(tokens) > self._room for tokens in encoded], np.bool_
            ),
        )

    def _pieces(self, tokens: Sequence[int]) -> list[list[int]]:
        """Return one piece that was cut, or as few as hold all, of like length."""
        if self._keep != "chunks":
            return [cut(tokens, self._room, self._keep)]
        pieces = max(1, -(-len(tokens) // self._room))
        bounds = [len(tokens) * piece // pieces for piece in range(pieces + 1)]
        return [list(tokens[start:end]) for start, end in pairwise(bounds)]

    def pad(
        self, tokens: Sequence[TokenRow], device: torch.device, *, align: bool = True
    ) -> dict[str, Tensor]:
        """Return ``input_ids`` and ``attention_mask``, padded on the right.

        Aligned, a row's rounding is the same in any batch; training does without.
        """
        longest = max(len(row) for row in tokens)
        if align:
            longest = max(longest, min(aligned(longest), self._max_tokens))
        rows = cast(Sequence[Sequence[int]], tokens)
        ones = [[1] * len(row) for row in rows]
        return {
            "input_ids": on_device(padded(rows, longest, self._tokenizer.pad), device),
            "attention_mask": on_device(padded(ones, longest, 0), device),
        }


def _surroundings(tokenizer: TextTokenizer) -> tuple[list[int], list[int]]:
    """Return the control tokens that the checkpoint puts before and after a text."""
    content = tokenizer.encode_texts(["a"])[0]
    whole = list(tokenizer.tokenizer("a")["input_ids"])
    for start in range(len(whole) - len(content) + 1):
        if whole[start : start + len(content)] == content:
            return whole[:start], whole[start + len(content) :]
    raise CheckpointError(
        "This checkpoint's tokenizer changes a text when it adds its control tokens, so texts "
        "cannot be encoded apart from them. Use another checkpoint."
    )


def position_limit(model: PreTrainedModel) -> int | None:
    """Return how many tokens an encoder has positions for; None: as many as there are."""
    config: Any = model.config
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is not None and getattr(config, "model_type", "") in _COUNTED_FROM_PADDING:
        positions -= config.pad_token_id + 1
    return positions


def check_max_tokens(model: PreTrainedModel, max_tokens: int) -> None:
    """Refuse more tokens than the encoder has positions for."""
    positions = position_limit(model)
    if positions is not None and max_tokens > positions:
        raise CheckpointError(
            f"max_tokens is {max_tokens}, but this checkpoint reads at most {positions} tokens. "
            "Lower max_tokens."
        )


class TextEncoder:
    """A frozen encoder: texts to vectors."""

    def __init__(self, checkpoint: Path, settings: ReadingOptions, pooling: Pooling) -> None:
        self.checkpoint = checkpoint
        self.settings = settings
        self.pooling = pooling
        device = resolve_device(settings.device)
        dtype = resolve_dtype(settings.dtype, device)
        self.model = load_encoder(checkpoint, dtype=dtype, device=device)
        check_max_tokens(self.model, settings.max_tokens)
        self._reader = Reader(
            TextTokenizer(checkpoint), max_tokens=settings.max_tokens, keep=settings.keep
        )

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], Encoded]:
        """Return vectors ``(texts, width)`` and what was read."""
        encoded = self._reader.read(texts)
        vectors = np.zeros((len(texts), self.model.config.hidden_size), np.float32)
        for rows in length_batches(encoded.lengths, batch_tokens=self.settings.batch_tokens):
            batch = self._reader.pad([encoded.tokens[row] for row in rows], self.model.device)
            states = self.model(**batch).last_hidden_state.float()
            vectors[rows] = self._pool(states, batch["attention_mask"]).cpu().numpy()
        return vectors, encoded

    def _pool(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0]
        weights = mask[:, :, None].to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)  # an empty text: 0


class VectorClassifier(Predictor):
    """A frozen encoder and a linear head."""

    def __init__(
        self, encoder: TextEncoder, head: LinearHead, label_names: tuple[str, ...]
    ) -> None:
        self.label_names = label_names
        self._encoder = encoder
        self._head = head

    @property
    def parameters(self) -> int:
        """The weights of encoder and head."""
        return self._encoder.model.num_parameters() + self._head.weight.size + self._head.bias.size

    def score(self, texts: Sequence[str]) -> Scores:
        """Encode and classify texts."""
        vectors, encoded = self._encoder.encode(texts)
        return Scores(
            probabilities=self._head.predict_proba(vectors),
            tokens=encoded.lengths,
            truncated=encoded.truncated,
        )

    def save(self, folder: Path) -> None:
        """Write the encoder (linked where the file system can) and the head's arrays."""
        checkpoint = folder / "checkpoint"
        checkpoint.mkdir()
        link_checkpoint(self._encoder.checkpoint, checkpoint)
        save_file(self._head.arrays(), folder / "head.safetensors")
        _write_settings(
            folder, self.label_names, self._encoder.settings, pooling=self._encoder.pooling
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        content = _read_settings(folder)
        settings = ReadingOptions(**content["settings"])
        encoder = TextEncoder(folder / "checkpoint", settings, content["pooling"])
        head = LinearHead.from_arrays(load_file(folder / "head.safetensors"))
        return cls(encoder, head, tuple(content["label_names"]))


class SequenceClassifier(Predictor):
    """An encoder with a trained classification head."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: TextTokenizer,
        label_names: tuple[str, ...],
        settings: ClassifierOptions,
        facts: Mapping[str, Any] = NOTHING,
    ) -> None:
        self.label_names = label_names
        self._facts = dict(facts)
        self._tokenizer = tokenizer
        self._settings = settings
        device = resolve_device(settings.device)
        self._model = cast(Any, model)  # its stubs know neither to(device, dtype) nor its calls
        self._model.to(device, resolve_dtype(settings.dtype, device)).eval()
        self._reader = Reader(tokenizer, max_tokens=settings.max_tokens, keep=settings.long_text)

    @property
    def parameters(self) -> int:
        """The weights of encoder and head."""
        return int(self._model.num_parameters())

    @property
    def facts(self) -> Mapping[str, Any]:
        """How it was trained."""
        return self._facts

    @torch.inference_mode()
    def score(self, texts: Sequence[str]) -> Scores:
        """Classify texts."""
        encoded = self._reader.read(texts)
        probabilities = np.zeros((len(encoded.tokens), len(self.label_names)))
        for rows in length_batches(encoded.lengths, batch_tokens=self._settings.batch_tokens):
            batch = self._reader.pad([encoded.tokens[row] for row in rows], self._model.device)
            logits = self._model(**batch).logits.double()
            probabilities[rows] = logits.softmax(dim=-1).cpu().numpy()
        return Scores(
            probabilities=encoded.average(probabilities),
            tokens=encoded.tokens_read(),
            truncated=encoded.truncated,
        )

    def save(self, folder: Path) -> None:
        """Write a checkpoint that transformers opens too, and how texts are read."""
        with quiet():
            self._model.save_pretrained(folder / "checkpoint")
            self._tokenizer.save(folder / "checkpoint")
        _write_settings(folder, self.label_names, self._settings, facts=self._facts)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        content = _read_settings(folder)
        settings = ClassifierOptions(**content["settings"])
        dtype = resolve_dtype(settings.dtype, resolve_device(settings.device))
        model = load_classifier(folder / "checkpoint", new_head=False, dtype=dtype)
        tokenizer = TextTokenizer(folder / "checkpoint")
        return cls(model, tokenizer, tuple(content["label_names"]), settings, content["facts"])


def _write_settings(
    folder: Path, label_names: tuple[str, ...], settings: ModelOptions, **more: Any
) -> None:
    content = {"label_names": label_names, "settings": asdict(settings), **more}
    (folder / "classifier.json").write_text(json.dumps(content, indent=2), encoding="utf-8")


def _read_settings(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
    return content
