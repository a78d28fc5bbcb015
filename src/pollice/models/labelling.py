"""LabelScorer: a causal language model and a prompt, as a predictor with calibration.

Knows nothing about how examples and calibrating rows are chosen.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.special import softmax

from pollice.errors import PromptError
from pollice.models.batching import Keep, cut
from pollice.models.causal import CausalScorer, LabelScores
from pollice.models.heads import LinearHead, fit_head
from pollice.models.loading import (
    Device,
    Dtype,
    TextTokenizer,
    link_checkpoint,
    load_causal,
    read_config,
    resolve_device,
    resolve_dtype,
)
from pollice.prediction import Predictor, Scores
from pollice.prompts import Ending, Pieces

Step = Literal["raw", "batch", "platt", "probe"]
"""A step of the calibration ladder."""

FloatArray = NDArray[np.float64]

PLATT_LABELS = 16
PROBE_LABELS = 64


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What turns label scores into probabilities, learned before any test row is seen."""

    step: Step = "raw"
    """The step that makes the predictor's own probabilities; the others are variants."""
    shift: FloatArray | None = None
    """``(questions, labels)``: batch calibration (arXiv 2309.17249), from unlabelled texts."""
    heads: Mapping[str, LinearHead] = field(default_factory=dict)
    """The steps learned from labels: ``platt`` on label scores, ``probe`` on hidden states."""

    def probabilities(self, scores: LabelScores) -> dict[str, FloatArray]:
        """Return ``(texts, labels)`` for every step that has been learned."""
        log_probabilities = scores.log_probabilities
        steps = {"raw": _averaged(log_probabilities)}
        if self.shift is not None:
            steps["batch"] = _averaged(log_probabilities - self.shift)
        for name, head in self.heads.items():
            steps[name] = head.predict_proba(_FEATURES[name](scores))
        return steps


def _averaged(log_probabilities: FloatArray) -> FloatArray:
    """Average the questions' log-probabilities, and normalize over the labels."""
    probabilities: FloatArray = softmax(log_probabilities.mean(axis=1), axis=-1)
    return probabilities


def _log_odds(scores: LabelScores) -> FloatArray:
    """Return each question's log-odds against the first label, ``(texts, features)``."""
    log_probabilities = scores.log_probabilities
    odds = log_probabilities[:, :, 1:] - log_probabilities[:, :, :1]
    return odds.reshape(len(odds), np.prod(odds.shape[1:]))


def _hidden(scores: LabelScores) -> FloatArray:
    hidden = scores.hidden
    return hidden.reshape(len(hidden), np.prod(hidden.shape[1:])).astype(np.float64)


_FEATURES = {"platt": _log_odds, "probe": _hidden}


def calibrate(
    step: Step | Literal["auto"],
    unlabelled: LabelScores,
    labelled: LabelScores,
    labels: Sequence[str],
    label_names: Sequence[str],
) -> Calibration:
    """Learn every step that the rows allow; ``auto`` takes the last of the ladder.

    Raises:
        PromptError: the step needs more labels, or more texts, than there are.
    """
    needed = {"platt": PLATT_LABELS, "probe": PROBE_LABELS}
    if step in needed and len(labels) < needed[step]:
        raise PromptError(
            f"calibration='{step}' needs {needed[step]} labelled rows or more, but labels is "
            f"{len(labels)}. Raise labels, or use calibration='batch', which needs none."
        )
    if step == "batch" and not len(unlabelled.log_probabilities):
        raise PromptError(
            "calibration='batch' needs training texts besides the shots and labels, but none are "
            "left. Raise calibration_texts, or lower shots and labels."
        )
    heads = {
        name: fit_head(_FEATURES[name](labelled), labels, label_names)
        for name, least in needed.items()
        if len(labels) >= least
    }
    shift = None
    if len(unlabelled.log_probabilities):
        shift = unlabelled.log_probabilities.mean(axis=0)
    learned: list[Step] = ["raw", *(["batch"] if shift is not None else []), *heads]  # type: ignore[list-item]  # the keys of heads are steps
    return Calibration(step=learned[-1] if step == "auto" else step, shift=shift, heads=heads)


@dataclass(frozen=True, kw_only=True)
class ScorerSettings:
    """How texts go through the model."""

    max_tokens: int
    keep: Keep
    batch_tokens: int
    dtype: Dtype
    device: Device


