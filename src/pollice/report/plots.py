"""The plots of a report: intervals, reliability, learning curves, accuracy against cost.

Knows nothing about the page around them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pollice.errors import counted
from pollice.judging.metrics import Evaluation
from pollice.judging.results import Cost, MethodReport, Report
from pollice.report import svg, wording

MOST_NAMED = 8  # more methods than this are numbered by rank beside their dots
_MOST_PLACES = 240  # more steps than this are drawn in groups

Places = list[tuple[float, float]]
Training = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Figure:
    """A plot, what it is called, and one sentence on what to look for."""

    title: str
    plot: Markup
    advice: str = ""


@dataclass(frozen=True)
class IntervalRow:
    """One method's dot and bar on the common scale of `interval_rows`."""

    name: str
    plot: Markup
    value: str
    kind: str


@dataclass(frozen=True)
class _Line:
    """A named line of a learning curve."""

    name: str
    places: Places
    style: str


def interval_rows(report: Report) -> tuple[list[IntervalRow], Markup]:
    """Return a row a method, as wide as the page lets it be, and the scale below them."""
    evaluations = [method.evaluation for method in report.ranked]
    ends = [end for evaluation in evaluations for end in evaluation.accuracy_interval]
    axis = svg.linear_axis("accuracy", [*ends, report.majority_accuracy])
    rows = [
        IntervalRow(
            name=method.name,
            plot=_interval(method.name, method.evaluation, axis, report.majority_accuracy),
            value=wording.accuracy(method.evaluation),
            kind="best" if method.name == report.best.name and report.pairs else "method",
        )
        for method in report.ranked
    ]
    return rows, _interval_scale(axis)


def _interval(name: str, evaluation: Evaluation, axis: svg.Axis, majority: float) -> Markup:
    low, high = (_percent(axis, end) for end in evaluation.accuracy_interval)
    line = Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>')
    parts = [
        line.format(_percent(axis, tick), 0, _percent(axis, tick), "100%", "grid")
        for tick in axis.ticks
    ]
    across = _percent(axis, majority)
    parts += [line.format(across, 0, across, "100%", "majority")]
    parts += [line.format(low, "50%", high, "50%", "bar")]
    parts += [
        Markup('<circle cx="{}" cy="50%" r="4.5" class="point"/>').format(
            _percent(axis, evaluation.accuracy)
        )
    ]
    title = f"{name}: accuracy {wording.accuracy(evaluation)}; majority label {majority:.3f}"
    return Markup('<svg class="strip" role="img"><title>{}</title>{}</svg>').format(
        title, svg.joined(parts)
    )


def _interval_scale(axis: svg.Axis) -> Markup:
    word = Markup('<text x="{}" y="12" text-anchor="middle">{}</text>')
    words = [word.format(_percent(axis, tick), svg.tick_text(tick)) for tick in axis.ticks]
    return Markup('<svg class="scale" aria-hidden="true">{}</svg>').format(svg.joined(words))


def _percent(axis: svg.Axis, value: float) -> str:
    return f"{100 * axis.place(value):.2f}%"


def reliability_plot(method: MethodReport) -> Figure:
    """Return stated confidence against observed accuracy; a dot's area is its share of rows."""
    share = svg.Axis("stated confidence", 0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0))
    right = svg.Axis("share that is right", 0.0, 1.0, share.ticks)
    corners = (
        svg.across(share, 0),
        svg.upward(right, 0),
        svg.across(share, 1),
        svg.upward(right, 1),
    )
    bins = method.evaluation.reliability
    places = [
        (svg.across(share, each.confidence), svg.upward(right, each.accuracy)) for each in bins
    ]
    rows = max(sum(each.rows for each in bins), 1)
    marks = [svg.line(corners, "diagonal"), svg.path(places, "line a thin")]
    for place, each in zip(places, bins, strict=True):
        said = f"said {each.confidence:.2f}, right {each.accuracy:.2f}, {counted(each.rows, 'row')}"
        marks.append(svg.dot(place, 2 + 9 * math.sqrt(each.rows / rows), "point a", said))
    error = wording.share(method.evaluation.expected_calibration_error)
    title = f"{method.name}: confidence against accuracy, ECE {error}"
    return Figure(method.name, svg.chart(title, share, right, marks), f"ECE {error}")


