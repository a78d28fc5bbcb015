"""TunedScorer: a causal language model with a trained adapter, as a predictor.

Knows nothing about how the adapter was trained.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from transformers import PreTrainedModel

from pollice.errors import RunError
from pollice.models.calibration import Calibration, LabelScores
from pollice.models.causal import adapters
from pollice.models.causal.label_prompt import LabelPrompt, first_tokens
from pollice.models.causal.prompts import Pieces
from pollice.models.causal.scoring import CausalScorer
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import link_checkpoint, load_language_model
from pollice.predictions.predictor import Predictor, Scores

MERGED_TOLERANCE: Mapping[torch.dtype, float] = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""How far a probability may move when an adapter is added to weights, which are then rounded."""

_SETTINGS = "tuned.json"
_READ_AT_ONCE = 4
"""Judging reads so many times ``batch_tokens`` at once: it holds one layer's numbers, where
training with ``batch_tokens`` holds every layer's for the backward pass."""


@dataclass(frozen=True, kw_only=True)
class TunedModel:
    """A model, where its weights lie, and what its adapter was trained on."""

    model: PreTrainedModel
    """The language model, the adapter's layers in it."""
    adapter: PeftModel | None
    """What turns the adapter off and on; None: it was added to the weights."""
    checkpoint: Path
    base_sha256: str
    four_bit: bool = False

    @classmethod
    def of(cls, adapter: PeftModel, checkpoint: Path, *, four_bit: bool) -> Self:
        """Return a model with its adapter, just trained or loaded."""
        adapters.round_to_base(adapter)
        adapter.eval()
        model: Any = adapter.get_base_model()
        return cls(
            model=model,
            adapter=adapter,
            checkpoint=checkpoint,
            base_sha256=adapters.weights_sha256(checkpoint),
            four_bit=four_bit,
        )


@dataclass(frozen=True, kw_only=True)
class Shipping:
    """How a predictor is saved, and the texts whose scores must then be the same."""

    merge: bool = False
    texts: tuple[str, ...] = ()


