"""The canary: labels that say nothing, and whether somebody beats chance with them all the same.

Knows nothing about methods: who fits them is `pollice.runs.probes`.
"""

from dataclasses import replace

import numpy as np
from scipy.special import bdtrc

from pollice.data.dataset import Dataset
from pollice.judging.metrics import evaluate
from pollice.judging.results import Canary
from pollice.predictions.table import Predictions

_LEVEL = 0.01


def judge_canary(predictions: Predictions) -> Canary:
    """Return whether answers that should be independent of the gold labels are not."""
    evaluation = evaluate(predictions)
    confusion = np.array(evaluation.confusion)
    shares_gold = confusion.sum(axis=1) / evaluation.rows
    # Without the column "no answer", which is never right and adds nothing to chance.
    shares_predicted = confusion[:, :-1].sum(axis=0) / evaluation.rows
    chance = float(np.clip(shares_gold @ shares_predicted, 0, 1))
    right = int(np.trace(confusion))
    # bdtrc(k, ...) is the chance of more than k, so `right` itself needs k = right - 1.
    p_value = float(bdtrc(right - 1, evaluation.rows, chance)) if right else 1.0
    return Canary(
        applicable=True,
        accuracy=evaluation.accuracy,
        chance=chance,
        p_value=p_value,
        leaking=p_value < _LEVEL,
    )


def shuffle_labels(rows: Dataset, draw: np.random.Generator) -> Dataset:
    """Return the rows with shuffled labels, of which each true label's rows get the same mixture.

    After plain shuffling the labels agree with the true ones a little more or less than by chance,
    and a method that learns well from noisy labels would find that. So the rows lie sorted by
    their true label, in random order within it, and the labels are dealt out to them as cards
    are: each comes again at even distances.
    """
    codes = np.array([rows.label_names.index(label) for label in rows.labels], np.int64)
    counts = np.bincount(codes, minlength=len(rows.label_names))
    # Each label's cards lie at even distances on [0, 1), from a random start: sorting deals them.
    turns = np.concatenate([(np.arange(count) + draw.random()) / count for count in counts])
    dealt = np.repeat(np.arange(len(counts)), counts)[np.argsort(turns, kind="stable")]
    order = draw.permutation(len(rows))
    shuffled = np.empty_like(codes)
    # Stable, so the random order stays within each true label.
    shuffled[order[np.argsort(codes[order], kind="stable")]] = dealt
    return replace(rows, labels=tuple(rows.label_names[code] for code in shuffled))
