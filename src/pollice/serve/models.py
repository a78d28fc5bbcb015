"""The models that are served, by name: trained predictors, and checkpoints that are asked.

Knows nothing about HTTP, nor about any wire format.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pollice.catalogue.entries import checkpoint_names
from pollice.catalogue.hub import HUB_PREFIX
from pollice.errors import OptionError, UserError, did_you_mean
from pollice.models.pretrained.names import CONFIG
from pollice.runs.asking import AskedQuestion, Asker, TypedQuestion
from pollice.runs.folder import MethodFolder
from pollice.runs.predictors import load_predictor
from pollice.serve.limits import Limits
from pollice.serve.metrics import Metrics
from pollice.serve.refusals import Refused, check_characters, too_late
from pollice.serve.turns import Turns
from pollice.serve.worker import Answer, Judge, Worker

_TRUTH = ({"no", "yes"}, {"false", "true"})
"""The labels of a predictor that says whether something is so, in small letters."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A predictor, which answers for its own labels alone."""

    predictor: Judge

    @property
    def label_names(self) -> tuple[str, ...]:
        """Its labels."""
        return self.predictor.label_names

    def judge_of(self, question: TypedQuestion) -> Judge:
        """Return what answers a typed question.

        Raises:
            Refused: the options are not the predictor's labels.
        """
        if set(question.options) == set(self.label_names) and not question.is_statement:
            return self.predictor
        if question.is_statement and {name.casefold() for name in self.label_names} in _TRUTH:
            return self.predictor
        raise Refused(
            422,
            f"Expected a choice among the labels that this model was trained for "
            f"({', '.join(self.label_names)}), but the options are others: ask for these labels, "
            "or ask a causal checkpoint.",
            "refusal",
        )


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A causal checkpoint, which answers any typed question."""

    asker: Asker
    label_names: tuple[str, ...] = ()

    def judge_of(self, question: TypedQuestion) -> Judge:
        """Return what answers a typed question."""
        return AskedQuestion(self.asker, question)


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A model with its name and its worker."""

    name: str
    content: Trained | Asked
    worker: Worker

    @property
    def label_names(self) -> tuple[str, ...]:
        """Its labels; none if it has to be asked a question."""
        return self.content.label_names

    @property
    def judge(self) -> Judge:
        """Return what gives texts this model's own labels.

        Raises:
            Refused: it has none: it must be asked a question.
        """
        if isinstance(self.content, Trained):
            return self.content.predictor
        raise Refused(
            422,
            f"Expected a trained predictor for a text without a question, but {self.name} is a "
            "checkpoint that has to be asked: use /v1/decisions or /v1/systemone.",
            "invalid",
        )


