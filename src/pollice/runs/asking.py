"""Typed questions about texts, asked of one causal checkpoint that is loaded once.

Knows nothing about HTTP, nor about how a question came here.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import Any, cast

import numpy as np

from pollice.data.dataset import Dataset
from pollice.errors import PromptError
from pollice.methods import create_method
from pollice.methods.prompt import Prompt
from pollice.models.causal.label_scorer import LabelScorer
from pollice.models.causal.prompts import without_control_words
from pollice.models.drawn_rows import DrawnRows
from pollice.predictions.predictor import Scores

NO_YES = ("no", "yes")
"""The options of a statement that is true of a text or not."""

_CALIBRATING = 64
"""At most so many texts calibrate a question: they are judged when it is first asked."""
_KEPT = 16
"""So many questions are kept, each with its prefix and calibration."""


@dataclass(frozen=True, kw_only=True)
class TypedQuestion:
    """What is asked about a text: which of some options fits it."""

    options: tuple[str, ...]
    """Two or more; all different."""
    instructions: str = ""
    """What is to be decided; of a statement, the statement itself."""
    descriptions: tuple[tuple[str, str], ...] = ()
    """Options, each with what it means."""
    is_statement: bool = False
    """Whether `instructions` is a statement, and the options say that it is false or true."""


class Asker:
    """A causal checkpoint that answers any typed question; many threads may ask.

    Args:
        checkpoint: A catalogue name, a folder, or hub:owner/name@revision.
        texts: Texts as they will be asked about, which calibrate every question.
        options: Options of the method `prompt`.
        kept: So many questions are kept ready.

    Raises:
        UserError: the checkpoint cannot be used, or an option is wrong.
    """

    def __init__(
        self,
        checkpoint: str,
        *,
        texts: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
        kept: int = _KEPT,
    ) -> None:
        given = {"calibration_texts": _CALIBRATING, **(options or {}), "checkpoint": checkpoint}
        self._prompt = cast(Prompt, create_method("prompt", given))
        draw = np.random.default_rng(self._prompt.seed).permutation(len(texts))
        self._texts = tuple(texts[row] for row in draw[: self._prompt.calibration_texts])
        self._kept = kept
        self._ready: OrderedDict[TypedQuestion, LabelScorer] = OrderedDict()
        self._lock = RLock()
        self._first = self._prompt.build(NO_YES, _rows(NO_YES, ()))

    @property
    def max_tokens(self) -> int:
        """The most tokens of a text that are read."""
        return self._prompt.max_tokens

    def predictor_for(self, question: TypedQuestion) -> LabelScorer:
        """Return what answers a question: kept from before, or made and calibrated now.

        Raises:
            PromptError: the options cannot be told apart, or leave no room for a text.
        """
        with self._lock:
            if question not in self._ready:
                self._ready[question] = self._make(question)
            self._ready.move_to_end(question)
            while len(self._ready) > self._kept:
                self._ready.popitem(last=False)
            return self._ready[question]

    def _make(self, question: TypedQuestion) -> LabelScorer:
        prompt = asked_by(question, self._prompt)
        rows = _rows(question.options, self._texts)
        return prompt.build(question.options, rows, beside=self._first)


@dataclass(frozen=True)
class AskedQuestion:
    """A question of an asker as a judge of texts; equal ones can be judged together."""

    asker: Asker = field(repr=False)
    question: TypedQuestion

    @property
    def label_names(self) -> tuple[str, ...]:
        """The options, in the question's order."""
        return self.question.options

    def score(self, texts: Sequence[str]) -> Scores:
        """Judge texts; a question that is not kept is made first."""
        return self.asker.predictor_for(self.question).score(texts)


def asked_by(question: TypedQuestion, prompt: Prompt) -> Prompt:
    """Return the prompt that asks a question: what `label` and `compare` would ask for it.

    Raises:
        PromptError: there are fewer than two options, or one comes twice.
    """
    if len(set(question.options)) < max(2, len(question.options)):
        raise PromptError(
            "Expected two options or more, all different, but one comes twice or is missing. Name "
            "each once."
        )
    instructions = without_control_words(question.instructions)
    if question.is_statement:
        # A template holds {text} once; braces of the statement must not count.
        statement = instructions.replace("{text}", "{ text }")
        template = (
            f"{{text}}\nStatement: {statement}\nIs the statement true of the text, yes or no? "
            "Answer:"
        )
        return replace(prompt, template=template)
    descriptions = {name: without_control_words(meaning) for name, meaning in question.descriptions}
    return replace(prompt, instructions=instructions, descriptions=descriptions)


def _rows(label_names: tuple[str, ...], texts: tuple[str, ...]) -> DrawnRows:
    none = Dataset(ids=(), texts=(), labels=(), label_names=label_names)
    return DrawnRows(shown=none, labelled=none, unlabelled=texts)
