"""Sentences on what was not read whole, and on rows and labels without an answer.

Knows nothing about pages.
"""

from collections.abc import Sequence

from pollice.errors import counted
from pollice.judging.metrics import Evaluation
from pollice.judging.results import MethodReport, Report
from pollice.report.wording import count, listed, share
from pollice.system.plain_text import one_line

_HARDLY = 0.1  # so many answers for each row of a label, or fewer, are hardly any


def silences(report: Report) -> tuple[str, ...]:
    """Return sentences on rows without probabilities, ties, and labels that no row gets."""
    return tuple(
        f"{one_line(method.name)} {said}"
        for method in report.ranked
        for said in (
            _unanswered(method.evaluation),
            _tied(method.evaluation),
            _never_answered(method.evaluation),
        )
        if said
    )


def _unanswered(evaluation: Evaluation) -> str:
    silent = evaluation.rows - evaluation.scored_rows
    if not silent:
        return ""
    rows = (
        f"for {count(silent)} of {counted(evaluation.rows, 'row')}, which "
        f"{'counts' if silent == 1 else 'count'} as wrong"
    )
    if evaluation.abstain_below is not None:
        return f"gave no probabilities {rows}; log loss, ECE and ROC AUC are of the others."
    return (
        f"gave no answer {rows}; of those it answered, {share(evaluation.answered_accuracy)} are "
        "right, and log loss, ECE and ROC AUC are of those alone."
    )


def _tied(evaluation: Evaluation) -> str:
    if not evaluation.tied_rows:
        return ""
    return (
        f"gave its highest probability to several labels in {count(evaluation.tied_rows)} of "
        f"{counted(evaluation.rows, 'row')}; such a row is answered with the first of them by name."
    )


def _never_answered(evaluation: Evaluation) -> str:
    """Name the labels that occur and are (almost) never answered, where there are several.

    The accuracy hides it where such a label is rare, as the middle of a scale often is.
    """
    if len(evaluation.label_names) < 3:  # of two, the comparison with the majority tells it
        return ""
    scale = evaluation.ordinal.scale if evaluation.ordinal else tuple(evaluation.per_label)
    answered = [sum(column) for column in zip(*evaluation.confusion, strict=True)]
    named = []
    for name in scale:
        column = evaluation.label_names.index(name)
        rows = evaluation.per_label[name].support
        if rows and answered[column] <= _HARDLY * rows:
            right = evaluation.confusion[column][column]
            named.append(f"{one_line(name)} ({count(right)} of {counted(rows, 'row', 'rows')})")
    if not named:
        return ""
    return (
        f"never or hardly ever answers {listed(named)}; in brackets, how many of the rows of such "
        "a label it has right."
    )


def cutting(report: Report) -> str:
    """Return how many methods had to cut test rows, as far as that is known."""
    told = [each for each in report.methods if each.evaluation.truncated_rows is not None]
    cut = [method for method in told if method.evaluation.truncated_rows]
    untold = listed(each.name for each in report.methods if each not in told)
    if untold:
        return (
            f"Whether test rows were cut is unknown of {one_line(untold)}: the predictions tables "
            f"have no column truncated.{_cut_of_others(cut, told)}"
        )
    if not cut:
        return "No method cut a test row: every text was read whole."
    return (
        f"{len(cut)} of {counted(len(report.methods), 'method')} read some test rows only in part. "
        "Much lower accuracy on many cut rows means that what was left out mattered."
    )


def _cut_of_others(cut: Sequence[MethodReport], told: Sequence[MethodReport]) -> str:
    return f" Of the others, {len(cut)} of {len(told)} cut some." if told else ""