def any_cost_known(report: Report) -> bool:
    """Return whether it is known of any method what it took."""
    costs = [method.cost for method in report.methods]
    known = [(cost.fit_seconds, cost.predict_rows_per_second, cost.peak_mib) for cost in costs]
    return any(math.isfinite(value) for values in known for value in values)


def cost_plots(report: Report) -> list[Figure]:
    """Return accuracy against fitting time, speed and memory."""
    costs: list[tuple[str, str, Callable[[Cost], float]]] = [
        ("Time to fit", "seconds to fit", lambda cost: cost.fit_seconds),
        ("Speed", "rows per second", lambda cost: cost.predict_rows_per_second),
        ("Memory", "peak memory, MiB", lambda cost: cost.peak_mib),
    ]
    return [_cost_plot(report, title, unit, read) for title, unit, read in costs]


def _cost_plot(report: Report, title: str, unit: str, read: Callable[[Cost], float]) -> Figure:
    methods = [method for method in report.ranked if math.isfinite(read(method.cost))]
    ends = [end for each in report.ranked for end in each.evaluation.accuracy_interval]
    x = svg.cost_axis(unit, [read(method.cost) for method in methods] or [0.0, 1.0])
    x = svg.Axis(f"{unit} (log scale)", x.low, x.high, x.ticks, log=True) if x.log else x
    y = svg.linear_axis("accuracy", ends)
    labels = _dot_labels(report)
    marks, names, whiskers = [], [], []
    for method in methods:
        cost, evaluation = read(method.cost), method.evaluation
        place = svg.across(x, cost), svg.upward(y, evaluation.accuracy)
        low, high = (svg.upward(y, end) for end in evaluation.accuracy_interval)
        said = f"{method.name}: {wording.accuracy(evaluation)}, {wording.quantity(cost)} {unit}"
        marks += [
            svg.line((place[0], low, place[0], high), "whisker"),
            svg.dot(place, 4, "point a", said),
        ]
        whiskers.append((place[0] - 2, high, place[0] + 2, low))
        names.append((labels[method.name], *place))
    marks.append(svg.name_labels(names, whiskers))
    return Figure(title, svg.chart(f"Accuracy against {unit}", x, y, marks))


def _dot_labels(report: Report) -> Mapping[str, str]:
    names = [method.name for method in report.ranked]
    if len(names) > MOST_NAMED:
        return {name: str(rank) for rank, name in enumerate(names, start=1)}
    return {name: wording.one_line(name) for name in names}


def learning_plots(training: Training) -> list[Figure]:
    """Return the curves that a training log holds: by step, then by epoch."""
    by_step = [
        _step_plot(
            training,
            "loss",
            "Loss by step",
            _mean,
            "It should fall fast, then level off; a flat line has learnt nothing.",
        ),
        _step_plot(
            training,
            "learning_rate",
            "Learning rate by step",
            _mean,
            "It should rise through the warm-up and then fall as the schedule says.",
        ),
        _step_plot(
            training,
            "grad_norm",
            "Gradient norm by step",
            max,
            "Single spikes are normal; a line that keeps rising asks for a lower learning rate.",
        ),
    ]
    by_epoch = [
        _epoch_plot(
            "Accuracy by epoch",
            _epoch_lines(training, "accuracy"),
            "A widening gap is overfitting; the best epoch is where validation is highest.",
        ),
        _epoch_plot(
            "Loss by epoch",
            _epoch_lines(training, "loss"),
            "Where validation rises while train falls, it only grows surer of its errors.",
        ),
    ]
    return [figure for figure in [*by_step, *by_epoch] if figure is not None]


