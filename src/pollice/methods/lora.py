"""Tune a causal language model to answer with the label, by a LoRA adapter."""

from pathlib import Path
from typing import Any

from pydantic.dataclasses import dataclass

from pollice.data.dataset import Dataset
from pollice.errors import TrainingError
from pollice.method import OPTIONS, Method, options_of
from pollice.models.calibrating import learn_calibration
from pollice.models.causal import adapters
from pollice.models.causal.label_prompt import AskingOptions, LabelPrompt
from pollice.models.causal.prompts import assemble
from pollice.models.causal.tuned_scorer import Shipping, TunedModel, TunedScorer
from pollice.models.drawn_rows import draw_rows
from pollice.models.hugging_face.prompt_rows import AskedRows, ask_rows
from pollice.models.hugging_face.sft import Tuning, tune
from pollice.models.hugging_face.tuning import WITHOUT_INFLUENCE, TuningOptions
from pollice.models.pretrained.sources import resolve_checkpoint
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import check_four_bit, load_language_model
from pollice.models.training.optimizers import prepare_optimizer

_CHECKED_TEXTS = 8


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Lora(TuningOptions, AskingOptions, Method):
    """A causal language model, tuned by TRL and PEFT on what `prompt` asks; judged before too."""

    predictor_type = TunedScorer
    work = "train_causal"
    joint = True

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> TunedScorer:
        """Train on the training rows; ``workdir`` gets training.jsonl and the checkpoints.

        Raises:
            TrainingError: a label has no training row.
            CheckpointError: 4-bit weights without CUDA, or no chat template where one is needed.
        """
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
        base = load_language_model(checkpoint, self.reading(), four_bit=self.four_bit)
        model = adapters.attach(base, self.shape, seed=self.seed)
        facts = {
            "trainable_parameters": adapters.trainable_parameters(model),
            **tune(
                model,
                Tuning(
                    options=self,
                    tokenizer=tokenizer,
                    endings=prompt.pieces.endings,
                    train=self._ask(prompt, tokenizer, train),
                    validation=self._ask(prompt, tokenizer, validation),
                    identity=self._identity(checkpoint, prompt),
                    workdir=workdir,
                ),
            ),
        }
        scorer = TunedScorer(
            TunedModel.of(model, checkpoint, four_bit=self.four_bit),
            prompt,
            facts,
            tokenizer=tokenizer,
            shipping=Shipping(
                merge=self.merge, texts=(*validation.texts, *train.texts)[:_CHECKED_TEXTS]
            ),
        )
        return self._judging_before(scorer, train) if self.judge_before else scorer

    def _ask(self, prompt: LabelPrompt, tokenizer: TextTokenizer, rows: Dataset) -> AskedRows:
        return ask_rows(prompt, tokenizer, rows, each=self.questions == "each", seed=self.seed)

    def _identity(self, checkpoint: Path, prompt: LabelPrompt) -> dict[str, Any]:
        options = options_of(self)
        return {
            **{name: options[name] for name in options if name not in WITHOUT_INFLUENCE},
            "label_names": prompt.label_names,
            "prompt_sha256": prompt.sha256,
            "base_sha256": adapters.weights_sha256(checkpoint),
        }

    def _judging_before(self, scorer: TunedScorer, train: Dataset) -> TunedScorer:
        rows = draw_rows(
            train, shown=0, labelled=0, unlabelled=self.calibration_texts, seed=self.seed
        )
        return scorer.judging_before(learn_calibration("auto", rows, scorer.base_scores))


def _check_labels(train: Dataset) -> None:
    missing = [label for label in train.label_names if label not in train.labels]
    if missing:
        raise TrainingError(
            f"Expected training rows of every label, but none has {missing[0]!r}, so it could "
            "not be learned. Add rows of it, or leave the label out."
        )
