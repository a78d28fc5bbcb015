"""From texts to the predictions table, with a predictor.

Knows nothing about models, and nothing about metrics.
"""

from collections.abc import Callable, Sequence

import numpy as np

from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.table import Predictions
from pollice.system.measuring import release_memory
from pollice.system.progress import in_chunks, stage

IfStopped = Callable[[Predictions, KeyboardInterrupt], object]
"""Given the rows that were judged before a signal came, and what it raised."""


def predict(
    predictor: Predictor,
    texts: Sequence[str],
    *,
    ids: Sequence[str] | None = None,
    gold: Sequence[str] | None = None,
    description: str = "judging",
    if_stopped: IfStopped | None = None,
) -> Predictions:
    """Judge every text; return the predictions table, in the order of the texts.

    ``if_stopped`` may keep the rows that were judged before a signal came, if there are any.
    """
    names = tuple(str(row) for row in range(len(texts))) if ids is None else tuple(ids)
    parts: list[Scores] = []
    try:
        with stage(description, total=len(texts)) as advance:
            for chunk in in_chunks(texts, advance):
                parts.append(predictor.score(chunk))
                release_memory()
    except KeyboardInterrupt as stop:
        done = sum(len(part.tokens) for part in parts)
        if if_stopped is not None and done:
            told = None if gold is None else gold[:done]
            if_stopped(_joined(predictor.label_names, parts, names[:done], told), stop)
        raise
    return _joined(predictor.label_names, parts, names, gold)


def _joined(
    label_names: tuple[str, ...],
    parts: Sequence[Scores],
    ids: tuple[str, ...],
    gold: Sequence[str] | None,
) -> Predictions:
    empty = Scores(
        probabilities=np.zeros((0, len(label_names))),
        tokens=np.zeros(0, np.int64),
        truncated=np.zeros(0, np.bool_),
    )
    variants = parts[0].variants if parts else {}
    return Predictions(
        ids=ids,
        label_names=label_names,
        probabilities=np.concatenate([part.probabilities for part in parts or [empty]]),
        gold=None if gold is None else tuple(gold),
        tokens=np.concatenate([part.tokens for part in parts or [empty]]),
        truncated=np.concatenate([part.truncated for part in parts or [empty]]),
        variants={
            name: np.concatenate([part.variants[name] for part in parts]) for name in variants
        },
    )