def _step_plot(
    training: Training, key: str, title: str, gather: Callable[[list[float]], float], advice: str
) -> Figure | None:
    places = [
        (step, value)
        for row in training
        if (step := _number(row, "step")) is not None and (value := _number(row, key)) is not None
    ]
    if len(places) < 2:
        return None
    drawn = _thinned(places, gather)
    x = svg.steps_axis("step", [step for step, _ in drawn])
    y = svg.linear_axis("", [value for _, value in drawn], zero=True)
    marks = [
        svg.path([(svg.across(x, step), svg.upward(y, value)) for step, value in drawn], "line a")
    ]
    ends = f"from {places[0][1]:.3g} to {places[-1][1]:.3g}"
    said = f"{title}: {ends} over {counted(len(places), 'step')}"
    return Figure(title, svg.chart(said, x, y, marks), advice)


def _thinned(places: Places, gather: Callable[[list[float]], float]) -> Places:
    size = math.ceil(len(places) / _MOST_PLACES)
    groups = [places[start : start + size] for start in range(0, len(places), size)]
    return [(group[-1][0], gather([value for _, value in group])) for group in groups]


def _epoch_lines(training: Training, what: str) -> list[_Line]:
    """Return train and validation by epoch; train loss is the mean of the epoch's steps."""
    train: Places = []
    validation: Places = []
    losses: list[float] = []
    for row in training:
        loss, judged = _number(row, "loss"), _number(row, f"validation_{what}")
        losses += [loss] if loss is not None else []
        if judged is None:
            continue
        epoch = _number(row, "epoch")
        at = epoch if epoch is not None else float(len(validation) + 1)
        validation.append((at, judged))
        trained = _number(row, f"train_{what}")
        if trained is None and what == "loss" and losses:
            trained = _mean(losses)
        train += [(at, trained)] if trained is not None else []
        losses = []
    return [_Line("train", train, "a"), _Line("validation", validation, "b")]


def _epoch_plot(title: str, lines: list[_Line], advice: str) -> Figure | None:
    drawn = [line for line in lines if line.places]
    if not drawn:
        return None
    epochs = sorted({epoch for line in drawn for epoch, _ in line.places})
    x = svg.linear_axis("epoch", epochs)
    if all(epoch.is_integer() for epoch in epochs) and len(epochs) <= 12:
        x = svg.Axis("epoch", epochs[0] - 0.5, epochs[-1] + 0.5, tuple(epochs))
    y = svg.linear_axis("", [value for line in drawn for _, value in line.places])
    marks = []
    for line in drawn:
        places = [(svg.across(x, epoch), svg.upward(y, value)) for epoch, value in line.places]
        marks.append(svg.path(places, f"line {line.style}"))
        marks += [
            svg.dot(place, 3, f"point {line.style}", f"{line.name}, epoch {epoch:g}: {value:.3f}")
            for place, (epoch, value) in zip(places, line.places, strict=True)
        ]
    said = "; ".join(f"{line.name} ends at {line.places[-1][1]:.3f}" for line in drawn)
    marks.append(_end_names(drawn, x, y))
    return Figure(title, svg.chart(f"{title}: {said}", x, y, marks), advice)


def _end_names(lines: Sequence[_Line], x: svg.Axis, y: svg.Axis) -> Markup:
    """Name each line at its last dot: the upper one above it, the lower one below."""
    upper_first = sorted(lines, key=lambda line: -line.places[-1][1])
    words = []
    for line, shift in zip(upper_first, (-8, 16), strict=False):
        epoch, value = line.places[-1]
        place = svg.across(x, epoch) + 4, max(svg.upward(y, value) + shift, 10)
        words.append(svg.word(place, line.name, "end", f"label {line.style}"))
    return svg.joined(words)


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if value is None or not math.isfinite(value):
        return None
    return float(value)


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
