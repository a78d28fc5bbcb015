"""A method of someone else's, for tests of a served process: words of a text say what happens.

``boom`` fails, ``die`` ends the thread that judges, ``slow`` takes 50 ms, and ``wait`` waits for
the file that the environment variable GATE names.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from pydantic.dataclasses import dataclass

from pollice.data.dataset import Dataset
from pollice.method import OPTIONS, Method
from pollice.predictions.predictor import Predictor, Scores

GATE = "POLLICE_TEST_GATE"
SLOW = 0.05
_LONGEST_WAIT = 30.0


class Scripted(Predictor):
    """Judges by the number of letters."""

    label_names = ("long", "short")

    def score(self, texts: Sequence[str]) -> Scores:
        if any("die" in text.split() for text in texts):
            raise SystemExit(1)
        if any("boom" in text.split() for text in texts):
            raise ValueError("boom")
        time.sleep(SLOW * sum("slow" in text.split() for text in texts))
        if any("wait" in text.split() for text in texts):
            _wait_for(Path(os.environ[GATE]))
        lengths = np.array([len(text) for text in texts])
        shares = 1 / (1 + lengths)
        return Scores(
            probabilities=np.stack([1 - shares, shares], axis=1),
            tokens=lengths,
            truncated=np.zeros(len(texts), np.bool_),
        )

    def save(self, folder: Path) -> None:
        (folder / "scripted.json").write_text("{}", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        return cls()


def _wait_for(gate: Path) -> None:
    gate.with_name("waiting").touch()
    end = time.monotonic() + _LONGEST_WAIT
    while not gate.exists() and time.monotonic() < end:
        time.sleep(0.01)


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class ScriptedMethod(Method):
    """Learns nothing."""

    predictor_type = Scripted

    seed: int = 0
    """Draws nothing."""

    def fit(self, train: Dataset, validation: Dataset, *, workdir: Path) -> Scripted:
        return Scripted()