class TunedScorer(Predictor):
    """Asks a tuned causal language model what it was trained on; its answer's first token decides.

    The log-probabilities of the questions are averaged, as in `LabelScorer`.
    """

    def __init__(
        self,
        tuned: TunedModel,
        prompt: LabelPrompt,
        facts: Mapping[str, Any],
        *,
        before: Calibration | None = None,
        shipping: Shipping | None = None,
        tokenizer: TextTokenizer | None = None,
    ) -> None:
        self.label_names = prompt.label_names
        self._tuned = tuned
        self._prompt = prompt
        self._facts = facts
        self._before = before
        self._shipping = shipping or Shipping()
        self._judges_before = False
        self._tokenizer = tokenizer or TextTokenizer(tuned.checkpoint)
        self._scorer = self._scorer_of(first_tokens(prompt.pieces))

    def _scorer_of(self, pieces: Pieces) -> CausalScorer:
        batch_tokens = _READ_AT_ONCE * self._prompt.settings.batch_tokens
        return CausalScorer(self._tuned.model, pieces, batch_tokens=batch_tokens)

    @property
    def parameters(self) -> int:
        """The weights of the language model and of the adapter."""
        return self._tuned.model.num_parameters()

    @property
    def facts(self) -> Mapping[str, Any]:
        """What training decided, what was trained on, and how long the prompt is."""
        return {**self._facts, "base_sha256": self._tuned.base_sha256, **self._prompt.facts}

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts; where that is asked for, the model from before tuning is a variant."""
        kept, lengths = self._prompt.read(self._tokenizer, texts)
        scores = Calibration().judge(
            self._scorer.score(kept), lengths, self._prompt.settings.max_tokens
        )
        variants = self._judge_before(kept) if self._judges_before else {}
        return replace(scores, variants=variants)

    def judging_before(self, calibration: Calibration | None = None) -> Self:
        """Return the same predictor, which judges by the model from before tuning as well.

        Its scores have the variants ``before raw`` and ``before``, calibrated as in ``prompt``
        without labels; they take as long as the predictor's own. The weights are shared.

        Args:
            calibration: Of the model from before; None: the one that was saved.

        Raises:
            RunError: the adapter was added to the weights, so that model is gone.
        """
        if self._tuned.adapter is None:
            raise RunError(
                "Expected an adapter beside its base, but this predictor was saved with merge, so "
                "the model from before tuning is gone. Judge it by the method prompt."
            )
        other = object.__new__(type(self))
        other.__dict__ = {**self.__dict__, "_judges_before": True}
        other._before = calibration or self._before or Calibration()
        return other

    def base_scores(self, texts: Sequence[str]) -> LabelScores:
        """Return what the model from before tuning says, before calibration."""
        kept, _ = self._prompt.read(self._tokenizer, texts)
        return self._score_base(kept)

    def _score_base(self, kept: Sequence[Sequence[int]]) -> LabelScores:
        adapter = self._tuned.adapter
        with adapter.disable_adapter() if adapter else nullcontext():
            return self._scorer_of(self._prompt.pieces).score(kept)

    def _judge_before(self, kept: Sequence[Sequence[int]]) -> dict[str, NDArray[np.float64]]:
        calibration = self._before or Calibration()
        steps = calibration.probabilities(self._score_base(kept))
        return {"before": steps[calibration.step], "before raw": steps["raw"]}

    def save(self, folder: Path) -> None:
        """Write base and adapter, or merged weights, and the prompt; reload and score again.

        Raises:
            RunError: what was written gives other scores than this predictor.
        """
        (folder / "checkpoint").mkdir()
        if self._tuned.adapter is None:
            link_checkpoint(self._tuned.checkpoint, folder / "checkpoint")
        else:
            adapters.save_adapter(
                self._tuned.adapter, folder / "adapter", base_sha256=self._tuned.base_sha256
            )
            self._save_weights(folder)
        self._prompt.save(folder)
        content = {
            "facts": dict(self._facts),
            "base_sha256": self._tuned.base_sha256,
            "four_bit": self._tuned.four_bit,
        }
        (folder / _SETTINGS).write_text(json.dumps(content, indent=2), encoding="utf-8")
        (self._before or Calibration()).save(folder)
        self._check_saved(folder)

    def _save_weights(self, folder: Path) -> None:
        if self._shipping.merge:
            adapters.save_merged(
                self._tuned.checkpoint,
                folder / "adapter",
                folder / "checkpoint",
                dtype=self._tuned.model.dtype,
            )
        else:
            link_checkpoint(self._tuned.checkpoint, folder / "checkpoint")

    def _check_saved(self, folder: Path) -> None:
        texts = self._shipping.texts
        if not texts:
            return
        expected = self.predict_proba(texts)
        if self._tuned.adapter is not None and not self._shipping.merge:
            tolerance = 0.0
            adapters.check_base(folder / "adapter", folder / "checkpoint")
            with adapters.reloaded(self._tuned.adapter, folder / "adapter"):
                found = self._reloaded_probabilities(texts)
        else:
            tolerance = MERGED_TOLERANCE[self._tuned.model.dtype]
            with self._set_aside():
                found = type(self).load(folder).predict_proba(texts)
        difference = float(np.abs(found - expected).max())
        if not difference <= tolerance:
            raise RunError(
                f"The predictor saved in {folder} should give the scores that were judged, to "
                f"within {tolerance:g}, but they differ by {difference:.2g}. Save it "
                f"{'without merge' if self._shipping.merge else 'on another disk'}."
            )

    def _reloaded_probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        kept, lengths = self._prompt.read(self._tokenizer, texts)
        scores = self._scorer_of(first_tokens(self._prompt.pieces)).score(kept)
        return Calibration().judge(scores, lengths, self._prompt.settings.max_tokens).probabilities

    @contextmanager
    def _set_aside(self) -> Iterator[None]:
        """Leave a GPU to another copy of the weights, inside the block."""
        model: Any = self._tuned.model
        device = model.device
        model.to("cpu")
        try:
            yield
        finally:
            model.to(device)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; it judges by the tuned model alone, see `judging_before`.

        Raises:
            CheckpointError: the adapter was trained on other weights than lie beside it.
        """
        prompt = LabelPrompt.load(folder)
        content: dict[str, Any] = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        tuned = _load_tuned(folder, prompt, content)
        return cls(tuned, prompt, content["facts"], before=Calibration.load(folder))


def _load_tuned(folder: Path, prompt: LabelPrompt, content: Mapping[str, Any]) -> TunedModel:
    checkpoint, adapter = folder / "checkpoint", folder / "adapter"
    if adapter.is_dir():
        adapters.check_base(adapter, checkpoint)
    four_bit: bool = content["four_bit"]
    model = load_language_model(checkpoint, prompt.settings, four_bit=four_bit)
    if not adapter.is_dir():
        return TunedModel(
            model=model, adapter=None, checkpoint=checkpoint, base_sha256=content["base_sha256"]
        )
    return TunedModel.of(adapters.load_adapter(model, adapter), checkpoint, four_bit=four_bit)
