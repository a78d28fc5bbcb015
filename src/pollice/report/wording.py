"""How a report says things: numbers, sentences and the glossary.

Knows nothing about terminals, Markdown or HTML.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pollice.errors import counted
from pollice.judging.metrics import Evaluation
from pollice.judging.results import AgainstMajority, MethodReport, Pair, Report
from pollice.system.plain_text import one_line as one_line
from pollice.system.plain_text import visible as visible

NOTHING = "\N{EN DASH}"
UNKNOWN = "unknown"
_FIGURES_FOR = 3  # more methods than this in one sentence are named without their figures
_ONE_ANSWER = 0.9  # a share of the rows above it is nearly all
_MOST_DECIMALS = 6

VERDICTS: Mapping[str, str] = {
    "better": "is better than",
    "worse": "is worse than",
    "not distinguishable": "cannot be told from",
}


def share(value: float | None) -> str:
    """Return a proportion, a loss or a score with three decimals."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.3f}"


def interval(bounds: tuple[float, float]) -> str:
    """Return bounds of a proportion such as ``[0.884, 0.934]``."""
    return f"[{bounds[0]:.3f}, {bounds[1]:.3f}]"


def accuracy(evaluation: Evaluation) -> str:
    """Return an accuracy with its interval."""
    return f"{share(evaluation.accuracy)} {interval(evaluation.accuracy_interval)}"


def count(value: int | None) -> str:
    """Return a whole number with thousands separated; None is not known."""
    return UNKNOWN if value is None else f"{value:,}"


def counted_or_unknown(value: int | None, one: str) -> str:
    """Return a number with its noun, such as ``1 row`` or ``unknown rows``."""
    return f"{UNKNOWN} {one}s" if value is None else counted(value, one)


def quantity(value: float) -> str:
    """Return seconds, rows a second or MiB to about two figures; NaN is not known."""
    if not math.isfinite(value):
        return UNKNOWN
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def points(difference: float, *, signed: bool = True, decimals: int = 1) -> str:
    """Return a difference of proportions in percentage points."""
    sign = "+" if signed else ""
    written = f"{difference * 100:{sign}.{decimals}f}"
    if float(written) == 0:
        return f"{0:.{decimals}f}"
    return written.replace("-", "\N{MINUS SIGN}")


def difference(pair: Pair) -> str:
    """Return a pair's difference and interval such as ``+4.2 [1.8, 6.6]``.

    An interval that excludes 0 has as many decimals as it takes to see that.
    """
    nearest = max(pair.interval[0], -pair.interval[1])
    decimals = 1
    while nearest > 0 and decimals < _MOST_DECIMALS and round(nearest * 100, decimals) == 0:
        decimals += 1
    low, high = (points(bound, signed=False, decimals=decimals) for bound in pair.interval)
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
    if not every:
        return ""
    return every[0] if len(every) == 1 else f"{', '.join(every[:-1])} and {every[-1]}"


def headline(report: Report) -> str:
    """Return the conclusion in plain words: the best method and what can be said of it."""
    return " ".join((*conclusions(report), *warnings(report)))


def conclusions(report: Report) -> tuple[str, ...]:
    """Return the sentences of the headline that are no warnings."""
    best = report.best
    scored = f"accuracy {accuracy(best.evaluation)} on {counted(best.evaluation.rows, 'test row')}."
    sentences = [f"Best: {best.name}, {scored}" if report.pairs else f"{best.name}: {scored}"]
    sentences += _abstaining(best)
    if report.pairs:
        sentences.append(_standing(report.pairs_of_best))
    sentences += _quickest(report)
    sentences += [
        f"{method.name}: {note}"
        for method in report.ranked
        for note in method.facts.get("notes", ())
    ]
    sentences.append(_against_majority(report))
    return tuple(map(one_line, sentences))


def warnings(report: Report) -> tuple[str, ...]:
    """Return a sentence on each method whose figures must not be taken for knowledge."""
    sentences = (
        *_failures(report),
        *_near_chance(report),
        *_below_lexicon(report),
        *_leaks(report),
        *_doubts(report),
        *_unread(report),
    )
    return tuple(map(one_line, sentences))


def _failures(report: Report) -> list[str]:
    return [f"{name} could not be fitted: {why}" for name, why in report.failed.items()]


def _below_lexicon(report: Report) -> list[str]:
    """Name every method that is not shown to be better than a list of words."""
    lexicons = [method.name for method in report.methods if method.method == "lexicon"]
    return [
        f"Not shown to be better than {lexicon}, a list of English words that needs neither labels "
        f"nor a model: {listed(names)}."
        for lexicon in lexicons
        if (
            names := [
                pair.a if pair.b == lexicon else pair.b
                for pair in report.pairs
                if (pair.b == lexicon and pair.verdict != "better") or pair.a == lexicon
            ]
        )
    ]


def _doubts(report: Report) -> list[str]:
    """Return what a method itself says against its answers."""
    return [
        f"{method.name}: {doubt}"
        for method in report.ranked
        for doubt in method.facts.get("warnings", ())
    ]


def _unread(report: Report) -> list[str]:
    """Name every method that knew nothing of some test texts."""
    return [
        f"{method.name} knows nothing of what is in {count(unread)} of "
        f"{count(method.evaluation.rows)} test texts: their labels rest on nothing."
        for method in report.ranked
        if (unread := method.evaluation.unread_rows)
    ]


