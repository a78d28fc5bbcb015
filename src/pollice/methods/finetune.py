"""Train all weights of an encoder with our own loop."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic.dataclasses import dataclass

from pollice.data import Dataset
from pollice.method import OPTIONS, Method
from pollice.models.encoder import Reader, SequenceClassifier, check_max_tokens
from pollice.models.loading import (
    TextTokenizer,
    dropout_options,
    load_classifier,
    resolve_device,
    resolve_dtype,
)
from pollice.models.sources import resolve_checkpoint
from pollice.models.training import Rows, Trainer, TrainingOptions


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Finetune(TrainingOptions, Method):
    """All weights of an encoder, trained with AdamW; the best epoch on validation is kept."""

    predictor_type = SequenceClassifier

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> SequenceClassifier:
        """Train on the training rows; ``workdir`` gets training.jsonl."""
        checkpoint = resolve_checkpoint(self.checkpoint)
        device = resolve_device(self.device)
        tokenizer = TextTokenizer(checkpoint)
        reader = Reader(tokenizer, max_tokens=self.max_tokens, keep=self.keep)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            model: Any = load_classifier(
                checkpoint,
                train.label_names,
                new_head=True,
                dtype=torch.float32,
                **dropout_options(checkpoint, self.attention_dropout),
            )
            model.to(device)
            check_max_tokens(model, self.max_tokens)
            trainer = Trainer(model, reader, self, resolve_dtype(self.dtype, device))
            trainer.train(
                _rows(reader, train), _rows(reader, validation), workdir / "training.jsonl"
            )
        return SequenceClassifier(model, tokenizer, train.label_names, self.reading())


def _rows(reader: Reader, dataset: Dataset) -> Rows:
    codes = [dataset.label_names.index(label) for label in dataset.labels]
    return Rows(tokens=reader.read(dataset.texts).tokens, codes=np.array(codes, np.int64))
