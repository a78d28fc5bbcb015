"""The tables of a report, as rows of written cells that every form of it shows alike.

Knows nothing about terminals, Markdown or HTML.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pollice.errors import counted
from pollice.judging.metrics import Evaluation
from pollice.judging.results import DataReport, MethodReport, Pair, Report
from pollice.report import wording

_REPEATED_SHOWN = 5
_REPEATED_LENGTH = 80

VARIANTS: Mapping[str, str] = {
    "raw": "without calibration",
    "batch": "calibrated without labels",
    "platt": "calibrated on labelled rows by two numbers (Platt)",
    "probe": "a linear probe on the model's states",
    "before": "the model before it was tuned",
    "before raw": "the same without calibration",
}
"""What the usual variants of a method are."""

Kind = Literal["best", "method", "variant", "scale"]


@dataclass(frozen=True)
class Column:
    """A column: its title, a line break allowed, and whether it holds numbers."""

    title: str
    numeric: bool = True


@dataclass(frozen=True)
class Row:
    """The cells of a row; its kind says how loudly it speaks."""

    cells: tuple[str, ...]
    kind: Kind = "method"


@dataclass(frozen=True)
class Table:
    """A table with its caption; every row has one cell a column."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def results_table(report: Report, *, full: bool = False) -> Table:
    """Return one row a method, its variants, and the majority label for scale."""
    partly = any(method.evaluation.coverage < 1 for method in report.methods)
    titles = ["accuracy [95 %]", *(["cover-\nage"] if partly else []), "log\nloss", "ECE"]
    titles += ["macro\nF1", "MCC", "ROC\nAUC"] if full else []
    titles += ["labels\nused", "fit s", "rows/s", "peak\nMiB"]
    titles += ["planned\nMiB"] if full else []
    rows = []
    for method in report.ranked:
        kind: Kind = "best" if report.pairs and method.name == report.best.name else "method"
        costs = _costs(method, full)
        scores = _scores(method.evaluation, full, partly)
        rows.append(Row((method.name, *scores, *costs), kind))
        rows += [
            Row((name, *_scores(variant, full, partly), *("" for _ in costs)), "variant")
            for name, variant in method.variants.items()
        ]
    majority = ("majority label", wording.share(report.majority_accuracy))
    rows.append(Row(majority + ("",) * (len(titles) - 1), "scale"))
    columns = (Column("method", numeric=False), *(Column(title) for title in titles))
    caption = f"{counted(report.comparison.rows, 'test row')}, the most accurate method first"
    return Table(caption, columns, tuple(rows))


def results_notes(report: Report) -> tuple[str, ...]:
    """Return what to know for reading the table: the rows below a method, and the peak memory."""
    notes = []
    names = dict.fromkeys(name for method in report.ranked for name in method.variants)
    known = [f"{name} is {VARIANTS[name]}" for name in names if name in VARIANTS]
    if names:
        said = f": {wording.listed(known)}" if known else ""
        notes.append(f"The rows below a method are other answers of the same model{said}.")
    several = sum(math.isfinite(method.cost.peak_mib) for method in report.methods) > 1
    if several and any(method.cost.peak_device_memory_mib is None for method in report.methods):
        notes.append(
            "Peak MiB is of the whole process, with what methods fitted before in it left loaded, "
            "such as libraries: to compare memory, fit each method by a command of its own."
        )
    return tuple(notes)


def _scores(evaluation: Evaluation, full: bool, partly: bool) -> tuple[str, ...]:
    scores: list[float | None] = [evaluation.coverage] if partly else []
    scores += [evaluation.log_loss, evaluation.expected_calibration_error]
    if full:
        scores += [evaluation.macro_f1, evaluation.matthews, evaluation.roc_auc]
    return (wording.accuracy(evaluation), *map(wording.share, scores))


def _costs(method: MethodReport, full: bool) -> tuple[str, ...]:
    cost = method.cost
    written = (
        wording.count(method.labels_used),
        wording.quantity(cost.fit_seconds),
        wording.quantity(cost.predict_rows_per_second),
        wording.quantity(cost.peak_mib),
    )
    if not full:
        return written
    planned = cost.predicted_memory_mib
    return (*written, wording.NOTHING if planned is None else wording.quantity(planned))


def pairs_table(pairs: Sequence[Pair]) -> Table:
    """Return one row a pair that reads as a sentence: a, verdict, b, difference, p."""
    columns = (
        Column("method", numeric=False),
        Column("verdict", numeric=False),
        Column("method", numeric=False),
        Column("points [95 %]"),
        Column("p (Holm)"),
    )
    rows = [
        Row(
            (
                pair.a,
                wording.VERDICTS[pair.verdict],
                pair.b,
                wording.difference(pair),
                wording.probability(pair.p_adjusted),
            ),
            "variant" if pair.verdict == "not distinguishable" else "method",
        )
        for pair in pairs
    ]
    return Table("Each pair of methods on the same test rows", columns, tuple(rows))


