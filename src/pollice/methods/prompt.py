"""Ask a causal language model, with no labels, some examples, or a calibration from few labels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from pollice.data.dataset import Dataset
from pollice.data.scales import find_scale
from pollice.errors import PromptError, counted
from pollice.memory.footprint import Footprint, Lengths, PlannedMethod, halved
from pollice.memory.planned_model import plan_model
from pollice.memory.reading import (
    QUESTION_TOKENS,
    largest_batch,
    prefix_bytes,
    reading_parts,
)
from pollice.method import NO_EFFECT, OPTIONS
from pollice.models.batching import cut
from pollice.models.calibrating import learn_calibration
from pollice.models.calibration import LabelMeaning, Step
from pollice.models.causal.label_prompt import AskingOptions, LabelPrompt
from pollice.models.causal.label_scorer import AskedModel, LabelScorer
from pollice.models.causal.prompts import Example, assemble, without_control_words
from pollice.models.causal.questions import Template
from pollice.models.doubts import doubts_of_labels
from pollice.models.drawn_rows import DrawnRows, draw_rows
from pollice.models.pretrained.sources import resolve_checkpoint
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.shares import check_shares


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Prompt(AskingOptions, PlannedMethod):
    """Label likelihoods of a causal language model, from one forward pass, calibrated."""

    predictor_type = LabelScorer
    knows_more_than_labels = True

    checkpoint: str = "gemma-3-270m"
    """A catalogue name, a folder, or hub:owner/name@revision."""
    shots: int = Field(default=0, ge=0)
    """Examples from the training rows shown before every text, balanced over the labels."""
    labels: int = Field(default=0, ge=0)
    """Further labelled training rows to calibrate with: from 16 platt is tried, from 64 probe."""
    calibration: Literal[Step, "auto"] = "auto"
    """The step that decides; auto: batch, or a later one that cross-validation shows is better."""
    prior: Mapping[str, float] = Field(default_factory=dict)
    """The shares of the labels that you expect, such as {"positive": 0.9}; they are obeyed."""
    calibration_texts: int = Field(default=256, ge=0)
    """Training texts, without their labels, that batch calibration takes its shift from."""
    max_tokens: int = Field(default=256, ge=1)
    """The most tokens of a text that are read; what is cut is counted."""
    example_tokens: int = Field(default=128, ge=1)
    """The most tokens of each example."""
    batch_tokens: int = Field(default=2048, ge=1, json_schema_extra=NO_EFFECT)
    """The most tokens that go through the model at once; fewer take less memory."""
    order_draws: int = Field(default=0, ge=0)
    """Repeat with this many other draws and orders of the examples, and report the spread."""
    seed: int = Field(default=0, ge=0)
    """Draws the examples and the calibrating rows."""

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return the examples and the labelled calibrating rows."""
        return self.shots + self.labels

    def repetitions(self) -> Sequence["Prompt"]:
        """Return the same prompt with each of the next seeds."""
        return tuple(
            replace(self, seed=self.seed + draw, order_draws=0)
            for draw in range(1, self.order_draws + 1)
        )

    def check(self, train: Dataset) -> None:
        """Refuse more labels than rows, words that cannot be asked, and a prompt without room."""
        checkpoint, tokenizer = self._checkpoint()
        template = self.asked_template(train.label_names)
        shown = self._draw(train).shown
        self._prompt(template, train.label_names, shown, tokenizer).check_room(checkpoint)

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> LabelScorer:
        """Assemble the prompt from training rows, and calibrate on others of them."""
        return self.build(train.label_names, self._draw(train))

    def build(
        self, label_names: tuple[str, ...], rows: DrawnRows, beside: LabelScorer | None = None
    ) -> LabelScorer:
        """Return the predictor that shows and calibrates on the given rows; any may be none.

        Args:
            label_names: The labels, in the order of the columns.
            rows: What is shown and calibrated on.
            beside: A predictor of the same checkpoint and options, but for what is asked: its
                loaded model is used.
        """
        template = self.asked_template(label_names)
        if beside is None:
            checkpoint, tokenizer = self._checkpoint()
            prompt = self._prompt(template, label_names, rows.shown, tokenizer)
            scorer = LabelScorer(
                AskedModel.load(checkpoint, prompt, four_bit=self.four_bit, tokenizer=tokenizer)
            )
        else:
            prompt = self._prompt(template, label_names, rows.shown, beside.tokenizer)
            scorer = beside.asking(prompt)
        meaning = LabelMeaning(
            scale=template.scale,
            prior=self.prior,
            purpose=template.purpose,
            warnings=doubts_of_labels(label_names, find_scale(label_names)),
        )
        return scorer.calibrated(
            learn_calibration(self.calibration, rows, scorer.label_scores, meaning)
        )

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what texts take, each with a question, behind the examples that all share."""
        model = plan_model(self.checkpoint, self.device, self.dtype, four_bit=self.four_bit)
        asked = lengths.cut(self.max_tokens) + QUESTION_TOKENS
        examples = self.shots * (self.example_tokens + QUESTION_TOKENS)
        tokens = largest_batch(asked, lengths.rows, self.batch_tokens)
        parts = reading_parts(model, tokens, keys=examples + asked)
        return model.footprint({**parts, "prefix": prefix_bytes(model, examples)}, lengths)

    def halve_batch(self, lengths: Lengths) -> Mapping[str, int]:
        """Return half of batch_tokens, as long as it holds a text."""
        return halved("batch_tokens", self.batch_tokens, lengths.cut(self.max_tokens))

    def _checkpoint(self) -> tuple[Path, TextTokenizer]:
        checkpoint = resolve_checkpoint(self.checkpoint)
        return checkpoint, self.read_tokenizer(checkpoint)

    def _prompt(
        self,
        template: Template,
        label_names: tuple[str, ...],
        shown: Dataset,
        tokenizer: TextTokenizer,
    ) -> LabelPrompt:
        check_shares(self.prior, label_names)
        examples = self._examples(shown, tokenizer)
        pieces = assemble(template, label_names, tokenizer, examples)
        return LabelPrompt(label_names=label_names, pieces=pieces, settings=self.reading())

    def _draw(self, train: Dataset) -> DrawnRows:
        """Return rows for examples, for calibration with labels, and without; none twice."""
        if self.shots + self.labels > len(train):
            raise PromptError(
                f"Expected at most as many labelled rows as the "
                f"{counted(len(train), 'training row')}, but shots is {self.shots} and "
                f"labels {self.labels}. Lower them."
            )
        return draw_rows(
            train,
            shown=self.shots,
            labelled=self.labels,
            unlabelled=self.calibration_texts,
            seed=self.seed,
        )

    def _examples(self, shown: Dataset, tokenizer: TextTokenizer) -> list[Example]:
        encoded = tokenizer.encode_texts([without_control_words(text) for text in shown.texts])
        return [
            Example(tokens=tuple(cut(tokens, self.example_tokens, self.long_text)), label=label)
            for tokens, label in zip(encoded, shown.labels, strict=True)
        ]
