"""TunedScorer: a causal language model with a trained adapter, as a predictor.

Knows nothing about how the adapter was trained.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from pollice.models.causal.label_prompt import LabelPrompt, first_tokens, ready_tokenizer
from pollice.models.causal.prompts import Pieces
from pollice.models.causal.scoring import CausalScorer
from pollice.models.causal.view import view_without_adapter
from pollice.models.pretrained.checkpoint_files import copy_checkpoint, weights_sha256
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import load_language_model
from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.saved_files import read_saved_json

MERGED_TOLERANCE: Mapping[torch.dtype, float] = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""How far a probability may move when an adapter is added to weights, which are then rounded."""

_SETTINGS = "tuned.json"
_READ_AT_ONCE = 4
"""Judging reads so many times ``batch_tokens`` at once: it holds one layer's numbers, where
training with ``batch_tokens`` holds every layer's for the backward pass."""


@dataclass(frozen=True, kw_only=True)
class TunedModel:
    """A tuned language model, where its weights lie, and the prompt that it was trained on."""

    model: PreTrainedModel
    """The language model, the adapter's layers in it."""
    adapter: PeftModel | None
    """What knows the adapter's layers; None: it was added to the weights."""
    checkpoint: Path
    base_sha256: str
    prompt: LabelPrompt
    tokenizer: TextTokenizer
    scorer: CausalScorer
    """Of the answer position alone: what the tuned model was trained on."""
    four_bit: bool = False

    @classmethod
    def of(
        cls,
        model: PreTrainedModel | PeftModel,
        checkpoint: Path,
        prompt: LabelPrompt,
        *,
        tokenizer: TextTokenizer,
        base_sha256: str | None = None,
        four_bit: bool = False,
    ) -> Self:
        """Return a model with its adapter, just trained or loaded, or with merged weights.

        Args:
            model: With an adapter, which is rounded as its base is, or without.
            checkpoint: The folder of the weights that lie beside the adapter.
            prompt: What it was trained on.
            tokenizer: The checkpoint's.
            base_sha256: Of the weights that it was trained on; None: those of ``checkpoint``.
            four_bit: Whether the weights are held in NF4.
        """
        adapter = model if isinstance(model, PeftModel) else None
        inner: Any = model
        if adapter is not None:
            # Before the scorer is made: that runs the prefix at once, and its keys and values would
            # stay those of the weights from before rounding.
            adapters.round_to_base(adapter)
            inner = adapter.eval().get_base_model()
        return cls(
            model=inner,
            adapter=adapter,
            checkpoint=checkpoint,
            base_sha256=base_sha256 or weights_sha256(checkpoint),
            prompt=prompt,
            tokenizer=tokenizer,
            scorer=_scorer(inner, prompt, first_tokens(prompt.pieces)),
            four_bit=four_bit,
        )

    def ask_reloaded(self, adapter: Path, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the probabilities of the adapter in a folder, on the same weights."""
        kept, lengths = self.prompt.read(self.tokenizer, texts)
        reloaded: Any = adapters.load_adapter(self._untuned(), adapter).eval()
        scorer = _scorer(reloaded.get_base_model(), self.prompt, first_tokens(self.prompt.pieces))
        return _judged(scorer, self.prompt, kept, lengths).probabilities

    def base_scorer(self) -> CausalScorer:
        """Return what asks the model from before tuning; it reads all of every label's words.

        Raises:
            RunError: the adapter was added to the weights, so that model is gone.
        """
        return _scorer(self._untuned(), self.prompt, self.prompt.pieces)

    def _untuned(self) -> PreTrainedModel:
        if self.adapter is None:
            raise RunError(
                "Expected an adapter beside its base, but this predictor was saved with merge, so "
                "the model from before tuning is gone. Judge it by the method prompt."
            )
        return view_without_adapter(self.adapter)


def _scorer(model: PreTrainedModel, prompt: LabelPrompt, pieces: Pieces) -> CausalScorer:
    batch_tokens = _READ_AT_ONCE * prompt.settings.batch_tokens
    return CausalScorer(model, pieces, batch_tokens=batch_tokens)


def _judged(
    scorer: CausalScorer,
    prompt: LabelPrompt,
    kept: Sequence[Sequence[int]],
    lengths: Sequence[int],
) -> Scores:
    return Calibration().judge(scorer.score(kept), lengths, prompt.settings.max_tokens)


@dataclass(frozen=True, kw_only=True)
class Shipping:
    """How a predictor is saved, and the texts whose scores must then be the same."""

    merge: bool = False
    texts: tuple[str, ...] = ()


class TunedScorer(Predictor):
    """Asks a tuned causal language model what it was trained on; its answer's first token decides.

    Use it for a model with a trained adapter; `LabelScorer` is for one as it was published. The
    log-probabilities of the questions are averaged, as there.

    Args:
        tuned: The model and its prompt.
        facts: What training decided.
        calibration_before: Of the model from before tuning, which is saved with the predictor.
        base: What asks the model from before tuning; None: that one is not judged.
        shipping: How it is saved.
    """

    def __init__(
        self,
        tuned: TunedModel,
        facts: Mapping[str, Any],
        *,
        calibration_before: Calibration | None = None,
        base: CausalScorer | None = None,
        shipping: Shipping | None = None,
    ) -> None:
        self.label_names = tuned.prompt.label_names
        self._tuned = tuned
        self._facts = facts
        self._calibration_before = calibration_before or Calibration()
        self._base = base
        self._shipping = shipping or Shipping()

    @property
    def parameters(self) -> int:
        """The weights of the language model and of the adapter."""
        return self._tuned.model.num_parameters()

    @property
    def facts(self) -> Mapping[str, Any]:
        """What training decided, what was trained on, and how long the prompt is."""
        base = {"base_sha256": self._tuned.base_sha256}
        return {**self._facts, **base, **self._tuned.prompt.facts}

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts; where that is asked for, the model from before tuning is a variant."""
        kept, lengths = self._tuned.prompt.read(self._tuned.tokenizer, texts)
        scores = _judged(self._tuned.scorer, self._tuned.prompt, kept, lengths)
        if self._base is None:
            return replace(scores, variants={})
        calibration = self._calibration_before
        steps = calibration.probabilities(self._base.score(kept))
        return replace(
            scores, variants={"before": steps[calibration.step], "before raw": steps["raw"]}
        )

    def judging_before(self, calibration: Calibration | None = None) -> Self:
        """Return the same predictor, which judges by the model from before tuning as well.

        Its scores have the variants ``before raw`` and ``before``, calibrated as in ``prompt``
        without labels; they take as long as the predictor's own. The weights are shared.

        Args:
            calibration: Of the model from before; None: the one that was saved.

        Raises:
            RunError: the adapter was added to the weights, so that model is gone.
        """
        return type(self)(
            self._tuned,
            self._facts,
            calibration_before=calibration or self._calibration_before,
            base=self._base or self._tuned.base_scorer(),
            shipping=self._shipping,
        )

    @property
    def tolerance(self) -> float:
        """How far a probability may move when the adapter is added to the weights."""
        return MERGED_TOLERANCE[self._tuned.model.dtype]

    def merging(self) -> Self:
        """Return the same predictor, saved with its adapter added to the weights."""
        return type(self)(
            self._tuned,
            self._facts,
            calibration_before=self._calibration_before,
            base=self._base,
            shipping=replace(self._shipping, merge=True),
        )

    def base_scores(self, texts: Sequence[str]) -> LabelScores:
        """Return what the model from before tuning says, before calibration.

        Ask a predictor that is `judging_before`: any other makes what asks that model anew.
        """
        kept, _ = self._tuned.prompt.read(self._tuned.tokenizer, texts)
        return (self._base or self._tuned.base_scorer()).score(kept)

    def save(self, folder: Path) -> None:
        """Write base and adapter, or merged weights, and the prompt; reload and score again.

        Raises:
            RunError: what was written gives other scores than this predictor.
        """
        (folder / "checkpoint").mkdir()
        if self._tuned.adapter is None:
            copy_checkpoint(self._tuned.checkpoint, folder / "checkpoint")
        else:
            adapters.save_adapter(
                self._tuned.adapter, folder / "adapter", base_sha256=self._tuned.base_sha256
            )
            self._save_weights(folder)
        self._tuned.prompt.save(folder)
        content = {
            "facts": dict(self._facts),
            "base_sha256": self._tuned.base_sha256,
            "four_bit": self._tuned.four_bit,
        }
        (folder / _SETTINGS).write_text(json.dumps(content, indent=2), encoding="utf-8")
        self._calibration_before.save(folder)
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
            copy_checkpoint(self._tuned.checkpoint, folder / "checkpoint")

    def _check_saved(self, folder: Path) -> None:
        """Load what was saved beside what is saved, and refuse other scores."""
        texts = self._shipping.texts
        if not texts:
            return
        expected = self.predict_proba(texts)
        # A saved adapter goes back onto the very base weights, in the data type that it was judged
        # in: the same numbers in the same products, so not one bit may differ.
        if self._tuned.adapter is not None and not self._shipping.merge:
            tolerance = 0.0
            adapters.check_base(folder / "adapter", folder / "checkpoint")
            found = self._tuned.ask_reloaded(folder / "adapter", texts)
        else:
            tolerance = MERGED_TOLERANCE[self._tuned.model.dtype]
            # `expected` is at hand by now: inside the block this predictor cannot score.
            with self._set_aside():
                found = type(self).load(folder).predict_proba(texts)
        difference = float(np.abs(found - expected).max())
        # Not written as `>`: a difference of nan must be refused too.
        if not difference <= tolerance:
            raise RunError(
                f"The predictor saved in {folder} should give the scores that were judged, to "
                f"within {tolerance:g}, but they differ by {difference:.2g}. Save it "
                f"{'without merge' if self._shipping.merge else 'on another disk'}."
            )

    @contextmanager
    def _set_aside(self) -> Iterator[None]:
        """Leave a GPU to another copy of the weights, inside the block.

        On a GPU nothing can be scored meanwhile: this predictor's own weights are away.
        """
        model: Any = self._tuned.model
        device = model.device
        # The scorer's view shares these tensors, so it moves along; on CPU nothing happens.
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
        content = read_saved_json(folder / _SETTINGS, "facts", "base_sha256", "four_bit")
        calibration = Calibration.load(folder)
        tuned = _load_tuned(folder, content)
        return cls(tuned, content["facts"], calibration_before=calibration)


def _load_tuned(folder: Path, content: Mapping[str, Any]) -> TunedModel:
    checkpoint, adapter = folder / "checkpoint", folder / "adapter"
    # `save_merged` removes the adapter's folder once its weights are in the checkpoint.
    is_merged = not adapter.is_dir()
    if not is_merged:
        adapters.check_base(adapter, checkpoint)
    prompt = LabelPrompt.load(folder)
    four_bit: bool = content["four_bit"]
    tokenizer = ready_tokenizer(checkpoint)
    model = load_language_model(checkpoint, prompt.settings, four_bit=four_bit)
    return TunedModel.of(
        model if is_merged else adapters.load_adapter(model, adapter),
        checkpoint,
        prompt,
        tokenizer=tokenizer,
        # Merged weights have another hash; what counts is that of those that were trained on.
        base_sha256=content["base_sha256"] if is_merged else None,
        four_bit=four_bit,
    )
