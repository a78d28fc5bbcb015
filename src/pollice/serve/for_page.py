"""What the page for people needs of a service: names, answers as plain values, explanations.

Knows nothing about the page.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, cast

import numpy as np

from pollice.predictions.explain import Explainable, Explanation, explain
from pollice.predictions.pieces import Piece
from pollice.predictions.predictor import Scores
from pollice.serve.models import Service, Trained
from pollice.serve.refusals import Refused
from pollice.serve.turns import Turns

_EXPLAINING = 8
"""At most so many texts wait to be explained."""
_AT_ONCE = 8
"""So many variants of a text are judged before others have their turn."""


class ServiceForPage:
    """A service as its page asks it: with the models that have labels of their own."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._room = threading.Semaphore(_EXPLAINING)

    def names(self) -> list[str]:
        """Return the trained predictors."""
        return [name for name, model in self._service.models.items() if model.label_names]

    async def judge(self, name: str, texts: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """Judge texts; one that cannot be judged has only ``error``."""
        model = self._service.find(name)
        answers = await self._service.judge(model, model.judge, texts)
        return [
            {"error": answer.message}
            if isinstance(answer, Refused)
            else {
                "label": answer.label,
                "probabilities": dict(zip(answer.label_names, answer.probabilities, strict=True)),
                "truncated": answer.truncated,
                "abstained": self._service.abstains(answer),
            }
            for answer in answers
        ]

    async def explain(self, name: str, text: str) -> Explanation:
        """Find which words moved the answer to a text.

        Raises:
            Refused: the model has no labels of its own, or too many texts wait to be explained.
        """
        self._service.check_texts([text])
        content = self._service.find(name).content
        if not isinstance(content, Trained):
            raise Refused(422, "Expected a trained predictor, but this is none.", "invalid")
        if not self._room.acquire(blocking=False):
            raise Refused(
                429,
                f"Expected fewer explanations, but {_EXPLAINING} wait already: try again later.",
                "overloaded",
                retry_after=5,
            )
        predictor = _TakingTurns(cast(Explainable, content.predictor), self._service.turns)
        explained = _begin(lambda: explain(predictor, text))
        # It ends even if the client is gone before, and there is no room for another until then.
        explained.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(explained)


def _begin(work: Callable[[], Explanation]) -> Future[Explanation]:
    """Do work in a thread that does not keep the process from ending, as asyncio's own would."""
    done: Future[Explanation] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # it is raised where the result is waited for
            done.set_exception(error)

    threading.Thread(target=run, name="explain", daemon=True).start()
    return done


class _TakingTurns:
    """A predictor that judges a few texts at a time, so that others come in between.

    Args:
        predictor: What judges.
        turns: Taken for every few texts: beside a worker, both would fight for the same cores.
    """

    def __init__(self, predictor: Explainable, turns: Turns) -> None:
        self.label_names = predictor.label_names
        self._predictor = predictor
        self._turns = turns

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts, some at a time."""
        parts = []
        for start in range(0, len(texts), _AT_ONCE):
            with self._turns:
                parts.append(self._predictor.score(texts[start : start + _AT_ONCE]))
        return Scores(
            probabilities=np.concatenate([part.probabilities for part in parts]),
            tokens=np.concatenate([part.tokens for part in parts]),
            truncated=np.concatenate([part.truncated for part in parts]),
        )

    def word_weights(self, text: str, label: str) -> Sequence[Piece] | None:
        """Return what the predictor says itself."""
        return self._predictor.word_weights(text, label)
