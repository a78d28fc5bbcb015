import math

import pytest
from markupsafe import Markup

from pollice.judging.results import Cost
from pollice.report import plots, svg
from report_samples import (
    five_methods,
    method_report,
    predictions,
    report_of,
    simple_report,
    training_log,
)


def test_learning_plots_of_a_full_log() -> None:
    figures = plots.learning_plots(training_log())
    assert [figure.title for figure in figures] == [
        "Loss by step",
        "Learning rate by step",
        "Gradient norm by step",
        "Accuracy by epoch",
        "Loss by epoch",
    ]
    assert all(figure.advice.endswith(".") for figure in figures)


def test_a_log_without_steps_or_epochs_gives_no_plot() -> None:
    assert plots.learning_plots(()) == []
    assert plots.learning_plots(({"step": 1, "loss": 0.5},)) == []


def test_train_loss_of_an_epoch_is_the_mean_of_its_steps() -> None:
    log = (
        {"step": 1, "loss": 0.8},
        {"step": 2, "loss": 0.4},
        {"epoch": 1, "validation_loss": 0.5},
        {"step": 3, "loss": 0.2},
        {"epoch": 2, "validation_loss": 0.45},
    )
    drawn = plots.learning_plots(log)[-1].plot
    assert "train, epoch 1: 0.600" in drawn
    assert "train, epoch 2: 0.200" in drawn


def test_a_long_log_keeps_its_gradient_spike() -> None:
    log = [{"step": step, "grad_norm": 1.0} for step in range(1, 5001)]
    log[2500] = {"step": 2501, "grad_norm": 90.0}
    figure = plots.learning_plots(tuple(log))[0]
    assert len(figure.plot) < 10_000
    assert f",{svg.upward(svg.linear_axis('', [0, 90]), 90.0)} " in figure.plot


def test_costs_that_span_more_than_tenfold_have_a_log_axis() -> None:
    time, speed, memory = plots.cost_plots(five_methods())
    assert "seconds to fit (log scale)" in time.plot
    assert "rows per second (log scale)" in speed.plot
    assert "peak memory, MiB (log scale)" in memory.plot


def test_dots_of_many_methods_are_numbered_by_rank() -> None:
    many = simple_report({f"method-{n}": 0.6 + n / 40 for n in range(12)})
    drawn = plots.cost_plots(many)[0].plot
    assert all(f'class="label">{rank}</text>' in drawn for rank in range(1, 13))
    assert 'class="label">method-' not in drawn


def test_an_unknown_cost_has_no_dot() -> None:
    table = predictions(0.8)
    cost = Cost(
        fit_seconds=1.0,
        predict_seconds=1.0,
        predict_rows_per_second=500.0,
        peak_memory_mib=math.nan,
        parameters=0,
    )
    report = report_of([method_report("m", table, cost=cost)], {"m": table})
    time, _, memory = plots.cost_plots(report)
    assert "<circle" in time.plot
    assert "<circle" not in memory.plot


@pytest.mark.parametrize("values", [[0.0], [5.0, 5.0], [0.0, 3.0], [0.0, 0.5, 900.0], [2.0, 19.0]])
def test_a_cost_axis_holds_all_its_values_and_ticks(values: list[float]) -> None:
    axis = svg.cost_axis("seconds", values)
    assert all(0 <= axis.place(value) <= 1 for value in (*values, *axis.ticks))


@pytest.mark.parametrize("values", [[0.5], [0.0], [-3.0, 7.0], [0.871, 0.934], [1e-9, 5e-5]])
def test_a_linear_axis_holds_all_its_values(values: list[float]) -> None:
    axis = svg.linear_axis("accuracy", values)
    assert 2 <= len(axis.ticks) <= 8
    assert all(-1e-9 <= axis.place(value) <= 1 + 1e-9 for value in values)


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0"), (0.25, "0.25"), (500.0, "500"), (20000.0, "20k"), (3e6, "3M"), (5e-5, "5e-5")],
)
def test_tick_text(value: float, written: str) -> None:
    assert svg.tick_text(value) == written


def test_names_of_neighbouring_points_do_not_overlap() -> None:
    points = [(f"method-{n}", 150.0 + n, 100.0 + 3 * n) for n in range(5)]
    labels = svg.name_labels(points, [])
    places = [
        (float(part.split('"')[0]), float(part.split('y="')[1].split('"')[0]))
        for part in labels.split('<text x="')[1:]
    ]
    assert len(places) == 5
    width = 8 * 6.2
    assert not [
        (a, b)
        for index, a in enumerate(places)
        for b in places[:index]
        if abs(a[0] - b[0]) < width - 1 and abs(a[1] - b[1]) < 9
    ]


def test_text_in_a_plot_is_escaped() -> None:
    assert svg.word((1, 2), "</text><script>") == Markup(
        '<text x="1" y="2" text-anchor="start" class="">&lt;/text&gt;&lt;script&gt;</text>'
    )


def test_a_dot_of_the_reliability_plot_grows_with_its_rows() -> None:
    drawn = plots.reliability_plot(five_methods().best).plot
    radii = [float(part.split('"')[0]) for part in drawn.split(' r="')[1:]]
    bins = five_methods().best.evaluation.reliability
    assert radii == [round(2 + 9 * math.sqrt(each.rows / 500), 1) for each in bins]
