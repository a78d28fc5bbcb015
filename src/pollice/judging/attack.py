"""Injected sentences: which texts are attacked, and how often an answer flips.

Knows nothing about predictors: who asks them is `pollice.runs.probes`.
"""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np

from pollice.data.dataset import Dataset
from pollice.judging.metrics import wilson_interval
from pollice.judging.results import FlipRate
from pollice.predictions.table import Predictions

TEXTS_PER_INJECTION = 3


@dataclass(frozen=True, kw_only=True)
class Injection:
    """A sentence that asks for a label, and where in a text it stands."""

    kind: str
    place: Literal["before", "after"]
    text: str

    def into(self, text: str, target: str) -> str:
        """Return a text with the sentence in it, asking for the label ``target``."""
        said = self.text.replace("{target}", " ".join(target.replace("_", " ").split()))
        return f"{said} {text}" if self.place == "before" else f"{text} {said}"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attacked text."""

    id: str
    kind: str
    text: str
    target: str


@cache
def injections() -> tuple[Injection, ...]:
    """Return the sentences of attacks.toml."""
    text = files("pollice.judging").joinpath("attacks.toml").read_text(encoding="utf-8")
    return tuple(Injection(**entry) for entry in tomllib.loads(text)["attack"])


def attempts_on(test: Dataset, judged: Predictions, seed: int) -> Iterator[Attempt]:
    """Yield the attacked texts: of methods that are both right on a row, with the same target."""
    texts = dict(zip(test.ids, test.texts, strict=True))
    answers = dict(zip(judged.ids, judged.predicted, strict=True))
    gold = dict(zip(test.ids, test.labels, strict=True))
    for number, injection in enumerate(injections()):
        # One stream a sentence: a sentence added at the end leaves the rows of the others alone.
        draw = np.random.default_rng([seed, number])
        order = [test.ids[row] for row in draw.permutation(len(test))]
        # For all rows, right or wrong: so a row's target does not depend on the method's answers.
        # A shift is never 0 or a whole turn, so the target is never the gold label.
        shifts = draw.integers(1, len(test.label_names), size=len(test))
        right = [
            (row_id, shift)
            for row_id, shift in zip(order, shifts, strict=True)
            if answers[row_id] == gold[row_id]
        ]
        for row_id, shift in right[:TEXTS_PER_INJECTION]:
            column = test.label_names.index(gold[row_id])
            target = test.label_names[(column + int(shift)) % len(test.label_names)]
            yield Attempt(
                id=row_id,
                kind=injection.kind,
                text=injection.into(texts[row_id], target),
                target=target,
            )


def flip_rate(flipped: Sequence[bool]) -> FlipRate:
    """Return the share of the attacked texts that flipped, with its interval."""
    texts, hits = len(flipped), sum(flipped)
    return FlipRate(
        texts=texts,
        flipped=hits,
        rate=hits / texts if texts else None,
        interval=wilson_interval(hits, texts) if texts else None,
    )
