"""What was asked for besides accuracy is said in every form, and only where it was asked for."""

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from pollice.judging.comparison import compare
from pollice.judging.metrics import evaluate
from pollice.judging.results import Canary, Report
from pollice.report import headline, sections, show, to_html, to_json, to_markdown, wording
from pollice.report.html import matrix
from pollice.report.sections import canary_verdict
from report_samples import (
    STEPS,
    five_methods,
    method_report,
    predictions,
    probed_methods,
    report_of,
    scale_methods,
)


def on_a_terminal(report: Report) -> str:
    output = io.StringIO()
    show(report, Console(file=output, width=80, color_system=None))
    return " ".join(output.getvalue().split())


def in_html(report: Report) -> str:
    return " ".join(to_html(report).split())


FORMS = [on_a_terminal, in_html, to_markdown]
SAID = [
    "A row whose highest probability is below 0.7 has no answer.",
    "Rows with a probability below 0.7 are left unanswered and count as wrong there: it answers",
    "Log loss, ECE and ROC AUC are of all rows with probabilities, these included.",
    "prompt: spread over 5 draws: 0.861 to 0.883 (mean 0.872, standard deviation 0.008).",
    "leaky: LEAKING: 0.861 with shuffled labels, chance 0.501, p",
    "prompt: not applicable: it judges by what its checkpoint already knows.",
    "Right answers that flipped",
    "0.250 [0.181, 0.334]",
    "But do not trust leaky: shuffled labels were no hindrance.",
]


@pytest.mark.parametrize("form", FORMS)
def test_a_scale_is_told_with_its_figures_and_its_matrix(form: Callable[[Report], str]) -> None:
    """In the scale's order in every form, whatever the order of the columns is."""
    report = scale_methods()
    written = form(report)
    assert "The labels are steps of a scale: very negative, negative, neutral, positive" in written
    near = next(each for each in report.ranked if each.name == "near").evaluation.ordinal
    assert near is not None
    assert f"{near.mean_absolute_error:.3f}" in written
    assert f"{near.quadratic_kappa:.3f}" in written
    assert f"{near.spearman:.3f}" in written
    assert "no answer" not in written
    first = sections.confusions(report)[0].table
    assert first is not None
    assert [row.cells[0] for row in first.rows] == list(STEPS)
    assert [column.title for column in first.columns][1:] == list(STEPS)


def test_the_matrix_of_a_page_is_in_the_scales_order() -> None:
    drawn = matrix(scale_methods().best)
    assert drawn.answers == STEPS
    assert tuple(label for label, _ in drawn.rows) == STEPS


def test_the_ordinal_figures_are_in_report_json() -> None:
    ordinal = to_json(scale_methods())["methods"]["near"]["ordinal"]
    assert ordinal["scale"] == list(STEPS)
    assert ordinal["mean_absolute_error"] < 0.5
    assert to_json(five_methods())["methods"]["prompt"]["ordinal"] is None


def test_nothing_is_said_of_what_was_not_asked_for() -> None:
    assert sections.sections(five_methods()) == ()
    assert sections.confusions(five_methods()) == ()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_what_was_found(form: Callable[[Report], str]) -> None:
    written = form(probed_methods())
    for sentence in SAID:
        if sentence == "Right answers that flipped" and form is to_markdown:
            sentence = "## Injected sentences"
        assert sentence in written


def test_the_accuracy_of_the_answered_stands_beside_the_worst_case() -> None:
    report = probed_methods()
    evaluation = report.best.evaluation
    table = sections.sections(report)[0].table
    assert table is not None
    assert evaluation.answered_accuracy_interval is not None
    assert table.rows[0].cells == (
        report.best.name,
        f"{evaluation.coverage:.3f}",
        f"{evaluation.answered_accuracy:.3f} "
        f"{wording.interval(evaluation.answered_accuracy_interval)}",
        wording.accuracy(evaluation),
    )
    assert evaluation.coverage < 1


