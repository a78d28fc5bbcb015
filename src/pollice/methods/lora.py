"""Tune a causal language model to answer with the label, by a LoRA adapter."""

from collections.abc import Mapping
from pathlib import Path

from pydantic.dataclasses import dataclass

from pollice.data.dataset import Dataset
from pollice.errors import TrainingError
from pollice.memory.footprint import Footprint, Lengths, PlannedMethod, halved
from pollice.memory.planned_model import plan_model
from pollice.memory.reading import QUESTION_TOKENS
from pollice.memory.training import (
    DecoderAdapter,
    MicroBatch,
    Optimizer,
    decoder_training_parts,
)
from pollice.method import OPTIONS
from pollice.models.calibrating import learn_calibration
from pollice.models.causal import adapters
from pollice.models.causal.label_prompt import AskingOptions, LabelPrompt
from pollice.models.causal.prompts import assemble
from pollice.models.causal.tuned_scorer import Shipping, TunedModel, TunedScorer
from pollice.models.drawn_rows import draw_rows
from pollice.models.hugging_face.options import TuningOptions
from pollice.models.hugging_face.prompt_rows import AskedRows, ask_rows
from pollice.models.hugging_face.sft import Tuning, tune
from pollice.models.pretrained.checkpoint_files import weights_sha256
from pollice.models.pretrained.sources import resolve_checkpoint
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import check_four_bit, load_language_model
from pollice.models.training.job import Identity
from pollice.models.training.optimizers import prepare_optimizer

_CHECKED_TEXTS = 8


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Lora(TuningOptions, AskingOptions, PlannedMethod):
    """A causal language model, tuned by TRL and PEFT on what `prompt` asks; judged before too."""

    predictor_type = TunedScorer
    joint = True

    def check(self, train: Dataset) -> None:
        """Refuse labels without rows, weights that cannot be held, words that cannot be asked."""
        self._prompt(train)

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> TunedScorer:
        """Train on the training rows; ``workdir`` gets training.jsonl and resume points.

        Raises:
            TrainingError: a label has no training row.
            CheckpointError: 4-bit weights without CUDA, or no chat template where one is needed.
        """
        checkpoint, tokenizer, prompt = self._prompt(train)
        tuning = Tuning(
            options=self,
            tokenizer=tokenizer,
            endings=prompt.pieces.endings,
            train=self._ask(prompt, tokenizer, train),
            validation=self._ask(prompt, tokenizer, validation),
            identity=self._identity(checkpoint, prompt),
            workdir=workdir,
        )
        base = load_language_model(checkpoint, self.reading(), four_bit=self.four_bit)
        model = adapters.attach(base, self.shape, seed=self.seed)
        facts = {"trainable_parameters": adapters.trainable_parameters(model)} | tune(model, tuning)
        shown = (*validation.texts, *train.texts)[:_CHECKED_TEXTS]
        scorer = TunedScorer(
            TunedModel.of(model, checkpoint, prompt, tokenizer=tokenizer, four_bit=self.four_bit),
            facts,
            shipping=Shipping(merge=self.merge, texts=shown),
        )
        return self._judging_before(scorer, train) if self.judge_before else scorer

    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what the largest part of a step takes, forward and backward."""
        model = plan_model(self.checkpoint, self.device, self.dtype, four_bit=self.four_bit)
        text = lengths.cut(self.max_tokens)
        step_tokens = self.batch_size * (text + QUESTION_TOKENS)
        passes = min(self.batch_size, -(-step_tokens // self.batch_tokens))
        rows = -(-min(self.batch_size, lengths.rows) // passes)
        parts = decoder_training_parts(
            model,
            MicroBatch(rows=rows, text=text, around=QUESTION_TOKENS),
            DecoderAdapter(
                rank=self.shape.rank,
                all_matrices=self.shape.targets == "all",
                recompute=self.recompute,
            ),
            Optimizer(bits=self.optimizer_bits, paged=self.paged_optimizer),
        )
        # One tokenizer to train with, and one to judge with.
        return model.footprint(parts, lengths, second_tokenizer=True)

    def halve_batch(self, lengths: Lengths) -> Mapping[str, int]:
        """Return half of batch_tokens, as long as it holds a text."""
        return halved("batch_tokens", self.batch_tokens, lengths.cut(self.max_tokens))

    def _prompt(self, train: Dataset) -> tuple[Path, TextTokenizer, LabelPrompt]:
        """Return the checkpoint, its tokenizer and what is asked; refuse what cannot be trained."""
        _check_labels(train)
        if self.four_bit:
            check_four_bit(self.device)
        prepare_optimizer(self, self.device)
        checkpoint = resolve_checkpoint(self.checkpoint)
        tokenizer = self.read_tokenizer(checkpoint)
        prompt = LabelPrompt(
            label_names=train.label_names,
            pieces=assemble(
                self.asked_template(train.label_names, to_train=True),
                train.label_names,
                tokenizer,
                first_token_decides=True,
            ),
            settings=self.reading(),
        )
        prompt.check_room(checkpoint)
        return checkpoint, tokenizer, prompt

    def _ask(self, prompt: LabelPrompt, tokenizer: TextTokenizer, rows: Dataset) -> AskedRows:
        return ask_rows(prompt, tokenizer, rows, each=self.questions == "each", seed=self.seed)

    def _identity(self, checkpoint: Path, prompt: LabelPrompt) -> Identity:
        return Identity(
            options=self,
            facts={
                "label_names": prompt.label_names,
                "prompt_sha256": prompt.sha256,
                "base_sha256": weights_sha256(checkpoint),
            },
        )

    def _judging_before(self, scorer: TunedScorer, train: Dataset) -> TunedScorer:
        rows = draw_rows(
            train, shown=0, labelled=0, unlabelled=self.calibration_texts, seed=self.seed
        )
        judging = scorer.judging_before()
        return judging.judging_before(learn_calibration("auto", rows, judging.base_scores))


def _check_labels(train: Dataset) -> None:
    missing = [label for label in train.label_names if label not in train.labels]
    if missing:
        raise TrainingError(
            f"Expected training rows of every label, but none has {missing[0]!r}, so it could "
            "not be learned. Add rows of it, or leave the label out."
        )