def _abstaining(best: MethodReport) -> list[str]:
    evaluation = best.evaluation
    if evaluation.abstain_below is None:
        return []
    bounds = evaluation.answered_accuracy_interval
    answered = f"{share(evaluation.coverage)} of the rows"
    if bounds:
        right = f"{share(evaluation.answered_accuracy)} {interval(bounds)}"
        answered += f", and is right on {right} of those"
    return [
        f"Rows with a probability below {evaluation.abstain_below:g} are left unanswered and count "
        f"as wrong there: it answers {answered}."
    ]


def resolution(report: Report) -> str:
    """Return what the test set can show: the smallest difference that it can tell."""
    smallest = report.comparison.smallest_detectable_difference
    written = f"{points(smallest, signed=False)} points or more"
    if not report.pairs:
        return (
            f"A second method on {_these(report.comparison.rows)} could be told "
            f"from this one if their accuracies differ by about {written}."
        )
    pairs = len(report.pairs)
    corrected = f" (Holm's correction for {pairs} pairs included)" if pairs > 1 else ""
    told = [pair for pair in report.pairs if pair.verdict != "not distinguishable"]
    smaller = (
        " A smaller one is told where two methods are wrong on much the same rows."
        if any(abs(pair.difference) < smallest for pair in told)
        else ""
    )
    return (
        f"This test set tells any two of these methods apart that differ by {written}"
        f"{corrected}; a true difference of just that size shows about every second time only."
        f"{smaller}"
    )


def _these(rows: int) -> str:
    return f"{'this' if rows == 1 else 'these'} {counted(rows, 'test row')}"


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
    if not all(math.isfinite(method.cost.predict_rows_per_second) for method in tied):
        return []
    quickest = max(tied, key=lambda method: method.cost.predict_rows_per_second)
    speed = quantity(quickest.cost.predict_rows_per_second)
    return [
        f"Among these and {report.best.name}, {quickest.name} answers fastest ({speed} rows/s)."
    ]


def _against_majority(report: Report) -> str:
    majority = share(report.majority_accuracy)
    against = report.comparison.against_majority
    if not against or any(each.beats_majority or each.beats_guessing for each in against):
        return f"Always answering the commonest label gives {majority}."
    return (
        f"But always answering the commonest label gives {majority}, so this test set does not "
        "show that any method has learnt anything."
    )


def _near_chance(report: Report) -> list[str]:
    """Name every method that the test rows do not show to be better than an empty one."""
    found = {each.pair.a: each for each in report.comparison.against_majority}
    ranked = [found[method.name] for method in report.ranked if method.name in found]
    chance = [each for each in ranked if not (each.beats_majority or each.beats_guessing)]
    inaccurate = [each for each in ranked if each.beats_guessing and not each.beats_majority]
    uneven = [each for each in ranked if each.beats_majority and not each.beats_guessing]
    family = len(found)
    sentences = []
    if len(chance) > _FIGURES_FOR:
        names = listed(each.pair.a for each in chance)
        sentences.append(
            f"Near chance are {names}: neither more accurate than always answering "
            f"{chance[0].label}, nor better than guessing in balanced accuracy."
        )
    else:
        sentences += [_chance_sentence(each, family) for each in chance]
    if inaccurate:
        names = listed(f"{each.pair.a} ({_lead(each, family)})" for each in inaccurate)
        sentences.append(
            f"Better than guessing in balanced accuracy, but not more accurate than always "
            f"answering {inaccurate[0].label}: {names}."
        )
    if uneven:
        names = listed(f"{each.pair.a} ({_balanced(each)})" for each in uneven)
        sentences.append(
            f"More accurate than always answering {uneven[0].label}, but not shown to be better "
            f"than guessing in balanced accuracy: {names}."
        )
    return sentences


def _chance_sentence(against: AgainstMajority, family: int) -> str:
    sentence = (
        f"{against.pair.a} is near chance: its accuracy of {share(against.accuracy)} is not above "
        f"the {share(against.majority_accuracy)} of always answering {against.label} "
        f"({_lead(against, family)}), nor its balanced accuracy of {_balanced(against)} above the "
        f"{share(against.guessing)} of guessing."
    )
    if against.commonest_answer_rows > _ONE_ANSWER * against.rows:
        sentence += (
            f" It answers {against.commonest_answer} in {count(against.commonest_answer_rows)} of "
            f"{counted(against.rows, 'row')}."
        )
    return sentence


def _lead(against: AgainstMajority, family: int) -> str:
    """Return the lead over the majority label; ``family`` methods are tested against it."""
    amount, _, bounds = difference(against.pair).partition(" ")
    corrected = f" after Holm's correction for {family} methods" if family > 1 else ""
    return f"{amount} points {bounds}, {p_value(against.pair.p_adjusted)}{corrected}"


def _balanced(against: AgainstMajority) -> str:
    return f"{share(against.balanced_accuracy)} {interval(against.balanced_accuracy_interval)}"


def _leaks(report: Report) -> list[str]:
    leaking = [method.name for method in report.ranked if method.canary and method.canary.leaking]
    if not leaking:
        return []
    return [f"But do not trust {listed(leaking)}: shuffled labels were no hindrance."]


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
