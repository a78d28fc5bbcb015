from dataclasses import replace

import pytest

from pollice.judging.results import Comparison, Pair, Report, Verdict
from pollice.report import headline, resolution, wording
from report_samples import five_methods, method_report, predictions, report_of, simple_report


def pair(b: str, difference: float, verdict: Verdict, p: float) -> Pair:
    return Pair(
        a="finetune",
        b=b,
        difference=difference,
        interval=(difference - 0.024, difference + 0.024),
        p_value=p,
        p_adjusted=p,
        verdict=verdict,
    )


def report_with(*pairs: Pair, accuracy: float = 0.912) -> Report:
    names = ["finetune", *(each.b for each in pairs)]
    report = simple_report(dict.fromkeys(names, accuracy))
    bounds = (accuracy - 0.028, accuracy + 0.022)
    judged = replace(
        report.methods[0].evaluation,
        accuracy=accuracy,
        accuracy_interval=bounds,
        majority_accuracy=0.5,
    )
    comparison = Comparison(
        rows=500,
        test_ids_sha256="0" * 64,
        pairs=pairs,
        ranking=tuple(names),
        smallest_detectable_difference=0.026,
    )
    methods = tuple(replace(method, evaluation=judged) for method in report.methods)
    return replace(report, methods=methods, comparison=comparison)


def test_headline_names_the_best_and_what_it_beats_and_what_it_does_not() -> None:
    report = report_with(
        pair("baseline", 0.042, "better", 0.002),
        pair("features", 0.004, "not distinguishable", 0.74),
    )
    assert headline(report) == (
        "Best: finetune, 0.912 [0.884, 0.934] of 500 test rows. It is better than baseline "
        "(+4.2 points [1.8, 6.6], p = 0.002) and not distinguishable from features. Among these "
        "and finetune, finetune answers fastest (400 rows/s). Always answering the commonest "
        "label gives 0.500."
    )


def test_headline_of_a_clear_winner() -> None:
    report = report_with(pair("baseline", 0.1, "better", 0.0000004))
    assert headline(report) == (
        "Best: finetune, 0.912 [0.884, 0.934] of 500 test rows. It is better than baseline "
        "(+10.0 points [7.6, 12.4], p < 0.001). Always answering the commonest label gives 0.500."
    )


def test_headline_names_many_beaten_methods_without_figures() -> None:
    report = report_with(*(pair(name, 0.1, "better", 0.001) for name in "abcd"))
    assert "It is better than a, b, c and d." in headline(report)


def test_headline_of_one_method_compares_nothing() -> None:
    assert headline(report_with()) == (
        "finetune: 0.912 [0.884, 0.934] of 500 test rows. "
        "Always answering the commonest label gives 0.500."
    )


def test_headline_says_when_nothing_was_learnt() -> None:
    assert headline(report_with(accuracy=0.52)).endswith(
        "But always answering the commonest label gives 0.500, so this test set does not show "
        "that any method has learnt anything."
    )


def test_resolution_is_the_smallest_difference_that_shows() -> None:
    assert resolution(report_with(pair("b", 0.0, "not distinguishable", 1.0))) == (
        "This test set can tell methods apart that differ by 2.6 points or more; a true "
        "difference of just that size shows about every second time only."
    )
    assert resolution(report_with()) == (
        "A second method on these 500 test rows could be told from this one if their accuracies "
        "differ by about 2.6 points or more."
    )


def test_unanswered_rows_are_told() -> None:
    table = predictions(0.8)
    table.probabilities[:12] = float("nan")
    report = report_of([method_report("prompt", table)], {"prompt": table})
    answered = wording.share(report.best.evaluation.answered_accuracy)
    assert wording.silences(report) == (
        "prompt gave no answer for 12 of 500 rows, which count as wrong; of those it answered, "
        f"{answered} are right.",
    )


def test_cut_rows_are_told() -> None:
    assert wording.cutting(simple_report({"a": 0.8})) == (
        "No method cut a test row: every text was read whole."
    )
    assert wording.cutting(simple_report({"a": 0.8, "b": 0.7}, cut=3)) == (
        "2 of 2 methods read some test rows only in part. Much lower accuracy on many cut rows "
        "means that what was left out mattered."
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0421, "+4.2"), (-0.016, "\N{MINUS SIGN}1.6"), (0.0, "0.0"), (-0.0001, "0.0")],
)
def test_points(value: float, written: str) -> None:
    assert wording.points(value) == written


@pytest.mark.parametrize(
    ("p", "written"), [(0.0000004, "<0.001"), (0.0021, "0.002"), (0.451, "0.45"), (1.0, "1.00")]
)
def test_probability(p: float, written: str) -> None:
    assert wording.probability(p) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.04, "0.0"), (3.14, "3.1"), (21000.4, "21,000"), (float("nan"), "\N{EN DASH}")],
)
def test_quantity(value: float, written: str) -> None:
    assert wording.quantity(value) == written


def test_no_value_is_a_dash() -> None:
    assert wording.share(None) == wording.share(float("nan")) == "\N{EN DASH}"


def test_visible_shows_what_could_steer_a_terminal() -> None:
    assert wording.visible("a\x1b[31m\x00b\r\nc\td") == "a\u241b[31m\u2400b\nc\td"
    assert wording.visible("\ud800\u202e\x9b\x7f") == "\ufffd" * 4


def test_one_line_has_no_line_break_of_any_kind() -> None:
    assert wording.one_line(" a\n b\u2028c\t d ") == "a b c d"


def test_every_abbreviation_of_the_tables_is_in_the_glossary() -> None:
    assert {"Log loss", "ECE", "Macro F1", "MCC", "ROC AUC", "Holm", "McNemar", "Interval"} <= set(
        wording.GLOSSARY
    )


def test_a_method_that_was_made_to_fit_is_named_with_what_was_changed() -> None:
    report = five_methods()
    assert wording.changes_to_fit(report) == ()
    changed = report.methods[2]
    cost = replace(changed.cost, memory_changes={"micro_batch_tokens": 512, "recompute": True})
    methods = tuple(
        replace(method, cost=cost) if method is changed else method for method in report.methods
    )
    assert wording.changes_to_fit(replace(report, methods=methods)) == (
        f"{changed.name} was run with micro_batch_tokens = 512 and recompute = True to fit into "
        "memory, which leaves its numbers as they are but for rounding.",
    )
