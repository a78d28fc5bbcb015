"""How a report says things: numbers, sentences and the glossary.

Knows nothing about terminals, Markdown or HTML.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pollice.judging.metrics import Evaluation
from pollice.judging.results import Pair, Report

NOTHING = "\N{EN DASH}"
_FIGURES_FOR = 3  # more beaten methods than this are named without their figures

_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

VERDICTS: Mapping[str, str] = {
    "better": "is better than",
    "worse": "is worse than",
    "not distinguishable": "cannot be told from",
}

GLOSSARY: Mapping[str, str] = {
    "Accuracy": "The share of test rows answered rightly; a row without an answer counts as wrong.",
    "Interval": (
        "The 95 % interval: if the study were repeated on other test rows of the same kind, about "
        "19 of 20 such intervals would hold the true value (Wilson's for an accuracy, a paired "
        "bootstrap for a difference)."
    ),
    "Points": "Percentage points: 0.912 is 2.0 points above 0.892.",
    "Majority label": (
        "What always answering the commonest label gives: a method near it has learnt nothing."
    ),
    "Log loss": (
        "The average surprise at the true label, where a confident wrong answer costs most; lower "
        "is better, and guessing evenly between two labels gives 0.693."
    ),
    "ECE": (
        "Expected calibration error: how far the stated confidence lies from the share that is "
        "right, averaged over all rows; 0 is perfect."
    ),
    "Macro F1": (
        "For each label the harmonic mean of precision and recall, then the mean over the labels; "
        "it falls when a rare label is neglected."
    ),
    "MCC": (
        "Matthews correlation: 1 when every row is right, 0 for guessing, and fair when the labels "
        "are unbalanced."
    ),
    "ROC AUC": (
        "The chance that a random row of one label is ranked above a random row of the other; 0.5 "
        "is guessing. It does not depend on where the line between the labels is drawn."
    ),
    "McNemar": (
        "A paired test: it looks only at the rows that exactly one of two methods got right, and "
        "asks whether a fair coin could have shared them out so unevenly."
    ),
    "Holm": (
        "A correction for testing many pairs at once: without it, one of twenty comparisons of "
        "equal methods would look like a finding."
    ),
    "p": (
        "How often chance alone would give a difference this large; below 0.05, after Holm, we "
        "say better or worse."
    ),
    "Not distinguishable": (
        "The test set does not show which of the two is better; that is not a proof of equality."
    ),
    "Coverage": "The share of test rows that a method answered at all.",
    "Label canary": (
        "A second fit, on shuffled labels: what still beats chance by a one-sided exact binomial "
        "test, p below 0.01, twice in a row, has seen the test labels. Chance is the share of rows "
        "that the same answers would get right in another order."
    ),
    "Flip rate": (
        "How often a sentence put into a rightly judged text makes the method answer the wrong "
        "label that the sentence asks for."
    ),
    "Planned": (
        "The peak of memory that was computed before anything was loaded, for the GPU where one is "
        "used."
    ),
    "Cut": "A row longer than the method can read, of which a part was left out.",
}


def visible(text: str) -> str:
    """Return text that can be written as UTF-8 and cannot steer a terminal or a page.

    Control characters become their pictures (U+2400 on); the rest of what has no shape,
    such as lone surrogates and bidirectional overrides, becomes U+FFFD.
    """
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNSEEN.sub(lambda found: _picture(ord(found[0])), plain)


def _picture(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else "\ufffd"


def one_line(text: str) -> str:
    """Return visible text without line breaks."""
    return " ".join(visible(text).split())


def share(value: float | None) -> str:
    """Return a proportion, a loss or a score with three decimals."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.3f}"


def interval(bounds: tuple[float, float]) -> str:
    """Return bounds of a proportion such as ``[0.884, 0.934]``."""
    return f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"


def accuracy(evaluation: Evaluation) -> str:
    """Return an accuracy with its interval."""
    return f"{share(evaluation.accuracy)} {interval(evaluation.accuracy_interval)}"


def count(value: int) -> str:
    """Return a whole number with thousands separated."""
    return f"{value:,}"


def quantity(value: float) -> str:
    """Return seconds, rows a second or MiB to about two figures."""
    if not math.isfinite(value):
        return NOTHING
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def points(difference: float, *, signed: bool = True) -> str:
    """Return a difference of proportions in percentage points."""
    written = f"{difference * 100:+.1f}" if signed else f"{difference * 100:.1f}"
    if float(written) == 0:
        return "0.0"
    return written.replace("-", "\N{MINUS SIGN}")


def difference(pair: Pair) -> str:
    """Return a pair's difference and interval such as ``+4.2 [1.8, 6.6]``."""
    low, high = (points(bound, signed=False) for bound in pair.interval)
    return f"{points(pair.difference)} [{low}, {high}]"


