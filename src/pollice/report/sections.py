"""The sections of a report on what was asked for besides accuracy: one form for every output.

Knows nothing about terminals, Markdown or HTML.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pollice.errors import counted
from pollice.judging.metrics import Evaluation
from pollice.judging.ordinal import OrdinalEvaluation
from pollice.judging.results import Canary, FlipRate, MethodReport, Report, Spread
from pollice.report import wording
from pollice.report.tables import Column, Row, Table


@dataclass(frozen=True)
class Section:
    """A title, sentences below it, and perhaps a table."""

    title: str
    sentences: tuple[str, ...]
    table: Table | None = None


def sections(report: Report, *, full: bool = False) -> tuple[Section, ...]:
    """Return a section for each thing that was asked for; ``full`` has the kinds of attacks."""
    return tuple(
        section
        for section in (
            _tunings(report),
            _losses(report) if full else None,
            _scales(report),
            _abstention(report),
            _spreads(report),
            _canaries(report),
            _attacks(report, full),
        )
        if section
    )


def _tunings(report: Report) -> Section | None:
    tuned = [method for method in report.ranked if method.tuning]
    if not tuned:
        return None
    label_names = tuple(report.best.evaluation.per_label)
    columns = (
        Column("method", numeric=False),
        Column("accuracy [95 %]"),
        *(Column(name) for name in label_names),
        Column("after is", numeric=False),
        Column("points [95 %]"),
        Column("p (Holm)"),
    )
    rows = tuple(row for method in tuned for row in _tuning_rows(method, label_names))
    sentence = "The same test rows, judged by the model as it came and as it was tuned."
    table = Table("Accuracy, overall and of each label's own rows", columns, rows)
    return Section("Before and after tuning", (sentence,), table)


def _tuning_rows(method: MethodReport, label_names: Sequence[str]) -> Iterator[Row]:
    yield Row((f"{method.name}, after", *_accuracies(method.evaluation, label_names), "", "", ""))
    for pair in method.tuning:
        yield Row(
            (
                f"{method.name}, {pair.b}",
                *_accuracies(method.variants[pair.b], label_names),
                pair.verdict,
                wording.difference(pair),
                wording.probability(pair.p_adjusted),
            )
        )


def _accuracies(evaluation: Evaluation, label_names: Sequence[str]) -> tuple[str, ...]:
    labels = (wording.share(evaluation.per_label[name].accuracy) for name in label_names)
    return wording.accuracy(evaluation), *labels


def _losses(report: Report) -> Section | None:
    columns = (
        Column("method", numeric=False),
        Column("epoch"),
        Column("training loss"),
        Column("validation loss"),
        Column("training accuracy"),
        Column("validation accuracy"),
    )
    rows = tuple(row for method in report.ranked for row in _epoch_rows(method))
    table = Table("The mean loss and the accuracy of each epoch", columns, rows)
    return Section("Losses by epoch", (), table) if rows else None


def _epoch_rows(method: MethodReport) -> Iterator[Row]:
    losses: list[float] = []
    for line in method.training:
        if "loss" in line:
            losses.append(line["loss"])
        else:
            told = [line.get(name) for name in ("validation_loss", "train_accuracy")]
            told.append(line.get("validation_accuracy"))
            mean = sum(losses) / len(losses) if losses else None
            cells = (wording.share(value) for value in (mean, *told))
            yield Row((method.name, f"{line['epoch']:g}", *cells))
            losses = []


def _scales(report: Report) -> Section | None:
    """How far answers are off, where the labels are a scale."""
    judged = [(method.name, method.evaluation.ordinal) for method in report.ranked]
    rows = tuple(
        Row(
            (
                name,
                wording.share(ordinal.mean_absolute_error),
                wording.share(ordinal.within_one_step),
                wording.share(ordinal.quadratic_kappa),
                wording.share(ordinal.spearman),
            )
        )
        for name, ordinal in judged
        if ordinal
    )
    scale = next((ordinal.scale for _, ordinal in judged if ordinal), None)
    if scale is None:
        return None
    sentence = (
        f"The labels are steps of a scale: {', '.join(scale)}. Accuracy counts a near miss as it "
        "counts a far one; these figures do not. Steps count as equally far apart."
    )
    columns = (
        Column("method", numeric=False),
        Column("mean error\nin steps"),
        Column("at most one\nstep off"),
        Column("quadratic\nkappa"),
        Column("Spearman"),
    )
    table = Table("How far off the answered rows are", columns, rows)
    return Section("How far off on the scale", (sentence,), table)


def confusions(report: Report) -> tuple[Section, ...]:
    """Return the confusion matrix of each method in the scale's order, where there is a scale."""
    return tuple(
        Section(
            f"What {method.name} takes for what",
            ("A row is the true label, a column the answer.",),
            _confusion(method.name, ordinal),
        )
        for method in report.ranked
        if (ordinal := method.evaluation.ordinal)
    )