def truncation_table(report: Report) -> Table:
    """Return how many test rows each method cut, and how it fared on them."""
    columns = (
        Column("method", numeric=False),
        Column("rows cut"),
        Column("share"),
        Column("accuracy, cut"),
        Column("accuracy, whole"),
    )
    rows = [
        Row(
            (
                method.name,
                wording.count(evaluation.truncated_rows),
                _share_cut(evaluation),
                wording.share(evaluation.truncated_accuracy),
                wording.share(evaluation.untruncated_accuracy),
            )
        )
        for method in report.ranked
        for evaluation in [method.evaluation]
    ]
    return Table("Test rows that were too long to read whole", columns, tuple(rows))


def _share_cut(evaluation: Evaluation) -> str:
    if evaluation.truncated_rows is None:
        return wording.UNKNOWN
    return f"{100 * evaluation.truncated_rows / max(evaluation.rows, 1):.1f} %"


def labels_table(evaluation: Evaluation) -> Table:
    """Return precision, recall and F1 of every label."""
    titles = ("rows", "precision", "recall", "F1")
    rows = [
        Row(
            (
                name,
                wording.count(label.support),
                wording.share(label.precision),
                wording.share(label.recall),
                wording.share(label.f1),
            )
        )
        for name in (evaluation.ordinal.scale if evaluation.ordinal else evaluation.per_label)
        for label in [evaluation.per_label[name]]
    ]
    columns = (Column("label", numeric=False), *(Column(title) for title in titles))
    return Table("Each label", columns, tuple(rows))


def data_facts(report: Report) -> tuple[tuple[str, str], ...]:
    """Return what was compared on what, as named facts."""
    data = report.data
    facts = [
        ("Data", data.source),
        ("Rows", f"{wording.count(data.rows)}: {split_rows(data)}"),
        ("Labels", _shares(data.labels)),
        ("Labels of the test rows", _shares(_test_labels(report))),
        ("Same text twice", _duplicates(data)),
        ("Test rows", f"sha256 of ids {data.test_ids_sha256}"),
        ("Made", f"{report.created}, seed {report.seed}"),
    ]
    if data.repeated_texts:
        facts.insert(5, ("Texts of more than 2 % of the rows", _repeated(data)))
    if data.dropped:
        left_out = (f"{wording.count(rows)} ({why})" for why, rows in data.dropped.items())
        facts.insert(3, ("Left out when reading", ", ".join(left_out)))
    if data.notes:
        facts.append(("How the data were read", " ".join(data.notes)))
    return tuple(facts)


def split_rows(data: DataReport) -> str:
    """Return how many rows each part has, as far as that is known."""
    test = counted(data.test_rows, "test row")
    if data.train_rows is None and data.validation_rows is None:
        return f"{test}; training and validation rows are {wording.UNKNOWN}"
    return (
        f"{wording.count(data.train_rows)} train, {wording.count(data.validation_rows)} "
        f"validation, {test}"
    )


def _test_labels(report: Report) -> Mapping[str, int]:
    return {name: label.support for name, label in report.best.evaluation.per_label.items()}


def _shares(labels: Mapping[str, int]) -> str:
    total = max(sum(labels.values()), 1)
    return ", ".join(
        f"{name} {wording.count(rows)} ({100 * rows / total:.0f} %)"
        for name, rows in labels.items()
    )


def _duplicates(data: DataReport) -> str:
    if data.exact_duplicates is None and data.near_duplicates is None:
        return wording.UNKNOWN
    facts = [
        f"{wording.count(data.exact_duplicates)} exact and "
        f"{wording.counted_or_unknown(data.near_duplicates, 'near duplicate')}",
        f"{wording.counted_or_unknown(data.leaked_rows_removed, 'row')} removed that would have "
        "leaked between the parts",
    ]
    if data.copies_left_out:
        left_out = counted(data.copies_left_out, "copy", "copies")
        facts.insert(1, f"{left_out} left out, so that each text counts once")
    if data.copies_in_test:
        repeated = counted(data.copies_in_test, "test row repeats", "test rows repeat")
        facts.append(f"{repeated} another, in the test part that the source gives")
    if data.contradictory_texts:
        texts = counted(data.contradictory_texts, "text has", "texts have")
        facts.append(f"{texts} copies with different labels; the commonest counts")
    return "; ".join(facts)


def _rows(number: int | None) -> str:
    return f"{wording.UNKNOWN} rows" if number is None else counted(number, "row", "rows")


def _repeated(data: DataReport) -> str:
    """Name the commonest texts, each with its rows and their labels."""
    named = []
    for text, labels in list(data.repeated_texts.items())[:_REPEATED_SHOWN]:
        line = wording.one_line(text)
        short = line if len(line) <= _REPEATED_LENGTH else f"{line[:_REPEATED_LENGTH]}…"
        rows = ", ".join(f"{label} {wording.count(count)}" for label, count in labels.items())
        named.append(f"“{short}” ({rows})")
    more = len(data.repeated_texts) - len(named)
    return ", ".join([*named, *([f"and {wording.count(more)} more"] if more else [])])
