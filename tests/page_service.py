"""A service for tests of the page: its two predictors count good and bad words."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from pollice.predictions.explain import Explanation, explain
from pollice.predictions.predictor import Predictor, Scores

POINTS = {"good": 1.5, "great": 2.5, "bad": -1.5, "awful": -2.5}
FAILS = "fail"
LONGEST = 2000


class Counting(Predictor):
    """The log-odds of positive are the sum of the points of a text's words."""

    label_names = ("negative", "positive")

    def score(self, texts: Sequence[str]) -> Scores:
        points = [
            sum(POINTS.get(word, 0.0) for word in re.findall("[a-z]+", text)) for text in texts
        ]
        positive = 1 / (1 + np.exp(-np.array(points)))
        return Scores(
            probabilities=np.stack([1 - positive, positive], axis=1),
            tokens=np.array([len(text) for text in texts]),
            truncated=np.array([len(text) > LONGEST for text in texts]),
        )

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError


class CountingService:
    """Two predictors that count alike; texts that hold the word ``fail`` fail."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self._predictor = Counting()

    def names(self) -> list[str]:
        return ["first", "second"]

    async def judge(self, name: str, texts: Sequence[str]) -> list[Mapping[str, Any]]:
        self.calls.append(len(texts))
        return [self._answer(text) for text in texts]

    def _answer(self, text: str) -> Mapping[str, Any]:
        if FAILS in text:
            return {"error": "This text failed."}
        scores = self._predictor.score([text])
        values = scores.probabilities[0].tolist()
        best = int(np.argmax(values))
        return {
            "label": Counting.label_names[best],
            "probabilities": dict(zip(Counting.label_names, values, strict=True)),
            "truncated": bool(scores.truncated[0]),
            "abstained": max(values) < 0.55,
        }

    async def explain(self, name: str, text: str) -> Explanation:
        return explain(self._predictor, text)