def _confusion(name: str, ordinal: OrdinalEvaluation) -> Table:
    answers = (*ordinal.scale, "no answer")
    kept = len(answers) if any(row[-1] for row in ordinal.confusion) else len(answers) - 1
    rows = tuple(
        Row((gold, *map(wording.count, counts[:kept])))
        for gold, counts in zip(ordinal.scale, ordinal.confusion, strict=True)
    )
    columns = (Column("true label", numeric=False), *(Column(name) for name in answers[:kept]))
    return Table(f"Test rows by true label and answer: {name}", columns, rows)


def _abstention(report: Report) -> Section | None:
    threshold = report.best.evaluation.abstain_below
    if threshold is None:
        return None
    sentence = (
        f"A row whose highest probability is below {threshold:g} has no answer. The worst case "
        "counts every such row as wrong; it is the accuracy that all tables and tests speak of. "
        "Log loss, ECE and ROC AUC are of all rows with probabilities, these included."
    )
    columns = (
        Column("method", numeric=False),
        Column("coverage"),
        Column("of the answered [95 %]"),
        Column("worst case [95 %]"),
    )
    rows = tuple(Row((method.name, *_coverage(method))) for method in report.ranked)
    table = Table("The share of rows answered, and the accuracy", columns, rows)
    return Section("Where it abstains", (sentence,), table)


def _coverage(method: MethodReport) -> tuple[str, str, str]:
    evaluation = method.evaluation
    bounds = evaluation.answered_accuracy_interval
    answered = wording.share(evaluation.answered_accuracy)
    return (
        wording.share(evaluation.coverage),
        f"{answered} {wording.interval(bounds)}" if bounds else answered,
        wording.accuracy(evaluation),
    )


def _spreads(report: Report) -> Section | None:
    sentences = tuple(
        f"{method.name}: {_spread(method.spread)}" for method in report.ranked if method.spread
    )
    return Section("Other draws of the examples", sentences) if sentences else None


def _spread(spread: Spread) -> str:
    return (
        f"spread over {spread.draws} draws: {wording.share(spread.lowest)} to "
        f"{wording.share(spread.highest)} (mean {wording.share(spread.mean)}, standard deviation "
        f"{wording.share(spread.standard_deviation)})."
    )


def _canaries(report: Report) -> Section | None:
    verdicts = tuple(
        f"{method.name}: {canary_verdict(method.canary)}."
        for method in report.ranked
        if method.canary
    )
    if not verdicts:
        return None
    sentence = (
        "Each method was fitted once more on shuffled labels, from which nothing can be learnt. "
        "One that still beats chance reaches the test labels some other way."
    )
    return Section("The label canary", (sentence, *verdicts))


def canary_verdict(canary: Canary) -> str:
    """Return a verdict such as ``clean: 0.502 with shuffled labels, chance 0.501``."""
    if not canary.applicable:
        return "not applicable: it judges by what its checkpoint already knows"
    found = (
        f"{wording.share(canary.accuracy)} with shuffled labels, "
        f"chance {wording.share(canary.chance)}"
    )
    if canary.leaking:
        return f"LEAKING: {found}, {wording.p_value(canary.p_value or 0.0)}"
    doubted = canary.shuffles == 2
    return f"clean: {found}{' (a first shuffle beat it, the second did not)' if doubted else ''}"


def _attacks(report: Report, full: bool) -> Section | None:
    rows = [row for method in report.ranked for row in _attack_rows(method, full)]
    if not rows:
        return None
    sentence = (
        "Sentences that ask for a wrong label were put before or after texts that the method had "
        "judged rightly. A text has flipped when it gets that label. The rates hold for texts as "
        f"long as these{_median_words(report)}: the shorter a text, the more does a sentence weigh."
    )
    columns = (
        Column("method", numeric=False),
        Column("injected", numeric=False),
        Column("texts"),
        Column("flipped"),
        Column("flip rate [95 %]"),
    )
    table = Table("Right answers that flipped", columns, tuple(rows))
    return Section("Injected sentences", (sentence,), table)


def _median_words(report: Report) -> str:
    """Return the median length of the attacked texts; of several methods, the range."""
    found = [method.attack.words for method in report.methods if method.attack]
    known = sorted({words for words in found if words is not None})
    if not known:
        return ""
    if len(known) == 1:
        return f" (median {counted(known[0], 'word')})"
    return f" (medians of {known[0]:,} to {counted(known[-1], 'word')})"


def _attack_rows(method: MethodReport, full: bool) -> Iterator[Row]:
    if method.attack:
        yield Row((method.name, "all", *_flips(method.attack.overall)))
        if full:
            for kind, rate in method.attack.kinds.items():
                yield Row((method.name, kind, *_flips(rate)), "variant")


def _flips(rate: FlipRate) -> tuple[str, str, str]:
    share = wording.share(rate.rate)
    written = f"{share} {wording.interval(rate.interval)}" if rate.interval else share
    return wording.count(rate.texts), wording.count(rate.flipped), written
