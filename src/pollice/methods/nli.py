"""Ask a checkpoint trained on natural language inference whether a text entails each label."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from pollice.data.dataset import Dataset
from pollice.data.scales import Scale, find_scale
from pollice.errors import PromptError, counted
from pollice.memory.footprint import Footprint, Lengths, PlannedMethod, halved
from pollice.memory.planned_model import plan_model
from pollice.memory.reading import largest_batch, reading_parts
from pollice.method import OPTIONS
from pollice.models.calibrating import learn_calibration
from pollice.models.calibration import LabelMeaning
from pollice.models.causal.questions import POLES, hypotheses
from pollice.models.doubts import doubts_of_labels
from pollice.models.drawn_rows import draw_rows
from pollice.models.encoder.entailment import EntailmentModel, EntailmentScorer
from pollice.models.pretrained.options import ReadingOptions
from pollice.models.pretrained.sources import resolve_checkpoint
from pollice.models.shares import check_shares

_HYPOTHESIS_TOKENS = 16  # about


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Nli(ReadingOptions, PlannedMethod):
    """Entailment of a hypothesis for each label, zero-shot, or calibrated from few labels."""

    predictor_type = EntailmentScorer
    knows_more_than_labels = True

    checkpoint: str
    """A folder or hub:owner/name@revision of a checkpoint trained on natural language inference."""
    hypothesis: str = "This text is {}."
    """What a text may entail; {} stands for the label's words."""
    label_words: Mapping[str, str] = Field(default_factory=dict)
    """For each label, its words in the hypothesis; else its name, or negative and positive."""
    labels: int = Field(default=0, ge=0)
    """Labelled training rows to calibrate with: from 16 platt is tried."""
    calibration: Literal["raw", "batch", "platt", "auto"] = "auto"
    """The step that decides; auto: batch, or platt if cross-validation shows that it is better."""
    prior: Mapping[str, float] = Field(default_factory=dict)
    """The shares of the labels that you expect, such as {"positive": 0.9}; they are obeyed."""
    calibration_texts: int = Field(default=256, ge=0)
    """Training texts, without their labels, that batch calibration takes its shift from."""
    max_tokens: int = Field(default=256, ge=1)
    """The most tokens of a text that are read; the hypothesis is never cut."""
    seed: int = Field(default=0, ge=0)
    """Draws the calibrating rows."""

    @field_validator("hypothesis")
    @classmethod
    def _one_place(cls, hypothesis: str) -> str:
        if hypothesis.count("{}") != 1:
            raise ValueError("it should hold {} exactly once, for the label's words")
        return hypothesis

    def labels_used(self, train: Dataset, validation: Dataset) -> int:
        """Return the labelled calibrating rows."""
        return self.labels

    def check(self, train: Dataset) -> None:
        """Refuse more labels than rows, words that make no hypothesis, and a missing checkpoint."""
        self._statements(train)
        resolve_checkpoint(self.checkpoint)

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> EntailmentScorer:
        """Word a hypothesis for each label, and calibrate on training rows."""
        statements, scale = self._statements(train)
        rows = draw_rows(
            train,
            shown=0,
            labelled=self.labels,
            unlabelled=self.calibration_texts,
            seed=self.seed,
        )
        model = EntailmentModel(resolve_checkpoint(self.checkpoint), statements, self.reading())
        warnings = doubts_of_labels(train.label_names, find_scale(train.label_names))
        meaning = LabelMeaning(scale=scale, prior=self.prior, warnings=warnings)
        calibration = learn_calibration(self.calibration, rows, model.label_scores, meaning)
        return EntailmentScorer(model, train.label_names, calibration)

    def _statements(self, train: Dataset) -> tuple[tuple[str, ...], Scale | None]:
        """Return the hypotheses, and the scale that the labels are unless they have words."""
        if self.labels > len(train):
            raise PromptError(
                f"Expected at most as many labelled rows as the "
                f"{counted(len(train), 'training row')}, but labels is {self.labels}. Lower it."
            )
        check_shares(self.prior, train.label_names)
        scale = None if self.label_words else find_scale(train.label_names)
        several = scale is not None and len(scale.names) > 2
        asked = POLES if several else train.label_names
        return hypotheses(self.hypothesis, self.label_words, asked), scale

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what reading texts takes, each beside a hypothesis."""
        model = plan_model(self.checkpoint, self.device, self.dtype)
        pair = lengths.cut(self.max_tokens) + _HYPOTHESIS_TOKENS
        tokens = largest_batch(pair, lengths.rows, self.batch_tokens)
        return model.footprint(reading_parts(model, tokens), lengths)

    def halve_batch(self, lengths: Lengths) -> Mapping[str, int]:
        """Return half of batch_tokens, as long as it holds a text."""
        return halved("batch_tokens", self.batch_tokens, lengths.cut(self.max_tokens))
