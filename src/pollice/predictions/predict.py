"""From texts to the predictions table, with a predictor.

Knows nothing about models, and nothing about metrics.
"""

from collections.abc import Sequence

import numpy as np

from pollice.predictions.predictor import FloatArray, Predictor
from pollice.predictions.table import Predictions
from pollice.system.measuring import release_memory
from pollice.system.progress import in_chunks, stage


def predict(
    predictor: Predictor,
    texts: Sequence[str],
    *,
    ids: Sequence[str] | None = None,
    gold: Sequence[str | None] | None = None,
    description: str = "judging",
) -> Predictions:
    """Judge every text; return the predictions table, in the order of the texts.

    An empty text, or one of nothing but blanks, has no answer: its probabilities are NaN.
    """
    asked = [row for row, text in enumerate(texts) if text.strip()]
    with stage(description, total=len(asked)) as advance:
        parts = []
        for chunk in in_chunks([texts[row] for row in asked], advance):
            parts.append(predictor.score(chunk))
            release_memory()
    labels = len(predictor.label_names)
    variants = parts[0].variants if parts else {}

    def placed(columns: Sequence[FloatArray]) -> FloatArray:
        table = np.full((len(texts), labels), np.nan)
        if columns:
            table[asked] = np.concatenate(columns)
        return table

    tokens, truncated = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
    if parts:
        tokens[asked] = np.concatenate([part.tokens for part in parts])
        truncated[asked] = np.concatenate([part.truncated for part in parts])
    return Predictions(
        ids=tuple(ids) if ids is not None else tuple(str(row) for row in range(len(texts))),
        label_names=predictor.label_names,
        probabilities=placed([part.probabilities for part in parts]),
        gold=tuple(gold) if gold is not None else None,
        tokens=tokens,
        truncated=truncated,
        variants={name: placed([part.variants[name] for part in parts]) for name in variants},
    )
