"""Train all weights of an encoder with transformers' Trainer.

Knows nothing about steps and resume points.
"""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic.dataclasses import dataclass

from pollice.catalogue.hub import reserve_repository, upload_folder
from pollice.data.dataset import Dataset
from pollice.memory.footprint import Footprint, Lengths, PlannedMethod
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
from pollice.models.hugging_face.options import TrainerOptions, check_trackers
from pollice.models.hugging_face.trainer import train_classifier
from pollice.models.pretrained.checkpoint_files import weight_hashes
from pollice.models.pretrained.sources import resolve_checkpoint
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import dropout_options, load_classifier, read_config
from pollice.models.training.job import Job, classifier_identity
from pollice.models.training.optimizers import prepare_optimizer
from pollice.models.training.peers import is_first
from pollice.models.training.rows import read_rows


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class HuggingFaceTrainer(TrainerOptions, PlannedMethod):
    """All weights of an encoder, trained with transformers' Trainer as the report did."""

    predictor_type = SequenceClassifier
    joint = True

    def check(self, train: Dataset) -> None:
        """Refuse a tracker, an optimizer, a checkpoint or a length that cannot be had."""
        check_trackers(self)
        prepare_optimizer(self, self.device)
        check_max_tokens(read_config(resolve_checkpoint(self.checkpoint)), self.max_tokens)

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> SequenceClassifier:
        """Train on the training rows; ``workdir`` gets training.jsonl and resume points."""
        check_trackers(self)
        prepare_optimizer(self, self.device)
        if self.push_to_hub is not None and is_first():
            reserve_repository(self.push_to_hub)
        checkpoint = resolve_checkpoint(self.checkpoint)
        tokenizer = TextTokenizer(checkpoint)
        reader = Reader(tokenizer, max_tokens=self.max_tokens, keep=self.long_text)
        rows = read_rows(reader, train, workdir, "tokenizing training")
        held_out = read_rows(reader, validation, workdir, "tokenizing validation")
        model = self._model(checkpoint, train.label_names)
        identity = classifier_identity(self, train.label_names, rows, held_out)
        job = Job(
            options=self,
            reader=reader,
            train=rows,
            validation=held_out,
            identity=identity.with_facts(**{"first weights": _weights_hashes(checkpoint)}),
            workdir=workdir,
        )
        facts = train_classifier(model, job)
        fitted = SequenceClassifier(model, tokenizer, train.label_names, self.reading(), facts)
        if self.push_to_hub is not None and is_first():
            with TemporaryDirectory(dir=workdir) as folder:
                fitted.save(Path(folder))
                upload_folder(Path(folder) / "checkpoint", self.push_to_hub)
        return fitted

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what a part of a step takes, forward and backward."""
        model = plan_model(self.checkpoint, self.device, self.dtype)
        rows = -(-min(self.batch_size, lengths.rows) // self.gradient_accumulation_steps)
        parts = encoder_training_parts(
            model,
            MicroBatch(rows=rows, text=lengths.cut(self.max_tokens)),
            EncoderPart(),
            Optimizer(bits=self.optimizer_bits, paged=self.paged_optimizer),
            # None leaves the checkpoint's own dropout, which is rarely 0.
            attention_dropout=self.attention_dropout != 0,
        )
        return model.footprint(parts, lengths)

    def halve_batch(self, lengths: Lengths) -> Mapping[str, int]:
        """Return twice as many parts of a step, as long as each has a row."""
        steps = self.gradient_accumulation_steps
        if steps >= self.batch_size:
            return {}
        return {"gradient_accumulation_steps": min(self.batch_size, 2 * steps)}

    def _model(self, checkpoint: Path, label_names: tuple[str, ...]) -> Any:
        dropout = self.attention_dropout
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            model = load_classifier(
                checkpoint,
                label_names,
                new_head=True,
                dtype=torch.float32,
                **({} if dropout is None else dropout_options(checkpoint, dropout)),
            )
        check_max_tokens(model.config, self.max_tokens)
        return model


def _weights_hashes(checkpoint: Path) -> list[str]:
    return [digest[:16] for digest in weight_hashes(checkpoint).values()]
