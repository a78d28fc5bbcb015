"""Small charts as inline SVG: axes, ticks, marks and labels that avoid one another.

Knows nothing about reports. Colours are classes of the page's style sheet.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 320, 224
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 22, 38
_CHARACTER = 6.2  # the width of an average letter at 11 px
_LABEL_LETTERS = 18
_TURNS = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Axis:
    """A scale from values to 0..1, with the values that get a tick."""

    title: str
    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies; on a log axis zero lies at its very start."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        inside = max(value, self.low)
        return math.log(inside / self.low) / math.log(self.high / self.low)


def linear_axis(title: str, values: Sequence[float], *, zero: bool = False) -> Axis:
    """Return an axis around the values, from round tick to round tick."""
    low, high = min(values), max(values)
    low = min(low, 0.0) if zero else low
    if high - low < 1e-12:
        margin = abs(high) / 2 or 0.5
        low, high = (low if zero else low - margin), high + margin
    step = _round_step((high - low) / 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(index * step for index in range(first, last + 1))
    return Axis(title, ticks[0], ticks[-1], ticks)


def steps_axis(title: str, values: Sequence[float]) -> Axis:
    """Return an axis from zero that ends with the last step."""
    axis = linear_axis(title, values, zero=True)
    end = max(*values, 1.0)
    return Axis(title, 0.0, end, tuple(tick for tick in axis.ticks if tick <= end))


def cost_axis(title: str, values: Sequence[float]) -> Axis:
    """Return a linear axis from zero, or a log axis where the values span more than tenfold."""
    positive = [value for value in values if value > 0]
    if not positive or max(positive) / min(positive) <= 10:
        return linear_axis(title, values, zero=True)
    free = len(positive) < len(values)
    low = min(positive) / (10 if free else 1.5)
    high = max(positive) * 1.5
    decades = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    leaps = max(1, math.ceil(len(decades) / 5))
    ticks = tuple(10.0**decade for decade in decades[::leaps])
    shown = tuple(tick for tick in ticks if not free or tick >= min(positive) / 2)
    return Axis(title, low, high, (0.0, *shown) if free else shown, log=True)


def _round_step(rough: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(rough))
    return next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= rough * 0.999)


def tick_text(value: float) -> str:
    """Return a tick's number, short: 0.25, 500, 20k, 3M, 5e-5."""
    size = abs(value)
    if size and size < 0.001:
        mantissa, _, exponent = f"{value:.2g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if size >= limit:
            divisor = 1e6 if unit == "M" else 1e3
            return f"{value / divisor:.4g}{unit}"
    return f"{value:.4g}"


def chart(title: str, x: Axis, y: Axis, marks: Iterable[Markup]) -> Markup:
    """Return one chart; ``title`` says in words what it shows, for who cannot see it."""
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {} {}"><title>{}</title>{}{}{}</svg>'
    ).format(WIDTH, HEIGHT, title, _x_axis(x), _y_axis(y), joined(marks))


def joined(parts: Iterable[Markup]) -> Markup:
    """Return the parts one after another."""
    return Markup("").join(parts)


def across(axis: Axis, value: float) -> float:
    """Return the horizontal position in the chart."""
    return round(LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT), 1)


def upward(axis: Axis, value: float) -> float:
    """Return the vertical position in the chart."""
    return round(HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - TOP - BOTTOM), 1)


def line(ends: tuple[float, float, float, float], style: str) -> Markup:
    """Return a straight line."""
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(*ends, style)


def path(places: Iterable[tuple[float, float]], style: str) -> Markup:
    """Return a line through the places."""
    points = " ".join(f"{x},{y}" for x, y in places)
    return Markup('<polyline points="{}" class="{}"/>').format(points, style)


def dot(place: tuple[float, float], radius: float, style: str, title: str) -> Markup:
    """Return a dot that says its title when pointed at."""
    return Markup('<circle cx="{}" cy="{}" r="{}" class="{}"><title>{}</title></circle>').format(
        *place, round(radius, 1), style, title
    )


def word(place: tuple[float, float], text: str, anchor: str = "start", style: str = "") -> Markup:
    """Return a short text."""
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>').format(
        round(place[0], 1), round(place[1], 1), anchor, style, text
    )


def _x_axis(axis: Axis) -> Markup:
    floor = HEIGHT - BOTTOM
    parts = [line((LEFT, floor, WIDTH - RIGHT, floor), "axis")]
    for tick in axis.ticks:
        x = across(axis, tick)
        parts += [
            line((x, floor, x, floor + 4), "axis"),
            word((x, floor + 16), tick_text(tick), "middle"),
        ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    return joined([*parts, word((middle, HEIGHT - 5), axis.title, "middle", "name")])


def _y_axis(axis: Axis) -> Markup:
    parts = [word((0, 9), axis.title, style="name")] if axis.title else []
    for tick in axis.ticks:
        y = upward(axis, tick)
        parts += [
            line((LEFT, y, WIDTH - RIGHT, y), "grid"),
            word((LEFT - 6, y + 4), tick_text(tick), "end"),
        ]
    return joined(parts)


def name_labels(points: Sequence[tuple[str, float, float]], obstacles: Sequence[Box]) -> Markup:
    """Return a label beside each point ``(name, x, y)``, where it covers least."""
    dots = [(x - 5, y - 5, x + 5, y + 5) for _, x, y in points]
    taken: list[Box] = [*obstacles, *dots]
    parts = []
    for name, x, y in sorted(points, key=lambda point: point[2]):
        shown = name if len(name) <= _LABEL_LETTERS else f"{name[: _LABEL_LETTERS - 1]}…"
        width = len(shown) * _CHARACTER
        boxes = [_box((x, y), width, turn, away) for away in (8, 20, 34) for turn in _TURNS]
        costs = [_cost(box, taken) + 0.5 * index for index, box in enumerate(boxes)]
        best = boxes[costs.index(min(costs))]
        if costs.index(min(costs)) >= len(_TURNS):
            end = min(max(x, best[0]), best[2]), min(max(y, best[1]), best[3])
            parts.append(line((x, y, round(end[0], 1), round(end[1], 1)), "leader"))
        parts.append(word((best[0], best[3] - 3), shown, style="label"))
        taken.append(best)
    return joined(parts)


def _box(point: tuple[float, float], width: float, turn: tuple[int, int], away: float) -> Box:
    x = point[0] + turn[0] * (away + width / 2)
    y = point[1] + turn[1] * (away + 5)
    return x - width / 2, y - 6.5, x + width / 2, y + 6.5


def _cost(box: Box, others: Sequence[Box]) -> float:
    frame: Box = (LEFT, TOP - 10, WIDTH - 2, HEIGHT - BOTTOM)
    inside = _overlap(box, frame)
    outside = (box[2] - box[0]) * (box[3] - box[1]) - inside
    return 4 * outside + sum(_overlap(box, other) for other in others)


def _overlap(a: Box, b: Box) -> float:
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    return max(wide, 0.0) * max(high, 0.0)
