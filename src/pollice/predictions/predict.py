"""From texts to the predictions table, with a predictor.

Knows nothing about models, and nothing about metrics.
"""

from collections.abc import Sequence

import numpy as np

from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.table import Predictions
from pollice.system.measuring import release_memory
from pollice.system.progress import in_chunks, stage


def predict(
    predictor: Predictor,
    texts: Sequence[str],
    *,
    ids: Sequence[str] | None = None,
    gold: Sequence[str] | None = None,
    description: str = "judging",
) -> Predictions:
    """Judge every text; return the predictions table, in the order of the texts."""
    with stage(description, total=len(texts)) as advance:
        parts = []
        for chunk in in_chunks(texts, advance):
            parts.append(predictor.score(chunk))
            release_memory()
    labels = len(predictor.label_names)
    empty = Scores(
        probabilities=np.zeros((0, labels)),
        tokens=np.zeros(0, np.int64),
        truncated=np.zeros(0, np.bool_),
    )
    variants = parts[0].variants if parts else {}
    return Predictions(
        ids=tuple(ids) if ids is not None else tuple(str(row) for row in range(len(texts))),
        label_names=predictor.label_names,
        probabilities=np.concatenate([part.probabilities for part in parts or [empty]]),
        gold=tuple(gold) if gold is not None else None,
        tokens=np.concatenate([part.tokens for part in parts or [empty]]),
        truncated=np.concatenate([part.truncated for part in parts or [empty]]),
        variants={
            name: np.concatenate([part.variants[name] for part in parts]) for name in variants
        },
    )
