"""Ask a causal language model, with no labels, some examples, or a calibration from few labels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from pollice.data import Dataset
from pollice.errors import PromptError
from pollice.method import OPTIONS, Method
from pollice.models.batching import Keep, cut
from pollice.models.causal import LabelScores
from pollice.models.labelling import LabelScorer, ScorerSettings, Step, calibrate
from pollice.models.loading import Device, Dtype, TextTokenizer
from pollice.models.sources import resolve_checkpoint
from pollice.progress import Advance, stage
from pollice.prompts import Example, Template, assemble, custom_template, default_template

_CHUNK_ROWS = 64


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Prompt(Method):
    """Label likelihoods of a causal language model, from one forward pass, calibrated."""

    predictor_type = LabelScorer

    checkpoint: str = "gemma-3-270m"
    """A catalogue name, a folder, or hub:owner/name@revision."""
    shots: int = Field(default=0, ge=0)
    """Examples from the training rows shown before every text, balanced over the labels."""
    labels: int = Field(default=0, ge=0)
    """Further labelled training rows to calibrate with: 16 for platt, 64 for probe."""
    calibration: Step | Literal["auto"] = "auto"
    """The step that decides; auto: probe, platt or batch, by the labels at hand."""
    calibration_texts: int = Field(default=256, ge=0)
    """Training texts, without their labels, that batch calibration takes its shift from."""
    template: str | None = None
    """A prompt with {text} in it that ends where the label comes; None: the built-in questions."""
    label_words: Mapping[str, Sequence[str]] = Field(default_factory=dict)
    """For each label, the words that mean it; their probabilities are summed."""
    instructions: str = ""
    """What stands before everything, or in the system turn of a chat checkpoint."""
    max_tokens: int = Field(default=256, ge=1)
    """The most tokens of a text that are read; what is cut is counted."""
    keep: Keep = "head_tail"
    """Which end of a longer text is read."""
    example_tokens: int = Field(default=128, ge=1)
    """The most tokens of each example."""
    batch_tokens: int = Field(default=2048, ge=1)
    """The most tokens that go through the model at once; fewer take less memory."""
    dtype: Dtype = "auto"
    """auto: bfloat16 where the hardware multiplies it natively."""
    device: Device = "auto"
    """auto: a GPU where there is one."""
    seed: int = 0
    """Draws the examples and the calibrating rows."""

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return the examples and the labelled calibrating rows."""
        return self.shots + self.labels

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> LabelScorer:
        """Assemble the prompt from training rows, and calibrate on others of them."""
        shown, labelled, unlabelled = self._draw(train)
        checkpoint = resolve_checkpoint(self.checkpoint)
        tokenizer = TextTokenizer(checkpoint)
        template = self._template(train.label_names)
        examples = self._examples(train.take(shown), tokenizer)
        pieces = assemble(template, train.label_names, tokenizer, examples)
        scorer = LabelScorer(checkpoint, train.label_names, pieces, self._settings())
        with stage("calibrating", total=len(labelled) + len(unlabelled)) as advance:
            labelled_scores = _scored(scorer, train.take(labelled), advance)
            unlabelled_scores = _scored(scorer, train.take(unlabelled), advance)
        return scorer.calibrated(
            calibrate(
                self.calibration,
                unlabelled_scores,
                labelled_scores,
                train.take(labelled).labels,
                train.label_names,
            )
        )

    def _draw(self, train: Dataset) -> tuple[list[int], list[int], list[int]]:
        """Return rows for examples, for calibration with labels, and without; none twice."""
        if self.shots + self.labels > len(train):
            raise PromptError(
                f"Expected at most as many labelled rows as the {len(train)} training rows, but "
                f"shots is {self.shots} and labels {self.labels}. Lower them."
            )
        order = [int(row) for row in np.random.default_rng(self.seed).permutation(len(train))]
        shown = _balanced(order, train, self.shots)
        order = [row for row in order if row not in set(shown)]
        labelled = _balanced(order, train, self.labels)
        rest = [row for row in order if row not in set(labelled)]
        return shown, labelled, rest[: self.calibration_texts]

    def _template(self, label_names: tuple[str, ...]) -> Template:
        if self.template is None and not self.label_words:
            template = default_template(label_names)
        else:
            template = custom_template(
                self.template or "{text}\nOverall, the label of this text is",
                self.label_words,
                label_names,
            )
        return replace(template, instructions=self.instructions)

    def _examples(self, shown: Dataset, tokenizer: TextTokenizer) -> list[Example]:
        encoded = tokenizer.encode_texts([text.strip() for text in shown.texts])
        return [
            Example(tokens=tuple(cut(tokens, self.example_tokens, self.keep)), label=label)
            for tokens, label in zip(encoded, shown.labels, strict=True)
        ]

    def _settings(self) -> ScorerSettings:
        names = ("max_tokens", "keep", "batch_tokens", "dtype", "device")
        return ScorerSettings(**{name: getattr(self, name) for name in names})


def _balanced(order: Sequence[int], train: Dataset, rows: int) -> list[int]:
    """Take rows in order, each time of a label that has been taken least so far."""
    waiting: dict[str, list[int]] = {name: [] for name in train.label_names}
    for row in order:
        waiting[train.labels[row]].append(row)
    taken: list[int] = []
    while len(taken) < rows:
        for queue in waiting.values():
            if queue and len(taken) < rows:
                taken.append(queue.pop(0))
    return sorted(taken, key=order.index)


def _scored(scorer: LabelScorer, rows: Dataset, advance: Advance) -> LabelScores:
    parts = []
    for start in range(0, max(1, len(rows)), _CHUNK_ROWS):
        texts = rows.texts[start : start + _CHUNK_ROWS]
        parts.append(scorer.label_scores(texts))
        advance(len(texts))
    return LabelScores(
        log_probabilities=np.concatenate([part.log_probabilities for part in parts]),
        hidden=np.concatenate([part.hidden for part in parts]),
    )