class LabelScorer(Predictor):
    """Scores label words after a prompt with a causal language model, and calibrates them."""

    def __init__(
        self,
        checkpoint: Path,
        label_names: tuple[str, ...],
        pieces: Pieces,
        settings: ScorerSettings,
        calibration: Calibration | None = None,
    ) -> None:
        self.label_names = label_names
        self.calibration = calibration or Calibration()
        self._checkpoint = checkpoint
        self._pieces = pieces
        self._settings = settings
        self._tokenizer = TextTokenizer(checkpoint)
        _check_room(checkpoint, pieces, settings)
        device = resolve_device(settings.device)
        self._model = load_causal(
            checkpoint, dtype=resolve_dtype(settings.dtype, device), device=device
        )
        self._scorer = CausalScorer(self._model, pieces, batch_tokens=settings.batch_tokens)

    @property
    def prompt_sha256(self) -> str:
        """The hash of all that is asked but the text: equal hashes ask the same."""
        content = json.dumps([asdict(self._pieces), self._settings.max_tokens, self._settings.keep])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def parameters(self) -> int:
        """The number of weights of the language model."""
        return self._model.num_parameters()

    def label_scores(self, texts: Sequence[str]) -> LabelScores:
        """Return the scores before calibration."""
        return self._read(texts)[0]

    def _read(self, texts: Sequence[str]) -> tuple[LabelScores, list[int]]:
        encoded = self._tokenizer.encode_texts([text.strip() for text in texts])
        kept = [cut(tokens, self._settings.max_tokens, self._settings.keep) for tokens in encoded]
        return self._scorer.score(kept), [len(tokens) for tokens in encoded]

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts; the ladder's other steps are variants."""
        scores, lengths = self._read(texts)
        steps = self.calibration.probabilities(scores)
        limit = self._settings.max_tokens
        return Scores(
            probabilities=steps[self.calibration.step],
            tokens=np.minimum(np.array(lengths, np.int64), limit),
            truncated=np.array(lengths, np.int64) > limit,
            variants=steps,
        )

    def calibrated(self, calibration: Calibration) -> Self:
        """Take a calibration over; the loaded weights are shared."""
        other = object.__new__(type(self))
        other.__dict__ = {**self.__dict__, "calibration": calibration}
        return other

    def save(self, folder: Path) -> None:
        """Write the checkpoint (linked where possible), the prompt and the calibration."""
        checkpoint = folder / "checkpoint"
        checkpoint.mkdir()
        link_checkpoint(self._checkpoint, checkpoint)
        prompt = {
            "label_names": self.label_names,
            "pieces": asdict(self._pieces),
            "settings": asdict(self._settings),
            "step": self.calibration.step,
            "heads": list(self.calibration.heads),
            "sha256": self.prompt_sha256,
        }
        (folder / "prompt.json").write_text(json.dumps(prompt, indent=2), encoding="utf-8")
        arrays = {
            f"{name}.{part}": array
            for name, head in self.calibration.heads.items()
            for part, array in head.arrays().items()
        }
        if self.calibration.shift is not None:
            arrays["shift"] = self.calibration.shift
        save_file(arrays, folder / "calibration.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        prompt: dict[str, Any] = json.loads((folder / "prompt.json").read_text(encoding="utf-8"))
        arrays = load_file(folder / "calibration.safetensors")
        heads = {
            name: LinearHead.from_arrays(
                {
                    key.removeprefix(f"{name}."): array
                    for key, array in arrays.items()
                    if key.startswith(f"{name}.")
                }
            )
            for name in prompt["heads"]
        }
        return cls(
            folder / "checkpoint",
            tuple(prompt["label_names"]),
            _pieces(prompt["pieces"]),
            ScorerSettings(**prompt["settings"]),
            Calibration(step=prompt["step"], shift=arrays.get("shift"), heads=heads),
        )


def _pieces(content: Mapping[str, Any]) -> Pieces:
    return Pieces(
        prefix=tuple(content["prefix"]),
        endings=tuple(
            Ending(
                tokens=tuple(ending["tokens"]),
                words=tuple(
                    tuple(tuple(word) for word in label_words) for label_words in ending["words"]
                ),
            )
            for ending in content["endings"]
        ),
    )


def _check_room(checkpoint: Path, pieces: Pieces, settings: ScorerSettings) -> None:
    context = getattr(read_config(checkpoint), "max_position_embeddings", None)
    around = len(pieces.prefix) + sum(len(ending.tokens) for ending in pieces.endings)
    if context is not None and around + settings.max_tokens > context:
        raise PromptError(
            f"The checkpoint reads {context} tokens, but instructions, examples and question take "
            f"{around} and a text up to {settings.max_tokens}. Lower shots, example_tokens or "
            "max_tokens."
        )
