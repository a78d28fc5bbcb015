"""The wrong answers that a method was surest of.

Knows nothing about models: what moved an answer is found where the predictor is.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pollice.judging.results import Mistake
from pollice.predictions.pieces import Piece
from pollice.predictions.table import Predictions

_MOST = 12


def most_confident_mistakes(
    run: Predictions,
    texts: Mapping[str, str],
    words: Mapping[str, Sequence[Piece]],
    *,
    most: int = _MOST,
) -> tuple[Mistake, ...]:
    """Return the wrong answers with the highest probabilities.

    Args:
        run: The predictions, with gold labels.
        texts: The text of each id.
        words: What moved the answers that were explained, by id.
        most: At most so many.
    """
    wrong = [
        Mistake(
            id=row_id,
            text=texts[row_id],
            gold=gold,
            predicted=predicted,
            probability=float(np.max(probabilities)),
            words=tuple(words.get(row_id, ())),
        )
        for row_id, gold, predicted, probabilities in zip(
            run.ids, run.gold or (), run.predicted, run.probabilities, strict=True
        )
        if predicted is not None and gold is not None and predicted != gold
    ]
    # The id decides between equals, so that the order of the rows does not change a report.
    wrong.sort(key=lambda mistake: (-mistake.probability, mistake.id))
    return tuple(wrong[:most])
