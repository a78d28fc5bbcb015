"""What the page for people needs of a service: names, answers as plain values, explanations.

Knows nothing about the page.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pollice.predictions.explain import Explanation, explain
from pollice.predictions.predictor import Predictor
from pollice.serve.models import Service, Trained
from pollice.serve.refusals import Refused

_EXPLAINING = 8
"""At most so many texts wait to be explained."""


class ServiceForPage:
    """A service as its page asks it: with the models that have labels of their own."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._explaining = 0

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
        if self._explaining >= _EXPLAINING:
            raise Refused(
                429,
                f"Expected fewer explanations, but {_EXPLAINING} wait already: try again later.",
                "overloaded",
                retry_after=5,
            )
        self._explaining += 1
        try:
            predictor = cast(Predictor, content.predictor)
            return await asyncio.to_thread(self._explained, predictor, text)
        finally:
            self._explaining -= 1

    def _explained(self, predictor: Predictor, text: str) -> Explanation:
        with self._service.turns:  # not beside a worker: both would fight for the same cores
            return explain(predictor, text)
