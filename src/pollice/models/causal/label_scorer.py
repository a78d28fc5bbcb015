"""LabelScorer: a causal language model that is asked for the label as it comes, and calibration.

Knows nothing about how examples and calibrating rows are chosen, nor about training.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from transformers import PreTrainedModel

from pollice.models.calibration import Calibration, LabelScores
from pollice.models.causal.label_prompt import LabelPrompt, ready_tokenizer
from pollice.models.causal.prompts import spell
from pollice.models.causal.scoring import CausalScorer
from pollice.models.pretrained.checkpoint_files import copy_checkpoint
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import load_language_model
from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.saved_files import read_saved_json

_WEIGHTS = "weights.json"
_LABELS_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class AskedModel:
    """A language model as it was loaded, and the prompt that it is asked."""

    checkpoint: Path
    prompt: LabelPrompt
    tokenizer: TextTokenizer
    model: PreTrainedModel
    scorer: CausalScorer
    """Of this model and prompt."""
    four_bit: bool = False

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        prompt: LabelPrompt,
        *,
        four_bit: bool = False,
        tokenizer: TextTokenizer | None = None,
    ) -> Self:
        """Load the weights, and run the prompt's prefix.

        Args:
            checkpoint: A folder of a causal language model.
            prompt: What it is asked, as tokens.
            four_bit: Whether the weights are held in NF4.
            tokenizer: The checkpoint's, if it is loaded already.

        Raises:
            CheckpointError: the checkpoint is no causal language model, or of another kind.
            PromptError: the prompt leaves no room for a text.
        """
        tokenizer = tokenizer or ready_tokenizer(checkpoint)
        prompt.check_room(checkpoint)
        settings = prompt.settings
        model = load_language_model(checkpoint, settings, four_bit=four_bit)
        return cls(
            checkpoint=checkpoint,
            prompt=prompt,
            tokenizer=tokenizer,
            model=model,
            scorer=CausalScorer(model, prompt.pieces, batch_tokens=settings.batch_tokens),
            four_bit=four_bit,
        )

    def asking(self, prompt: LabelPrompt) -> Self:
        """Return the same loaded model with another prompt, whose prefix is run.

        Raises:
            PromptError: the prompt leaves no room for a text.
        """
        prompt.check_room(self.checkpoint)
        tokens = prompt.settings.batch_tokens
        scorer = CausalScorer(self.model, prompt.pieces, batch_tokens=tokens)
        return replace(self, prompt=prompt, scorer=scorer)

    def ask(self, texts: Sequence[str]) -> tuple[LabelScores, list[int]]:
        """Return what the model says, and the tokens of each text before it was cut."""
        kept, lengths = self.prompt.read(self.tokenizer, texts)
        return self.scorer.score(kept), lengths


class LabelScorer(Predictor):
    """Scores label words after a prompt with a causal language model, and calibrates them.

    Use it for a model as it was published; `TunedScorer` is for one with a trained adapter.
    """

    def __init__(self, model: AskedModel, calibration: Calibration | None = None) -> None:
        self.label_names = model.prompt.label_names
        self.calibration = calibration or Calibration()
        self._model = model

    @property
    def prompt_sha256(self) -> str:
        """The hash of all that is asked but the text: equal hashes ask the same."""
        return self._model.prompt.sha256

    @property
    def tokenizer(self) -> TextTokenizer:
        """What turns texts into the model's tokens."""
        return self._model.tokenizer

    @property
    def parameters(self) -> int:
        """The number of weights of the language model."""
        return self._model.model.num_parameters()

    @property
    def facts(self) -> Mapping[str, Any]:
        """The step of the ladder that decides, what each rests on, and how long the prompt is."""
        prompt = self._model.prompt
        asked = spell(prompt.pieces, self._model.tokenizer.spell, _LABELS_SHOWN)
        return {**self.calibration.facts, **prompt.facts, "asked": list(asked)}

    def label_scores(self, texts: Sequence[str]) -> LabelScores:
        """Return the scores before calibration, which a calibration is learned from."""
        return self._model.ask(texts)[0]

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts; the ladder's other steps are variants."""
        scores, lengths = self._model.ask(texts)
        return self.calibration.judge(scores, lengths, self._model.prompt.settings.max_tokens)

    def asking(self, prompt: LabelPrompt) -> Self:
        """Return a predictor that asks another prompt, uncalibrated; the loaded model is shared."""
        return type(self)(self._model.asking(prompt))

    def calibrated(self, calibration: Calibration) -> Self:
        """Return a predictor with another calibration; the loaded model is shared."""
        return type(self)(self._model, calibration)

    def save(self, folder: Path) -> None:
        """Write a copy of the checkpoint, the prompt and the calibration."""
        checkpoint = folder / "checkpoint"
        checkpoint.mkdir()
        copy_checkpoint(self._model.checkpoint, checkpoint)
        self._model.prompt.save(folder)
        self.calibration.save(folder)
        weights = json.dumps({"four_bit": self._model.four_bit}, indent=2)
        (folder / _WEIGHTS).write_text(weights, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        four_bit = bool(read_saved_json(folder / _WEIGHTS, "four_bit")["four_bit"])
        prompt, calibration = LabelPrompt.load(folder), Calibration.load(folder)
        calibration.check_shape(
            folder,
            questions=len(prompt.pieces.endings),
            asked=prompt.answers,
            labels=len(prompt.label_names),
        )
        model = AskedModel.load(folder / "checkpoint", prompt, four_bit=four_bit)
        return cls(model, calibration)
