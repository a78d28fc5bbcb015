"""Train all weights of an encoder with our own loop."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic.dataclasses import dataclass

from pollice.data.dataset import Dataset
from pollice.memory.footprint import Footprint, Lengths, PlannedMethod, halved
from pollice.memory.planned_model import plan_model
from pollice.memory.training import (
    EncoderPart,
    MicroBatch,
    Optimizer,
    encoder_training_parts,
)
from pollice.method import OPTIONS
from pollice.models.encoder.classifiers import SequenceClassifier
from pollice.models.encoder.reader import Reader, check_max_tokens
from pollice.models.pretrained.devices import resolve_device
from pollice.models.pretrained.sources import resolve_checkpoint
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import dropout_options, load_classifier, read_config
from pollice.models.training.job import Job, classifier_identity
from pollice.models.training.loop import train_classifier
from pollice.models.training.optimizers import prepare_optimizer
from pollice.models.training.options import TrainingOptions
from pollice.models.training.peers import connect
from pollice.models.training.rows import read_rows


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Finetune(TrainingOptions, PlannedMethod):
    """All weights of an encoder, trained with AdamW; the best epoch on validation is kept."""

    predictor_type = SequenceClassifier
    joint = True
    takes_soft_labels = True

    def check(self, train: Dataset) -> None:
        """Refuse a checkpoint, an optimizer or a length that cannot be had."""
        prepare_optimizer(self, self.device)
        check_max_tokens(read_config(resolve_checkpoint(self.checkpoint)), self.max_tokens)

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> SequenceClassifier:
        """Train on the training rows; ``workdir`` gets training.jsonl and resume points."""
        prepare_optimizer(self, self.device)
        checkpoint = resolve_checkpoint(self.checkpoint)
        device = resolve_device(self.device)
        connect(device)  # before anything is put on a GPU: each process has its own
        tokenizer = TextTokenizer(checkpoint)
        reader = Reader(tokenizer, max_tokens=self.max_tokens, keep=self.long_text)
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
            check_max_tokens(model.config, self.max_tokens)
            rows = read_rows(reader, train, workdir, "tokenizing training")
            held_out = read_rows(reader, validation, workdir, "tokenizing validation")
            job = Job(
                options=self,
                reader=reader,
                train=rows,
                validation=held_out,
                identity=classifier_identity(self, train.label_names, rows, held_out),
                workdir=workdir,
            )
            facts = train_classifier(model, job)
        return SequenceClassifier(model, tokenizer, train.label_names, self.reading(), facts)

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what the largest pass through the model takes, forward and backward."""
        model = plan_model(self.checkpoint, self.device, self.dtype)
        text = lengths.cut(self.max_tokens)
        rows = min(self.batch_size, lengths.rows, max(1, self.micro_batch_tokens // text))
        parts = encoder_training_parts(
            model,
            MicroBatch(rows=rows, text=text),
            EncoderPart(
                adapter_rank=self.lora_rank,
                frozen_layers=self.frozen_layers,
                frozen_embeddings=self.freeze_embeddings,
            ),
            Optimizer(bits=self.optimizer_bits, paged=self.paged_optimizer),
            attention_dropout=self.attention_dropout > 0,
        )
        return model.footprint(parts, lengths)

    def halve_batch(self, lengths: Lengths) -> Mapping[str, int]:
        """Return half of micro_batch_tokens, as long as it holds a text."""
        return halved("micro_batch_tokens", self.micro_batch_tokens, lengths.cut(self.max_tokens))