class Service:
    """All that is served, with what is counted and limited.

    Args:
        contents: The models by name; the first answers where a format names none.
        limits: What a call and the whole may use.
        abstain_below: An answer whose highest probability is below abstains; None: none does.
        failures: The names that could not be loaded, each with the reason.
        threads: The threads that one model uses while it judges.
    """

    def __init__(
        self,
        contents: Mapping[str, Trained | Asked],
        *,
        limits: Limits | None = None,
        abstain_below: float | None = None,
        failures: Mapping[str, str] | None = None,
        threads: int | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.abstain_below = abstain_below
        self.failures = dict(failures or {})
        self.metrics = Metrics()
        self.draining = False
        """Whether a signal came: what is in flight ends, and the service is not ready."""
        self.refuses_calls = False
        """Whether no new call is answered, since the service has stopped taking them."""
        self.in_flight = 0
        """The calls that are being answered, but for those about the service's own state."""
        cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
        self.turns = Turns(max(1, (cores or 1) // (threads or cores or 1)))
        """Held by whoever lets a model work, so that models do not fight for the same cores."""
        self.models = {
            name: ServedModel(
                name=name,
                content=content,
                worker=Worker(name, self.limits, self.metrics, self.turns),
            )
            for name, content in contents.items()
        }

    def start(self) -> None:
        """Start every model's worker."""
        for model in self.models.values():
            model.worker.start()

    def close(self) -> None:
        """End every model's worker."""
        for model in self.models.values():
            model.worker.close()

    def find(self, name: str | None) -> ServedModel:
        """Return a model; None: the first one.

        Raises:
            Refused: there is none of this name.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            reason = f"{name[:80]!r} is none of them"
            raise Refused(
                404,
                f"Expected one of the models {', '.join(self.models)}, but {reason}: name one of "
                f"them.{did_you_mean(name[:80], self.models)}",
                "unknown_model",
            )
        return self.models[name]

    async def judge(
        self, model: ServedModel, judge: Judge, texts: Sequence[str]
    ) -> list[Answer | Refused]:
        """Judge texts; a text that cannot be judged fails alone.

        Raises:
            Refused: there are too many texts, or one is too long.
        """
        self.check_texts(texts)
        futures = [asyncio.wrap_future(done) for done in model.worker.submit(judge, texts)]
        try:
            _, late = await asyncio.wait(futures, timeout=self.limits.deadline_seconds + 1)
        except asyncio.CancelledError:  # nobody waits for the answers any more
            for future in futures:
                future.cancel()
            raise
        for future in late:
            future.cancel()
        return [too_late() if future in late else _result(future) for future in futures]

    async def judge_all(
        self, model: ServedModel, judge: Judge, texts: Sequence[str]
    ) -> list[Answer]:
        """Judge texts that are answered together or not at all.

        Raises:
            Refused: the first text that cannot be judged, with its number.
        """
        answers = await self.judge(model, judge, texts)
        for number, answer in enumerate(answers):
            if isinstance(answer, Refused):
                raise Refused(
                    answer.status,
                    answer.message if len(texts) == 1 else f"Text {number}: {answer.message}",
                    answer.kind,
                    retry_after=answer.retry_after,
                )
        return [answer for answer in answers if isinstance(answer, Answer)]

    def abstains(self, answer: Answer) -> bool:
        """Tell whether an answer is too unsure to be given."""
        return self.abstain_below is not None and max(answer.probabilities) < self.abstain_below

    async def is_alive(self) -> bool:
        """Tell whether every worker takes texts; each is asked."""
        workers = [model.worker for model in self.models.values()]
        if not all(worker.alive for worker in workers):
            return False
        pings = [asyncio.wrap_future(worker.ping()) for worker in workers]
        _, late = await asyncio.wait(pings, timeout=self.limits.deadline_seconds)
        for ping in late:
            ping.cancel()
        return not late

    def check_texts(self, texts: Sequence[str]) -> None:
        """Refuse no texts, too many of them, and one that is too long.

        Raises:
            Refused: with what is wrong.
        """
        if not texts:
            raise Refused(422, "Expected a text or more, but found none: send one.", "empty")
        if len(texts) > self.limits.texts:
            raise Refused(
                413,
                f"Expected at most {self.limits.texts} texts in a call, but found {len(texts):,}: "
                "send them in several calls.",
                "too_large",
            )
        longest = max(map(len, texts))
        if longest > self.limits.characters:
            raise Refused(
                413,
                f"Expected texts of at most {self.limits.characters:,} characters, but one has "
                f"{longest:,}: cut it.",
                "too_large",
            )
        check_characters(texts)


def _result(future: asyncio.Future[Answer]) -> Answer | Refused:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Refused):
        return error
    raise error


def load_contents(
    names: Sequence[str], texts: Sequence[str] = ()
) -> tuple[dict[str, Trained | Asked], dict[str, str]]:
    """Load models; return them by name, and the reasons of those that cannot be loaded.

    Args:
        names: Folders of predictors or names of checkpoints; ``NAME=`` before it gives a name.
        texts: What calibrates the questions of checkpoints.

    Raises:
        OptionError: two have the same name, or none can be loaded.
    """
    contents: dict[str, Trained | Asked] = {}
    failures: dict[str, str] = {}
    for given in names:
        name, source = _name_and_source(given)
        if name in contents or name in failures:
            raise OptionError(
                f"Expected a name of its own for every model, but two are called {name!r}. Write "
                "NAME=FOLDER for one of them."
            )
        try:
            contents[name] = _load(source, texts)
        except UserError as error:
            failures[name] = str(error)
    if not contents:
        reasons = " ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise OptionError(f"Expected a model that can be loaded, but there is none. {reasons}")
    return contents, failures


def _load(source: str, texts: Sequence[str]) -> Trained | Asked:
    folder = Path(source)
    is_checkpoint = (
        source in checkpoint_names()
        or source.startswith(HUB_PREFIX)
        or folder.suffix == ".gguf"
        or (folder / CONFIG).is_file()
    )
    if is_checkpoint:
        return Asked(asker=Asker(source, texts=texts))
    inner = MethodFolder(folder).predictor
    return Trained(predictor=load_predictor(inner if inner.is_dir() else folder))


def _name_and_source(given: str) -> tuple[str, str]:
    name, separator, source = given.partition("=")
    if separator and name and source and not Path(given).exists():
        return name, source
    path = Path(given)
    plain = path.parent.name if path.name == "predictor" and path.parent.name else path.name
    return plain or given, given
