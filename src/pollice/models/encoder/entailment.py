"""EntailmentScorer: does a text entail "This text is LABEL."? A predictor with calibration.

Knows nothing about how the hypotheses are worded and how calibrating rows are chosen.
"""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from pollice.errors import CheckpointError
from pollice.models.batching import aligned, cut, length_batches, padded
from pollice.models.calibration import Calibration, LabelScores
from pollice.models.encoder.reader import position_limit
from pollice.models.pretrained.checkpoint_files import copy_checkpoint
from pollice.models.pretrained.devices import resolve_device, resolve_dtype
from pollice.models.pretrained.options import ReadingOptions
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import load_classifier, read_config
from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.saved_files import read_label_names, read_saved_json

_ENTAILMENT = "entailment"
_FILE = "entailment.json"


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """A text and a hypothesis as one row of a batch."""

    tokens: list[int]
    types: list[int]
    """For each token, which of the two it belongs to, as the checkpoint counts them."""


class _Pairing:
    """Puts a checkpoint's own control tokens around two texts, given as token ids."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        sample = tokenizer.tokenizer("a", "b", return_token_type_ids=True)
        whole, types = list(sample["input_ids"]), list(sample["token_type_ids"])
        first, second = tokenizer.encode_texts(["a", "b"])
        start = _find(whole, first, 0)
        end = start + len(first)
        # Only behind the first text: a token of the second may also be among the ones in front.
        other = _find(whole, second, end)
        other_end = other + len(second)
        self._tokens = (whole[:start], whole[end:other], whole[other_end:])
        self._types = (types[:start], types[end:other], types[other_end:])
        self._inner_types = (types[start], types[other])
        self.extra = sum(len(tokens) for tokens in self._tokens)

    def pair(self, text: Sequence[int], hypothesis: Sequence[int]) -> _Pair:
        lead, between, trail = self._tokens
        lead_types, between_types, trail_types = self._types
        text_type, hypothesis_type = self._inner_types
        return _Pair(
            tokens=[*lead, *text, *between, *hypothesis, *trail],
            types=[
                *lead_types,
                *[text_type] * len(text),
                *between_types,
                *[hypothesis_type] * len(hypothesis),
                *trail_types,
            ],
        )


def _find(whole: Sequence[int], part: Sequence[int], start: int) -> int:
    for place in range(start, len(whole) - len(part) + 1):
        if list(whole[place : place + len(part)]) == list(part):
            return place
    raise CheckpointError(
        "This checkpoint's tokenizer changes texts when it pairs them, so they cannot be encoded "
        "apart. Use another checkpoint."
    )


def _entailment_column(checkpoint: Path) -> int:
    """Return the head's column for entailment; refuse a head that has none."""
    codes: dict[str, int] = read_config(checkpoint).label2id
    for label, code in codes.items():
        if label.strip().lower() == _ENTAILMENT:
            return code
    raise CheckpointError(
        f"Expected a head with the label '{_ENTAILMENT}', but the labels of the checkpoint "
        f"{checkpoint} are: {', '.join(codes)}. Use a checkpoint trained on natural language "
        "inference, train this one with the method finetune, or use a causal checkpoint with the "
        "method prompt."
    )


