"""From texts to the predictions table, with a predictor.

Knows nothing about models, and nothing about metrics.
"""

from collections.abc import Callable, Sequence

import numpy as np

from pollice.predictions.predictor import FloatArray, Predictor, Scores
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
    gold: Sequence[str | None] | None = None,
    description: str = "judging",
    if_stopped: IfStopped | None = None,
) -> Predictions:
    """Judge every text; return the predictions table, in the order of the texts.

    An empty text, or one of nothing but blanks, has no answer: its probabilities are NaN.
    ``if_stopped`` may keep the rows that were judged before a signal came, if there are any.
    """
    names = tuple(str(row) for row in range(len(texts))) if ids is None else tuple(ids)
    asked = [row for row, text in enumerate(texts) if text.strip()]
    parts: list[Scores] = []
    try:
        with stage(description, total=len(asked)) as advance:
            for chunk in in_chunks([texts[row] for row in asked], advance):
                parts.append(predictor.score(chunk))
                release_memory()
    except KeyboardInterrupt as stop:
        done = sum(len(part.tokens) for part in parts)
        if if_stopped is not None and done:
            # Up to the last text that was judged, so that empty ones before it keep their place.
            rows = asked[done - 1] + 1
            told = None if gold is None else gold[:rows]
            if_stopped(
                _joined(predictor.label_names, parts, asked[:done], names[:rows], told), stop
            )
        raise
    return _joined(predictor.label_names, parts, asked, names, gold)


def _joined(
    label_names: tuple[str, ...],
    parts: Sequence[Scores],
    asked: Sequence[int],
    ids: tuple[str, ...],
    gold: Sequence[str | None] | None,
) -> Predictions:
    """Return the table of all rows; those that were not asked have no answer."""

    def placed(columns: Sequence[FloatArray]) -> FloatArray:
        table = np.full((len(ids), len(label_names)), np.nan)
        if columns:
            table[asked] = np.concatenate(columns)
        return table

    tokens, truncated = np.zeros(len(ids), np.int64), np.zeros(len(ids), np.bool_)
    if parts:
        tokens[asked] = np.concatenate([part.tokens for part in parts])
        truncated[asked] = np.concatenate([part.truncated for part in parts])
    variants = parts[0].variants if parts else {}
    return Predictions(
        ids=ids,
        label_names=label_names,
        probabilities=placed([part.probabilities for part in parts]),
        gold=None if gold is None else tuple(gold),
        tokens=tokens,
        truncated=truncated,
        variants={name: placed([part.variants[name] for part in parts]) for name in variants},
    )
