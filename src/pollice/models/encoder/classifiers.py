"""Texts -> vectors, and the sequence classifier: encoders read in batches of like length.

Knows nothing about training.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import PreTrainedModel

from pollice.models.batching import length_batches
from pollice.models.encoder.reader import NOTHING, Reader
from pollice.models.encoder.vectors import TextEncoder
from pollice.models.linear_head import LinearHead
from pollice.models.pretrained.checkpoint_files import copy_checkpoint
from pollice.models.pretrained.devices import quiet, resolve_device, resolve_dtype
from pollice.models.pretrained.options import (
    ClassifierOptions,
    ModelOptions,
    ReadingOptions,
)
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import load_classifier
from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.saved_files import (
    damaged,
    read_label_names,
    read_saved_arrays,
    read_saved_json,
)

_SETTINGS = "classifier.json"


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

    @property
    def encoder(self) -> TextEncoder:
        """What makes vectors of texts."""
        return self._encoder

    @property
    def head(self) -> LinearHead:
        """What makes probabilities of vectors."""
        return self._head

    def score(self, texts: Sequence[str]) -> Scores:
        """Encode and classify texts."""
        vectors, encoded = self._encoder.encode(texts)
        return Scores(
            probabilities=self._head.predict_proba(vectors),
            tokens=encoded.lengths,
            truncated=encoded.truncated,
        )

    def save(self, folder: Path) -> None:
        """Write a copy of the encoder, and the head's arrays."""
        checkpoint = folder / "checkpoint"
        checkpoint.mkdir()
        copy_checkpoint(self._encoder.checkpoint, checkpoint)
        save_file(self._head.arrays(), folder / "head.safetensors")
        _write_settings(
            folder,
            self.label_names,
            self._encoder.settings,
            pooling=self._encoder.pooling,
            prefix=self._encoder.prefix,
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        content, label_names = _read_settings(folder, "pooling")
        settings = ReadingOptions(**content["settings"])
        path = folder / "head.safetensors"
        head = LinearHead.from_arrays(read_saved_arrays(path, "mean", "scale", "weight", "bias"))
        encoder = TextEncoder(
            folder / "checkpoint", settings, content["pooling"], content.get("prefix", "")
        )
        head.check_shape(path, encoder.model.config.hidden_size, len(label_names))
        return cls(encoder, head, label_names)


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
    def reader(self) -> Reader:
        """How it reads texts."""
        return self._reader

    @property
    def settings(self) -> ClassifierOptions:
        """How texts go through the model."""
        return self._settings

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
            # Softmax in float64: in bfloat16, probabilities would be rounded to two or three
            # digits.
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
        content, label_names = _read_settings(folder, "facts")
        settings = ClassifierOptions(**content["settings"])
        dtype = resolve_dtype(settings.dtype, resolve_device(settings.device))
        model = load_classifier(folder / "checkpoint", new_head=False, dtype=dtype)
        _check_head_labels(folder, model, label_names)
        tokenizer = TextTokenizer(folder / "checkpoint")
        return cls(model, tokenizer, label_names, settings, content["facts"])


def _write_settings(
    folder: Path, label_names: tuple[str, ...], settings: ModelOptions, **more: Any
) -> None:
    content = {"label_names": label_names, "settings": asdict(settings), **more}
    (folder / _SETTINGS).write_text(json.dumps(content, indent=2), encoding="utf-8")


def _read_settings(folder: Path, *names: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return what `_write_settings` wrote, and its label names."""
    path = folder / _SETTINGS
    content = read_saved_json(path, "settings", *names)
    return content, read_label_names(path, content)


def _check_head_labels(folder: Path, model: PreTrainedModel, label_names: tuple[str, ...]) -> None:
    """Refuse a head whose own names for its columns are others."""
    names: dict[Any, Any] = dict(model.config.id2label or {})
    found = tuple(str(names[column]) for column in sorted(names))
    unnamed = tuple(f"LABEL_{column}" for column in range(len(label_names)))  # transformers' own
    if found not in (label_names, unnamed):
        raise damaged(
            folder / "checkpoint" / "config.json",
            f"the labels {', '.join(label_names)} in the order of {_SETTINGS}",
            f"id2label has {', '.join(found)}",
        )
