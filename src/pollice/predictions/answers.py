"""Answers to texts in batches: a repeated text is scored once, and a row that cannot be is told.

Knows nothing about files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import numpy as np

from pollice.predictions.foreign_columns import COLUMN
from pollice.predictions.predictor import Predictor
from pollice.predictions.table import Predictions

JUDGED = "judged"
UNSURE = "unsure"
NO_TEXT = "no text"
MOST_CACHED = 50_000
"""The answers that are remembered: some 20 MB with two labels."""

A = TypeVar("A")

ChooseLabels = Callable[[Predictions], Sequence[str | None]]
"""Given scored texts, returns the label of each, or None for one that is not sure enough."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a predictor says of one text."""

    label: str | None
    probabilities: tuple[float, ...]
    tokens: int
    truncated: bool


@dataclass
class AnswerCache(Generic[A]):
    """Answers to the texts that were scored last; the oldest is forgotten first.

    Which answers it holds depends on the texts alone, in batches as they come, so that a command
    that goes on after a kill scores the same texts side by side as one without.
    """

    limit: int = MOST_CACHED
    _answers: dict[bytes, A] = field(default_factory=dict)

    def find(self, text: str) -> A | None:
        """Return the answer to a text that was scored before."""
        return self._answers.get(_key(text))

    def learn(self, texts: Sequence[str], answers: Sequence[A | None]) -> None:
        """Remember a batch; those without an answer are passed over."""
        for text, answer in zip(texts, answers, strict=True):
            key = _key(text)
            if answer is not None and key not in self._answers:
                self._answers[key] = answer
        while len(self._answers) > self.limit:
            del self._answers[next(iter(self._answers))]