def probability(p: float) -> str:
    """Return a p-value such as ``0.002`` or ``<0.001``."""
    if p < 0.001:
        return "<0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def p_value(p: float) -> str:
    """Return a p-value within a sentence such as ``p = 0.002`` or ``p < 0.001``."""
    written = probability(p)
    return f"p < {written[1:]}" if written.startswith("<") else f"p = {written}"


def listed(names: Iterable[str]) -> str:
    """Return ``a, b and c``."""
    every = list(names)
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}"


def headline(report: Report) -> str:
    """Return the conclusion in plain words: the best method and what can be said of it."""
    return " ".join(conclusions(report))


def conclusions(report: Report) -> tuple[str, ...]:
    """Return the sentences of the headline."""
    best = report.best
    scored = f"{accuracy(best.evaluation)} of {count(best.evaluation.rows)} test rows."
    sentences = [f"Best: {best.name}, {scored}" if report.pairs else f"{best.name}: {scored}"]
    if report.pairs:
        sentences.append(_standing(report.pairs_of_best))
    sentences += _quickest(report)
    sentences.append(_against_majority(report))
    sentences += _leaks(report)
    return tuple(map(one_line, sentences))


def resolution(report: Report) -> str:
    """Return what the test set can show: the smallest difference that it can tell."""
    smallest = points(report.comparison.smallest_detectable_difference, signed=False)
    if not report.pairs:
        return (
            f"A second method on these {count(report.comparison.rows)} test rows could be told "
            f"from this one if their accuracies differ by about {smallest} points or more."
        )
    return (
        f"This test set can tell methods apart that differ by {smallest} points or more; a true "
        "difference of just that size shows about every second time only."
    )


def _standing(pairs: Sequence[Pair]) -> str:
    beaten = [pair for pair in pairs if pair.verdict == "better"]
    level = [pair.b for pair in pairs if pair.verdict == "not distinguishable"]
    clauses = []
    if beaten:
        clauses.append(f"better than {listed(_beaten(pair, len(beaten)) for pair in beaten)}")
    if level:
        clauses.append(f"not distinguishable from {listed(level)}")
    return f"It is {' and '.join(clauses)}."


def _beaten(pair: Pair, beaten: int) -> str:
    if beaten > _FIGURES_FOR:
        return pair.b
    amount, _, bounds = difference(pair).partition(" ")
    return f"{pair.b} ({amount} points {bounds}, {p_value(pair.p_adjusted)})"


def _quickest(report: Report) -> list[str]:
    level = {pair.b for pair in report.pairs_of_best if pair.verdict == "not distinguishable"}
    if not level:
        return []
    tied = [method for method in report.ranked if method.name in level | {report.best.name}]
    quickest = max(tied, key=lambda method: method.cost.predict_rows_per_second)
    speed = quantity(quickest.cost.predict_rows_per_second)
    return [
        f"Among these and {report.best.name}, {quickest.name} answers fastest ({speed} rows/s)."
    ]


def _against_majority(report: Report) -> str:
    majority = share(report.majority_accuracy)
    best = report.best.evaluation
    if best.abstain_below is not None or best.accuracy_interval[0] > report.majority_accuracy:
        return f"Always answering the commonest label gives {majority}."
    return (
        f"But always answering the commonest label gives {majority}, so this test set does not "
        "show that any method has learnt anything."
    )


def _leaks(report: Report) -> list[str]:
    leaking = [method.name for method in report.ranked if method.canary and method.canary.leaking]
    if not leaking:
        return []
    return [f"But do not trust {listed(leaking)}: shuffled labels were no hindrance."]


def silences(report: Report) -> tuple[str, ...]:
    """Return one sentence for each method that left rows unanswered of its own accord."""
    return tuple(
        f"{one_line(method.name)} gave no answer for {_unanswered(method.evaluation)} of "
        f"{count(method.evaluation.rows)} rows, which count as wrong; of those it answered, "
        f"{share(method.evaluation.answered_accuracy)} are right."
        for method in report.ranked
        if method.evaluation.coverage < 1 and method.evaluation.abstain_below is None
    )


def changes_to_fit(report: Report) -> tuple[str, ...]:
    """Return one sentence for each method that was changed so that it fits into memory."""
    return tuple(
        f"{one_line(method.name)} was run with {_options(method.cost.memory_changes)} to fit into "
        "memory, which leaves its numbers as they are but for rounding."
        for method in report.ranked
        if method.cost.memory_changes
    )


def _options(changes: Mapping[str, Any]) -> str:
    return listed(f"{name} = {value}" for name, value in changes.items())


def _unanswered(evaluation: Evaluation) -> str:
    return count(round((1 - evaluation.coverage) * evaluation.rows))


def cutting(report: Report) -> str:
    """Return how many methods had to cut test rows."""
    cut = [method for method in report.methods if method.evaluation.truncated_rows]
    if not cut:
        return "No method cut a test row: every text was read whole."
    return (
        f"{len(cut)} of {len(report.methods)} methods read some test rows only in part. "
        "Much lower accuracy on many cut rows means that what was left out mattered."
    )
