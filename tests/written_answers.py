"""A predictions table as `pollice predict` writes it, without the texts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pollice.predictions.answers import Answer, OutputColumns
from pollice.predictions.part_formats import part_format
from pollice.predictions.table import Predictions


def write_answers(
    predictions: Predictions,
    path: Path,
    suffix: str,
    labels: Sequence[str | None] | None = None,
    *,
    raw_cells: bool = False,
) -> None:
    """Write one part and join it; rows of NaN have no answer."""
    rows = zip(
        labels or predictions.predicted,
        predictions.probabilities.tolist(),
        predictions.tokens.tolist(),
        [False] * len(predictions) if predictions.truncated is None else predictions.truncated,
        strict=True,
    )
    answers = [
        None if np.isnan(p).any() else Answer(label, tuple(p), tokens, bool(cut))
        for label, p, tokens, cut in rows
    ]
    columns = OutputColumns(
        given=(),
        label_names=predictions.label_names,
        own_id=False,
        with_gold=predictions.gold is not None,
    )
    form = part_format(suffix, columns, None, len(predictions), raw_cells=raw_cells)
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        writer = form.open(file)
        writer.add(columns.join({}, predictions.ids, predictions.gold, answers, {}))
        writer.close()
    form.join([part], path)
    part.unlink()
