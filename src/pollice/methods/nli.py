"""Ask a checkpoint trained on natural language inference whether a text entails each label."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic.dataclasses import dataclass

from pollice.data.dataset import Dataset
from pollice.errors import PromptError
from pollice.memory.footprint import Footprint, Lengths, PlannedMethod, halved
from pollice.memory.planned_model import plan_model
from pollice.memory.reading import largest_batch, reading_parts
from pollice.method import OPTIONS
from pollice.models.calibration import draw_rows, learn_calibration
from pollice.models.causal.prompts import hypotheses
from pollice.models.encoder.entailment import EntailmentModel, EntailmentScorer
from pollice.models.pretrained.options import ReadingOptions
from pollice.models.pretrained.sources import resolve_checkpoint

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
    """Labelled training rows to calibrate with: 16 for platt."""
    calibration: Literal["raw", "batch", "platt", "auto"] = "auto"
    """The step that decides; auto: platt or batch, by the labels at hand."""
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

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> EntailmentScorer:
        """Word a hypothesis for each label, and calibrate on training rows."""
        if self.labels > len(train):
            raise PromptError(
                f"Expected at most as many labelled rows as the {len(train)} training rows, but "
                f"labels is {self.labels}. Lower it."
            )
        rows = draw_rows(
            train,
            shown=0,
            labelled=self.labels,
            unlabelled=self.calibration_texts,
            seed=self.seed,
        )
        statements = hypotheses(self.hypothesis, self.label_words, train.label_names)
        model = EntailmentModel(resolve_checkpoint(self.checkpoint), statements, self.reading())
        calibration = learn_calibration(self.calibration, rows, model.label_scores)
        return EntailmentScorer(model, train.label_names, calibration)

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what reading texts takes, each beside a hypothesis."""
        model = plan_model(self.checkpoint, self.device, self.dtype)
        pair = lengths.cut(self.max_tokens) + _HYPOTHESIS_TOKENS
        tokens = largest_batch(pair, lengths.rows, self.batch_tokens)
        return model.footprint(reading_parts(model, tokens), lengths)

    def halve_batch(self, lengths: Lengths) -> Mapping[str, int]:
        """Return half of batch_tokens, as long as it holds a text."""
        return halved("batch_tokens", self.batch_tokens, lengths.cut(self.max_tokens))