class EntailmentModel:
    """A classifier of text pairs: texts to a score for each of some hypotheses.

    Args:
        checkpoint: A folder of weights with an entailment head.
        hypotheses: One statement for each label.
        settings: How texts go through the model; ``max_tokens`` are of the text alone.

    Raises:
        CheckpointError: the head is missing or knows no entailment, or there is no room for the
            longest hypothesis beside ``max_tokens``.
    """

    def __init__(
        self, checkpoint: Path, hypotheses: Sequence[str], settings: ReadingOptions
    ) -> None:
        self.checkpoint = checkpoint
        self.hypotheses = tuple(hypotheses)
        self.settings = settings
        self._column = _entailment_column(checkpoint)
        device = resolve_device(settings.device)
        model = load_classifier(
            checkpoint, new_head=False, dtype=resolve_dtype(settings.dtype, device)
        )
        self._positions = position_limit(model.config)
        self._model = cast(Any, model).to(device)
        self._tokenizer = TextTokenizer(checkpoint)
        self._pairing = _Pairing(self._tokenizer)
        self._hypotheses = self._tokenizer.encode_texts(self.hypotheses)
        # Both are asked: some tokenizers make types that their model does not take.
        self._has_types = (
            "token_type_ids" in self._tokenizer.tokenizer.model_input_names
            and "token_type_ids" in inspect.signature(self._model.forward).parameters
        )
        self._check_room()

    def _check_room(self) -> None:
        around = self._pairing.extra + max(len(tokens) for tokens in self._hypotheses)
        limit = self.settings.max_tokens
        if self._positions is not None and around + limit > self._positions:
            raise CheckpointError(
                f"max_tokens is {limit} and the longest hypothesis takes {around} tokens more, but "
                f"this checkpoint reads at most {self._positions}. Lower max_tokens to "
                f"{self._positions - around} or less."
            )

    @property
    def parameters(self) -> int:
        """The weights of encoder and head."""
        return int(self._model.num_parameters())

    def label_scores(self, texts: Sequence[str]) -> LabelScores:
        """Return the log-softmax over the labels of the entailment logits, as one question.

        So does the transformers pipeline zero-shot-classification (Yin et al. 2019, "Benchmarking
        Zero-shot Text Classification").
        """
        return self.read(texts)[0]

    def read(self, texts: Sequence[str]) -> tuple[LabelScores, list[int]]:
        """Return the scores, and the tokens of each text before it was cut."""
        encoded = self._tokenizer.encode_texts(texts)
        kept = [
            cut(tokens, self.settings.max_tokens, self.settings.long_text) for tokens in encoded
        ]
        pairs = [
            self._pairing.pair(tokens, hypothesis)
            for tokens in kept
            for hypothesis in self._hypotheses
        ]
        # Pairs go text by text, so each text's hypotheses are one row of the table.
        logits = self._entailment(pairs).reshape(len(texts), 1, len(self._hypotheses))
        scores = LabelScores(
            log_probabilities=log_softmax(logits, axis=-1),
            # A width of 0 says that there are no states: no probe is learned on them.
            hidden=np.zeros((len(texts), 1, 0), np.float32),
        )
        return scores, [len(tokens) for tokens in encoded]

    @torch.inference_mode()
    def _entailment(self, pairs: Sequence[_Pair]) -> NDArray[np.float64]:
        """Return the entailment logit of each pair."""
        logits = np.zeros(len(pairs))
        lengths = [len(pair.tokens) for pair in pairs]
        for rows in length_batches(lengths, batch_tokens=self.settings.batch_tokens):
            batch = self._pad([pairs[row] for row in rows])
            outcome = self._model(**batch).logits[:, self._column]
            logits[rows] = outcome.double().cpu().numpy()
        return logits

    def _pad(self, pairs: Sequence[_Pair]) -> dict[str, Tensor]:
        """Return the model's inputs, of an aligned length where the positions reach so far."""
        longest = max(len(pair.tokens) for pair in pairs)
        length = max(longest, min(aligned(longest), self._positions or aligned(longest)))
        columns = {
            "input_ids": ([pair.tokens for pair in pairs], self._tokenizer.pad),
            "attention_mask": ([[1] * len(pair.tokens) for pair in pairs], 0),
        }
        if self._has_types:
            columns["token_type_ids"] = ([pair.types for pair in pairs], 0)
        return {
            name: torch.from_numpy(padded(rows, length, fill)).to(self._model.device)
            for name, (rows, fill) in columns.items()
        }


class EntailmentScorer(Predictor):
    """Scores a hypothesis for each label by how far the text entails it, and calibrates them."""

    def __init__(
        self,
        model: EntailmentModel,
        label_names: tuple[str, ...],
        calibration: Calibration | None = None,
    ) -> None:
        self.label_names = label_names
        self.calibration = calibration or Calibration()
        self._model = model

    @property
    def parameters(self) -> int:
        """The weights of encoder and head."""
        return self._model.parameters

    @property
    def facts(self) -> Mapping[str, Any]:
        """What calibration took, and the statements that the texts are held against."""
        return {**self.calibration.facts, "hypotheses": list(self._model.hypotheses)}

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts; the ladder's other steps are variants."""
        scores, lengths = self._model.read(texts)
        return self.calibration.judge(scores, lengths, self._model.settings.max_tokens)

    def save(self, folder: Path) -> None:
        """Write the checkpoint as a copy, the hypotheses and the calibration."""
        checkpoint = folder / "checkpoint"
        checkpoint.mkdir()
        copy_checkpoint(self._model.checkpoint, checkpoint)
        content = {
            "label_names": self.label_names,
            "hypotheses": self._model.hypotheses,
            "settings": asdict(self._model.settings),
        }
        (folder / _FILE).write_text(json.dumps(content, indent=2), encoding="utf-8")
        self.calibration.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        path = folder / _FILE
        content = read_saved_json(path, "hypotheses", "settings")
        label_names = read_label_names(path, content)
        calibration = Calibration.load(folder)
        asked = len(content["hypotheses"])  # one for each label, or for each pole of a scale
        calibration.check_shape(folder, questions=1, asked=asked, labels=len(label_names))
        settings = ReadingOptions(**content["settings"])
        model = EntailmentModel(folder / "checkpoint", content["hypotheses"], settings)
        return cls(model, label_names, calibration)