def test_kinds_of_attacks_stand_in_the_full_table_only() -> None:
    plain, full = (
        sections.sections(probed_methods())[-1].table,
        sections.sections(probed_methods(), full=True)[-1],
    )
    assert plain is not None
    assert full.table is not None
    assert [row.cells[1] for row in plain.rows] == ["all"]
    assert [row.cells[1] for row in full.table.rows] == ["all", "order", "turn"]
    assert full.table.rows[2].cells == ("prompt", "turn", "0", "0", wording.NOTHING)


def test_a_clean_verdict() -> None:
    canary = Canary(applicable=True, accuracy=0.502, chance=0.501, p_value=0.4, leaking=False)
    assert canary_verdict(canary) == "clean: 0.502 with shuffled labels, chance 0.501"
    assert canary_verdict(replace(canary, shuffles=2)) == (
        "clean: 0.502 with shuffled labels, chance 0.501 "
        "(a first shuffle beat it, the second did not)"
    )


def test_report_json_holds_what_was_found() -> None:
    methods = to_json(probed_methods())["methods"]
    assert methods["leaky"]["canary"]["leaking"] is True
    assert methods["leaky"]["attack"] is methods["leaky"]["spread"] is None
    assert methods["leaky"]["facts"] == {}
    prompt = methods["prompt"]
    assert prompt["canary"]["applicable"] is False
    assert prompt["attack"]["overall"] == {
        "texts": 120,
        "flipped": 30,
        "rate": 0.25,
        "interval": [0.181, 0.334],
    }
    assert prompt["attack"]["kinds"]["turn"]["rate"] is None
    assert prompt["spread"]["standard_deviation"] == 0.0081
    assert prompt["facts"]["calibration_labels"] == {"raw": 0, "platt": 16}
    assert prompt["abstain_below"] == 0.7


def test_facts_stand_with_the_options_of_a_page() -> None:
    page = to_html(probed_methods())
    assert "<dt><bdi>calibration</bdi></dt><dd><bdi>platt</bdi></dd>" in page


def test_a_hostile_fact_is_shown_as_text() -> None:
    table = predictions(0.8)
    facts = {"<script>": ["<img src=x>"]}
    page = to_html(report_of([method_report("a", table, facts=facts)], {"a": table}))
    assert "<script>" not in page
    assert "<img" not in page


def test_an_abstaining_comparison_is_not_held_against_the_majority() -> None:
    """Its accuracy is a worst case, which may lie below the majority's share; what it knows of the
    labels is seen from its answers to all rows."""
    assert "has learnt anything" not in headline(probed_methods())


def tuned_report() -> Report:
    after, before = predictions(0.9), predictions(0.7, seed=3)
    pairs = compare({"after": after, "before": before}).pairs
    tuned = method_report(
        "lora",
        after,
        variants={"before": evaluate(before)},
        tuning=pairs,
        training=(
            {"step": 1, "epoch": 0.5, "loss": 2.0},
            {"step": 2, "epoch": 1, "loss": 1.0},
            {"step": 2, "epoch": 1, "train_accuracy": 0.8, "validation_loss": 0.25},
        ),
    )
    return report_of([tuned], {"lora": after})


def test_a_tuned_model_stands_beside_what_it_was() -> None:
    table = sections.sections(tuned_report())[0].table
    assert table is not None
    (pair,) = tuned_report().methods[0].tuning
    evaluation = tuned_report().methods[0].variants["before"]
    assert [row.cells[0] for row in table.rows] == ["lora, after", "lora, before"]
    assert table.rows[1].cells == (
        "lora, before",
        wording.accuracy(evaluation),
        *(f"{label.accuracy:.3f}" for label in evaluation.per_label.values()),
        "better",
        wording.difference(pair),
        "<0.001",
    )


def test_the_losses_of_each_epoch_stand_in_the_full_report() -> None:
    """The training loss is the mean over the epoch's steps; what was not judged has none."""
    assert len(sections.sections(tuned_report())) == 1
    table = sections.sections(tuned_report(), full=True)[1].table
    assert table is not None
    assert [row.cells for row in table.rows] == [
        ("lora", "1", "1.500", "0.250", "0.800", wording.NOTHING)
    ]
    assert "## Losses by epoch" in to_markdown(tuned_report())
