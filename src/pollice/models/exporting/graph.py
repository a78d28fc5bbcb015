"""An encoder predictor as one graph: token ids in, vectors or logits out.

Knows nothing about the files and runtimes of an export.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor

from pollice.errors import ExportError
from pollice.models.encoder.classifiers import SequenceClassifier, VectorClassifier
from pollice.models.encoder.reader import Reader
from pollice.models.exported.classifier import ExportedSettings
from pollice.models.linear_head import LinearHead
from pollice.models.pretrained.devices import quiet
from pollice.models.pretrained.weights import load_classifier, load_encoder
from pollice.predictions.predictor import Predictor

CPU = torch.device("cpu")


class VectorGraph(torch.nn.Module):
    """An encoder and its pooling."""

    def __init__(self, model: Any, pooling: str) -> None:
        super().__init__()
        self.model = model
        self.pooling = pooling

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return vectors ``(rows, width)``."""
        states: Tensor = self.model(
            input_ids=input_ids, attention_mask=attention_mask
        ).last_hidden_state
        if self.pooling == "cls":
            return states[:, 0]
        weights = attention_mask[:, :, None].to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class LogitGraph(torch.nn.Module):
    """An encoder with a classification head."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits ``(rows, labels)``."""
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A predictor taken apart: its graph in float32, its reader, and its head if it has one."""

    graph: torch.nn.Module
    reader: Reader
    label_names: tuple[str, ...]
    batch_tokens: int
    parameters: int
    facts: Mapping[str, Any]
    head: LinearHead | None = None

    def settings(self, form: str) -> ExportedSettings:
        """Return how the exported predictor reads texts."""
        tokenizer = self.reader.tokenizer
        return ExportedSettings(
            form=form,
            label_names=self.label_names,
            frame=self.reader.frame,
            pad=tokenizer.pad,
            control=tuple(sorted(tokenizer.control_tokens)),
            batch_tokens=self.batch_tokens,
            parameters=self.parameters,
            facts=self.facts,
        )

    @torch.inference_mode()
    def judge_batch(self, tokens: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """Judge pieces in one batch, in float32: ``(pieces, labels)``."""
        found = self.graph(**self.reader.pad(tokens, CPU)).double().numpy()
        if self.head is not None:
            return self.head.predict_proba(found)
        probabilities: NDArray[np.float64] = softmax(found, axis=1)
        return probabilities


def open_exportable(folder: Path, predictor: Predictor) -> Exportable:
    """Return a saved predictor as a graph: a copy of its own, in float32, on the CPU.

    Args:
        folder: Where the predictor was saved.
        predictor: The same, loaded.

    Raises:
        ExportError: it is no encoder.
    """
    if not isinstance(predictor, SequenceClassifier | VectorClassifier):
        raise ExportError(
            "Expected an encoder with a head, as features, finetune and trainer save it, but found "
            f"a {type(predictor).__name__}. Export it with --format same."
        )
    # Eager attention: plain products and a softmax, which every exporter and quantizer knows.
    checkpoint = folder / "checkpoint"
    with quiet():
        if isinstance(predictor, VectorClassifier):
            encoder = predictor.encoder
            model = load_encoder(checkpoint, dtype=torch.float32, device=CPU)
            model.set_attn_implementation("eager")
            return Exportable(
                graph=VectorGraph(model, encoder.pooling).eval(),
                reader=encoder.reader,
                label_names=predictor.label_names,
                batch_tokens=encoder.settings.batch_tokens,
                parameters=predictor.parameters,
                facts=predictor.facts,
                head=predictor.head,
            )
        model = load_classifier(checkpoint, new_head=False, dtype=torch.float32)
        model.set_attn_implementation("eager")
    return Exportable(
        graph=LogitGraph(model).eval(),
        reader=predictor.reader,
        label_names=predictor.label_names,
        batch_tokens=predictor.settings.batch_tokens,
        parameters=predictor.parameters,
        facts=predictor.facts,
    )
