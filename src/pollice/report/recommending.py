"""What to use, by rules: the most accurate, the best without labels, the cheapest within the noise.

Knows nothing about terminals, Markdown or HTML. A method at chance, or one whose canary says that
it leaks, is never recommended.
"""

import math
from collections.abc import Sequence

from pollice.judging.results import MethodReport, Pair, Report
from pollice.report import wording


def recommendation(report: Report) -> tuple[str, ...]:
    """Return three sentences, or one where nothing can be recommended."""
    sound = _sound(report)
    if not sound:
        return (
            "None of these methods can be recommended: each is near chance, or its canary says "
            "that it leaks.",
        )
    best = sound[0]
    level = [method for method in sound[1:] if _verdict(report, best, method) != "better"]
    return tuple(
        map(
            wording.one_line,
            (
                _most_accurate(best, level),
                _without_labels(report, sound, best),
                _cheapest(best, level),
            ),
        )
    )


def _sound(report: Report) -> list[MethodReport]:
    """Return the methods that know something and do not leak, the most accurate first."""
    chance = {
        each.pair.a
        for each in report.comparison.against_majority
        if not (each.beats_majority or each.beats_guessing)
    }
    return [
        method
        for method in report.ranked
        if method.name not in chance and not (method.canary and method.canary.leaking)
    ]


def _pair(report: Report, a: MethodReport, b: MethodReport) -> Pair | None:
    return next((pair for pair in report.pairs if (pair.a, pair.b) == (a.name, b.name)), None)


def _verdict(report: Report, a: MethodReport, b: MethodReport) -> str:
    pair = _pair(report, a, b)
    return pair.verdict if pair else "not distinguishable"


def _most_accurate(best: MethodReport, level: Sequence[MethodReport]) -> str:
    clauses = [f"accuracy {wording.accuracy(best.evaluation)}"]
    if level:
        clauses.append(f"not distinguishable from {wording.listed(each.name for each in level)}")
    return _sentence("Most accurate", best, clauses)


def _without_labels(report: Report, sound: Sequence[MethodReport], best: MethodReport) -> str:
    free = [method for method in sound if method.labels_used == 0]
    if not free:
        told = all(method.labels_used is not None for method in report.methods)
        reason = "none of the methods here" if told else "not known"
        return f"Without labels: {reason}."
    found = free[0]
    if found is best:
        return f"Without labels: {found.name} as well, which needs none."
    pair = _pair(report, best, found)
    clauses = [f"accuracy {wording.accuracy(found.evaluation)}"]
    if pair:
        compared = {
            "better": f"{wording.points(pair.difference, signed=False)} points below {best.name}",
            "not distinguishable": f"not distinguishable from {best.name}",
        }
        clauses.append(compared.get(pair.verdict, ""))
    return _sentence("Without labels", found, [clause for clause in clauses if clause])


def _cheapest(best: MethodReport, level: Sequence[MethodReport]) -> str:
    """Name the one of them that answers fastest: fitting is paid once, answering for ever."""
    known = [
        method for method in (best, *level) if math.isfinite(method.cost.predict_rows_per_second)
    ]
    if len(known) < 1 + len(level):
        return "Cheapest within the noise: not known, as the tables do not say what methods cost."
    found = max(known, key=lambda method: method.cost.predict_rows_per_second)
    speed = f"{wording.quantity(found.cost.predict_rows_per_second)} rows/s"
    if not level:
        return (
            f"Cheapest within the noise: {found.name} ({speed}), since every other method is less "
            "accurate."
        )
    seconds = f"fitted in {wording.quantity(found.cost.fit_seconds)} s"
    if found is best:
        return f"Cheapest within the noise: {found.name} as well ({speed}, {seconds})."
    accuracy = f"accuracy {wording.accuracy(found.evaluation)}"
    return _sentence("Cheapest within the noise", found, [accuracy, speed, seconds])


def _sentence(what: str, method: MethodReport, clauses: Sequence[str]) -> str:
    return f"{what}: {method.name}, {'; '.join([*clauses, *_further(method)])}."


def _further(method: MethodReport) -> list[str]:
    """Return what abstention, canary and attack say of a method, as far as they were asked for."""
    evaluation, clauses = method.evaluation, list[str]()
    if evaluation.abstain_below is not None:
        right = evaluation.answered_accuracy
        answered = "" if right is None else f" and is right on {wording.share(right)} of those"
        clauses.append(f"it answers {wording.share(evaluation.coverage)} of the rows{answered}")
    if method.canary and method.canary.applicable:
        clauses.append("its label canary is clean")
    if method.attack and method.attack.overall.rate is not None:
        rate = wording.share(method.attack.overall.rate)
        clauses.append(f"injected sentences flip {rate} of its right answers")
    return clauses