def _key(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def answer_texts(
    predictor: Predictor,
    texts: Sequence[str],
    problems: Mapping[int, str],
    cache: AnswerCache[Answer],
    choose: ChooseLabels,
) -> list[Answer | None]:
    """Return the answer to each text of a batch; None for empty ones and rows with a problem.

    Args:
        predictor: What is asked, once for all new texts.
        texts: The batch.
        problems: Of rows that cannot be judged, by number.
        cache: Where answers are looked for, and kept.
        choose: Gives the labels.
    """
    return answer_rest(lambda new: score_texts(predictor, new, choose), texts, problems, cache)


def answer_rest(
    answer: Callable[[list[str]], Sequence[A]],
    texts: Sequence[str],
    problems: Mapping[int, str],
    cache: AnswerCache[A],
) -> list[A | None]:
    """Return what the cache has for each text of a batch, and ask once for the others.

    Args:
        answer: Gives the answers to texts that the cache does not have; it is not called without.
        texts: The batch.
        problems: Of rows that cannot be judged, by number.
        cache: Where answers are looked for, and kept.

    Returns:
        One for each text; None for empty ones and rows with a problem.
    """
    found: dict[str, A | None] = {
        text: cache.find(text)
        for row, text in enumerate(texts)
        if text.strip() and row not in problems
    }
    new = [text for text, known in found.items() if known is None]
    if new:
        found |= zip(new, answer(new), strict=True)
    answers = [found.get(text) if row not in problems else None for row, text in enumerate(texts)]
    cache.learn(texts, answers)
    return answers


def score_texts(predictor: Predictor, texts: Sequence[str], choose: ChooseLabels) -> list[Answer]:
    """Return a predictor's answer to each text, all scored side by side."""
    scores = predictor.score(texts)
    table = Predictions(
        ids=tuple(map(str, range(len(texts)))),
        label_names=tuple(predictor.label_names),
        probabilities=np.asarray(scores.probabilities, np.float64),
        tokens=np.asarray(scores.tokens),
        truncated=np.asarray(scores.truncated),
    )
    rows = zip(
        choose(table),
        table.probabilities.tolist(),
        table.tokens.tolist(),
        scores.truncated.tolist(),
        strict=True,
    )
    return [Answer(label, tuple(p), tokens, cut) for label, p, tokens, cut in rows]


@dataclass(kw_only=True)
class Tally:
    """Counts of the rows so far."""

    rows: int = 0
    judged: int = 0
    unsure: int = 0
    empty: int = 0
    bad: int = 0
    cut: int = 0
    unread: int = 0
    known: int = 0
    known_right: int = 0
    known_silent: int = 0
    first_problem: str | None = None

    def add(
        self,
        answers: Sequence[Answer | None],
        problems: Mapping[int, str],
        gold: Sequence[str | None] | None,
    ) -> None:
        """Count the rows of a batch."""
        self.rows += len(answers)
        self.bad += len(problems)
        if problems and self.first_problem is None:
            self.first_problem = next(iter(problems.values()))
        told = [answer for answer in answers if answer is not None]
        self.judged += len(told)
        self.empty += len(answers) - len(told) - len(problems)
        self.unsure += sum(answer.label is None for answer in told)
        self.cut += sum(answer.truncated for answer in told)
        self.unread += sum(not answer.tokens for answer in told)
        for right, answer in zip(gold or (), answers, strict=False):
            if right is not None:
                self.known += 1
                self.known_right += answer is not None and answer.label == right
                self.known_silent += answer is None or answer.label is None


@dataclass(frozen=True, kw_only=True)
class OutputColumns:
    """The columns that are written: all of the input, and those of the answers."""

    given: tuple[str, ...]
    """The columns of the input."""
    label_names: tuple[str, ...]
    own_id: bool
    """Whether the column ``id`` of the input holds the ids that are written."""
    with_gold: bool

    @property
    def kept(self) -> dict[str, str]:
        """Of each column of the input, its name in the output."""
        taken = {*self.added} - ({"id"} if self.own_id else set())
        given, shown_before = set(self.given), set[str]()
        names: dict[str, str] = {}
        for name in self.given:
            shown = f"input:{name}" if name in taken else name
            while shown in shown_before or (shown != name and shown in given):
                shown = f"input:{shown}"
            names[name] = shown
            shown_before.add(shown)
        return names

    @property
    def answered(self) -> tuple[str, ...]:
        """The columns of an answer."""
        probabilities = [f"{COLUMN}{name}" for name in self.label_names]
        return ("label", "probability", *probabilities, "tokens", "truncated", "status")

    @property
    def added(self) -> tuple[str, ...]:
        """All columns that the input does not have."""
        return ("id", *(("gold",) if self.with_gold else ()), *self.answered)

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of the output in their order."""
        own = () if self.own_id else ("id",)
        gold = ("gold",) if self.with_gold else ()
        return (*own, *self.kept.values(), *gold, *self.answered)

    def join(
        self,
        columns: Mapping[str, Any],
        ids: Sequence[str | None],
        gold: Sequence[str | None] | None,
        answers: Sequence[Answer | None],
        problems: Mapping[int, str],
    ) -> dict[str, Any]:
        """Return a batch with all columns of the output; probabilities are not rounded."""
        silent = [None] * len(self.label_names)
        rows = [silent if answer is None else answer.probabilities for answer in answers]
        joined = {shown: columns[name] for name, shown in self.kept.items()}
        if not self.own_id:
            joined = {"id": list(ids), **joined}
        if self.with_gold:
            joined["gold"] = list(gold or [None] * len(answers))
        joined["label"] = [answer and answer.label for answer in answers]
        joined["probability"] = [answer and max(answer.probabilities) for answer in answers]
        for place, name in enumerate(self.label_names):
            joined[f"{COLUMN}{name}"] = [row[place] for row in rows]
        joined["tokens"] = [0 if answer is None else answer.tokens for answer in answers]
        joined["truncated"] = [answer is not None and answer.truncated for answer in answers]
        joined["status"] = [
            _status(answer, problems.get(row)) for row, answer in enumerate(answers)
        ]
        return joined


def _status(answer: Answer | None, problem: str | None) -> str:
    if problem is not None:
        return f"bad row: {problem}"
    if answer is None:
        return NO_TEXT
    return JUDGED if answer.label is not None else UNSURE
