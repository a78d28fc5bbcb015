"""Whether methods know anything of the labels: each against always answering the commonest one.

Knows nothing about models, nor about thresholds of abstention: every answer counts.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pollice.judging.metrics import balanced_accuracy, count_answers, majority_column
from pollice.judging.paired import Decision, Discordance, decide, pair_of
from pollice.judging.results import MAJORITY, AgainstMajority
from pollice.predictions.table import Predictions


def compare_with_majority(runs: Mapping[str, Predictions]) -> tuple[AgainstMajority, ...]:
    """Compare every run, whose gold labels are known, with always answering the commonest label.

    A row without an answer counts as wrong.
    """
    counts = {name: _discordance(run) for name, run in runs.items()}
    # A family of tests of its own: the pairs of two methods are corrected apart from these.
    decisions = decide([each.p_value for each in counts.values()])
    return tuple(
        _against_majority(name, run, counts[name], decision)
        for (name, run), decision in zip(runs.items(), decisions, strict=True)
    )


def _gold(run: Predictions) -> NDArray[np.int64]:
    columns = {name: column for column, name in enumerate(run.label_names)}
    return np.array([columns[str(label)] for label in run.gold or ()], np.int64)


def _discordance(run: Predictions) -> Discordance:
    gold = _gold(run)
    # No answer is a negative number, which equals no column: such a row is never right.
    right = run.answers == gold
    majority_right = gold == majority_column(gold, run.label_names)
    return Discordance(
        wins=int((right & ~majority_right).sum()),
        losses=int((majority_right & ~right).sum()),
        rows=len(run),
    )


def _against_majority(
    name: str, run: Predictions, counts: Discordance, decision: Decision
) -> AgainstMajority:
    gold, labels = _gold(run), len(run.label_names)
    confusion = count_answers(gold, np.where(run.answers < 0, labels, run.answers), labels)
    balanced, interval = balanced_accuracy(confusion)
    answered = confusion[:, :-1].sum(axis=0)
    # Ties go by name, since the order of the columns differs between tables of one comparison.
    commonest = min(range(labels), key=lambda column: (-answered[column], run.label_names[column]))
    majority = majority_column(gold, run.label_names)
    return AgainstMajority(
        pair=pair_of(name, MAJORITY, counts, decision),
        rows=len(run),
        label=run.label_names[majority],
        accuracy=float(np.trace(confusion) / len(run)),
        majority_accuracy=float((gold == majority).mean()),
        balanced_accuracy=balanced,
        balanced_accuracy_interval=interval,
        # Only labels that have a row count, as in the balanced accuracy that this is held against.
        guessing=1 / int((confusion.sum(axis=1) > 0).sum()),
        commonest_answer=run.label_names[commonest] if answered.any() else None,
        commonest_answer_rows=int(answered[commonest]),
    )
