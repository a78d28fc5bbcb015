"""What a causal language model is asked, and LabelScorer: such a model and calibration.

Knows nothing about how examples and calibrating rows are chosen, nor about training.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pollice.models.calibration import Calibration, LabelScores
from pollice.models.causal.label_prompt import LabelPrompt
from pollice.models.causal.prompts import Pieces, spell
from pollice.models.causal.scoring import CausalScorer
from pollice.models.pretrained.options import ReadingOptions
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import link_checkpoint, load_language_model
from pollice.predictions.predictor import Predictor, Scores

_WEIGHTS = "weights.json"
_LABELS_SHOWN = 12


class LabelScorer(Predictor):
    """Scores label words after a prompt with a causal language model, and calibrates them."""

    def __init__(
        self,
        checkpoint: Path,
        label_names: tuple[str, ...],
        pieces: Pieces,
        settings: ReadingOptions,
        calibration: Calibration | None = None,
        *,
        four_bit: bool = False,
        tokenizer: TextTokenizer | None = None,
    ) -> None:
        self.label_names = label_names
        self.calibration = calibration or Calibration()
        self._checkpoint = checkpoint
        self._prompt = LabelPrompt(label_names=label_names, pieces=pieces, settings=settings)
        self._tokenizer = tokenizer or TextTokenizer(checkpoint)
        self._prompt.check_room(checkpoint)
        self._four_bit = four_bit
        self._model = load_language_model(checkpoint, settings, four_bit=four_bit)
        self._scorer = CausalScorer(self._model, pieces, batch_tokens=settings.batch_tokens)

    @property
    def prompt_sha256(self) -> str:
        """The hash of all that is asked but the text: equal hashes ask the same."""
        return self._prompt.sha256

    @property
    def parameters(self) -> int:
        """The number of weights of the language model."""
        return self._model.num_parameters()

    @property
    def facts(self) -> Mapping[str, Any]:
        """The step of the ladder that decides, what each rests on, and how long the prompt is."""
        asked = spell(self._prompt.pieces, self._tokenizer.spell, _LABELS_SHOWN)
        return {**self.calibration.facts, **self._prompt.facts, "asked": list(asked)}

    def label_scores(self, texts: Sequence[str]) -> LabelScores:
        """Return the scores before calibration."""
        return self._read(texts)[0]

    def _read(self, texts: Sequence[str]) -> tuple[LabelScores, list[int]]:
        kept, lengths = self._prompt.read(self._tokenizer, texts)
        return self._scorer.score(kept), lengths

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts; the ladder's other steps are variants."""
        scores, lengths = self._read(texts)
        return self.calibration.judge(scores, lengths, self._prompt.settings.max_tokens)

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
        self._prompt.save(folder)
        self.calibration.save(folder)
        weights = json.dumps({"four_bit": self._four_bit}, indent=2)
        (folder / _WEIGHTS).write_text(weights, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        prompt = LabelPrompt.load(folder)
        return cls(
            folder / "checkpoint",
            prompt.label_names,
            prompt.pieces,
            prompt.settings,
            Calibration.load(folder),
            **json.loads((folder / _WEIGHTS).read_text(encoding="utf-8")),
        )
