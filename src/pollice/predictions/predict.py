"""From texts to the predictions table, with a predictor.

Knows nothing about models, and nothing about metrics.
"""

from collections.abc import Sequence

import numpy as np

from pollice.predictions.predictor import FloatArray, Predictor, Scores
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
    parts: list[Scores] = []
    with stage(description, total=len(asked)) as advance:
        for chunk in in_chunks([texts[row] for row in asked], advance):
            parts.append(predictor.score(chunk))
            release_memory()

    def placed(columns: Sequence[FloatArray]) -> FloatArray:
        table = np.full((len(texts), len(predictor.label_names)), np.nan)
        if columns:
            table[asked] = np.concatenate(columns)
        return table

    tokens, truncated = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.bool_)
    if parts:
        tokens[asked] = np.concatenate([part.tokens for part in parts])
        truncated[asked] = np.concatenate([part.truncated for part in parts])
    variants = parts[0].variants if parts else {}
    return Predictions(
        ids=tuple(str(row) for row in range(len(texts))) if ids is None else tuple(ids),
        label_names=predictor.label_names,
        probabilities=placed([part.probabilities for part in parts]),
        gold=None if gold is None else tuple(gold),
        tokens=tokens,
        truncated=truncated,
        variants={name: placed([part.variants[name] for part in parts]) for name in variants},
    )
