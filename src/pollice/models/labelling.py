"""LabelScorer: a causal language model and a prompt, as a predictor with calibration.

Knows nothing about how examples and calibrating rows are chosen.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from pollice.errors import PromptError
from pollice.models.batching import cut
from pollice.models.calibration import Calibration, LabelScores
from pollice.models.causal import CausalScorer
from pollice.models.loading import (
    TextTokenizer,
    link_checkpoint,
    load_causal,
    read_config,
    resolve_device,
    resolve_dtype,
)
from pollice.models.options import ReadingOptions
from pollice.prediction import Predictor, Scores
from pollice.prompts import Ending, Pieces


class LabelScorer(Predictor):
    """Scores label words after a prompt with a causal language model, and calibrates them."""

    def __init__(
        self,
        checkpoint: Path,
        label_names: tuple[str, ...],
        pieces: Pieces,
        settings: ReadingOptions,
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

    @property
    def facts(self) -> Mapping[str, Any]:
        """The step of the ladder that decides, what each rests on, and how long the prompt is."""
        return {
            **self.calibration.facts,
            "questions": len(self._pieces.endings),
            "prefix_tokens": len(self._pieces.prefix),
            "prompt_sha256": self.prompt_sha256,
        }

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
        return self.calibration.judge(scores, lengths, self._settings.max_tokens)

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
            "sha256": self.prompt_sha256,
        }
        (folder / "prompt.json").write_text(json.dumps(prompt, indent=2), encoding="utf-8")
        self.calibration.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        prompt: dict[str, Any] = json.loads((folder / "prompt.json").read_text(encoding="utf-8"))
        return cls(
            folder / "checkpoint",
            tuple(prompt["label_names"]),
            _pieces(prompt["pieces"]),
            ReadingOptions(**prompt["settings"]),
            Calibration.load(folder),
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


def _check_room(checkpoint: Path, pieces: Pieces, settings: ReadingOptions) -> None:
    context = getattr(read_config(checkpoint), "max_position_embeddings", None)
    around = len(pieces.prefix) + sum(len(ending.tokens) for ending in pieces.endings)
    if context is not None and around + settings.max_tokens > context:
        raise PromptError(
            f"The checkpoint reads {context} tokens, but instructions, examples and question take "
            f"{around} and a text up to {settings.max_tokens}. Lower shots, example_tokens or "
            "max_tokens."
        )
