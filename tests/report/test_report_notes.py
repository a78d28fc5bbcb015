"""What a reader must know of the figures stands beside them, in every form of the report."""

import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from pollice.judging.metrics import evaluate
from pollice.judging.results import Attack, FlipRate, Report
from pollice.report import show, tables, to_html, to_markdown
from pollice.report.sections import sections
from report_samples import method_report, predictions, report_of, simple_report

PEAK = (
    "Peak MiB is of the whole process, with what methods fitted before in it left loaded, such as "
    "libraries: to compare memory, fit each method by a command of its own."
)


def with_method(**changes: Any) -> Report:
    """Return a report of one method."""
    table = predictions(0.8)
    return report_of([method_report("prompt", table, **changes)], {"prompt": table})


def text_of(report: Report) -> str:
    console = Console(record=True, width=200, file=None, force_terminal=False)
    with console.capture() as shown:
        show(report, console)
    return " ".join(shown.get().split())


def test_the_rows_below_a_method_are_explained() -> None:
    """Names that are not known, such as a method's own, are not explained."""
    other = evaluate(predictions(0.7))
    report = with_method(variants={"raw": other, "batch": other, "mine": other})
    note = (
        "The rows below a method are other answers of the same model: raw is without calibration "
        "and batch is calibrated without labels."
    )
    assert tables.results_notes(report) == (note,)
    page = re.sub(r"\s+", " ", to_html(report))
    for form in (text_of(report), to_markdown(report), page):
        assert note in form


def test_peak_memory_is_explained_where_methods_shared_a_process() -> None:
    """One method alone shows its own peak; a GPU's peak is of the method."""
    report = simple_report({"a": 0.8, "b": 0.7})
    assert tables.results_notes(report) == (PEAK,)
    assert tables.results_notes(with_method()) == ()
    cost = replace(report.methods[0].cost, peak_device_memory_mib=900.0)
    on_gpu = replace(report, methods=tuple(replace(each, cost=cost) for each in report.methods))
    assert tables.results_notes(on_gpu) == ()


@pytest.mark.parametrize(
    ("words", "said"),
    [((None,), ""), ((21, None), " (median 21 words)"), ((1,), " (median 1 word)"),
     ((230, 21), " (medians of 21 to 230 words)")],
)  # fmt: skip
def test_an_attack_says_for_which_length_it_holds(words: tuple[int | None, ...], said: str) -> None:
    rate = FlipRate(texts=120, flipped=30, rate=0.25, interval=(0.181, 0.334))
    table = predictions(0.8)
    names = [f"method-{number}" for number in range(len(words))]
    methods = [
        method_report(name, table, attack=Attack(overall=rate, kinds={}, words=length))
        for name, length in zip(names, words, strict=True)
    ]
    (section,) = sections(report_of(methods, dict.fromkeys(names, table)))
    assert section.sentences == (
        "Sentences that ask for a wrong label were put before or after texts that the method had "
        "judged rightly. A text has flipped when it gets that label. The rates hold for texts as "
        f"long as these{said}: the shorter a text, the more does a sentence weigh.",
    )
