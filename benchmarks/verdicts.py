"""Whether the sentences of a report on differences are true, on simulated methods.

Every method is right on a row with a chance of its own, which is low for all methods where a row
is hard: two methods of equal accuracy differ on about a tenth of the rows, as trained classifiers
of opinions do. Counted are, over many simulated comparisons by `pollice.compare`:

- pairs whose interval says something else than their verdict (must be none);
- comparisons in which methods of equal true accuracy are called better or worse (at most 5 %);
- how often a pair's interval holds the true difference (95 % or more);
- of pairs whose observed, or true, difference is above the stated smallest difference, how many
  are told apart (at least half);
- the same for pairs whose true difference is the stated one, within a tenth.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pollice.judging.comparison import compare
from pollice.judging.results import Comparison, Pair
from pollice.predictions.table import Predictions

FloatArray = NDArray[np.float64]

LABELS = ("negative", "positive")
HARDNESS = 5.0  # the larger, the more often all methods are wrong on the same rows
ROWS_OF_TRUTH = 200_000


KINDS = ("observed", "true", "at")
HEAD = (
    "| methods | rows | true accuracies | verdict and interval disagree | comparisons with a false "
    "verdict | intervals that hold the true difference | told of those observed above the figure "
    "| told of those truly above | told of those truly at it |\n" + "|---:|---:|:---|" + "---:|" * 6
)


@dataclass
class Counts:
    """What was seen in the comparisons of one setting."""

    pairs: int = 0
    disagreeing: int = 0
    covered: int = 0
    false_calls: int = 0
    above: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    told: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))


def chances(skills: FloatArray, hardness: FloatArray) -> FloatArray:
    """Return how probably each method is right on each row, ``(methods, rows)``."""
    return 1 / (1 + np.exp(-(skills[:, None] - HARDNESS * hardness[None, :])))


def skill_of(accuracy: float) -> float:
    """Return the skill that has an accuracy, by bisection over a large draw of rows."""
    hardness = np.random.default_rng(0).normal(size=ROWS_OF_TRUTH)
    low, high = -20.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        if chances(np.array([middle]), hardness).mean() < accuracy:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def tables(skills: FloatArray, rows: int, draw: np.random.Generator) -> dict[str, Predictions]:
    """Return a predictions table for each method, over the same rows."""
    right = draw.random((len(skills), rows)) < chances(skills, draw.normal(size=rows))
    gold = np.arange(rows) % 2
    return {f"m{number}": table(answer, gold) for number, answer in enumerate(right)}


def table(right: NDArray[np.bool_], gold: NDArray[np.int64]) -> Predictions:
    """Return a table whose sure answers are right where told."""
    rows = len(gold)
    probabilities = np.full((rows, 2), 0.1)
    probabilities[np.arange(rows), np.where(right, gold, 1 - gold)] = 0.9
    return Predictions(
        ids=tuple(map(str, range(rows))),
        label_names=LABELS,
        probabilities=probabilities,
        gold=tuple(LABELS[column] for column in gold),
        tokens=np.zeros(rows, np.int64),
        truncated=np.zeros(rows, np.bool_),
    )


def simulate(accuracies: FloatArray, rows: int, times: int, seed: int) -> Counts:
    """Compare methods of known accuracy many times; one draw of accuracies a comparison."""
    draw = np.random.default_rng([seed, rows, accuracies.shape[1]])
    skills = {accuracy: skill_of(accuracy) for accuracy in np.unique(accuracies)}
    counts = Counts()
    for number in range(times):
        truth = accuracies[number % len(accuracies)]
        runs = tables(np.array([skills[accuracy] for accuracy in truth]), rows, draw)
        count(compare(runs), dict(zip(runs, truth.tolist(), strict=True)), counts)
    return counts


def count(comparison: Comparison, truth: dict[str, float], counts: Counts) -> None:
    """Add what one comparison says."""
    smallest = comparison.smallest_detectable_difference
    wrong = False
    for pair in comparison.pairs:
        difference = truth[pair.a] - truth[pair.b]
        called = pair.verdict != "not distinguishable"
        counts.pairs += 1
        counts.disagreeing += not agrees(pair)
        counts.covered += pair.interval[0] <= difference <= pair.interval[1]
        wrong |= called and difference == 0
        for kind in kinds(pair.difference, difference, smallest):
            counts.above[kind] += 1
            counts.told[kind] += called
    counts.false_calls += wrong


def kinds(observed: float, true: float, smallest: float) -> Iterator[str]:
    """Yield which of the counts a pair belongs to."""
    if abs(observed) >= smallest:
        yield "observed"
    if abs(true) >= smallest:
        yield "true"
    if 0.9 * smallest <= abs(true) <= 1.1 * smallest:
        yield "at"


def agrees(pair: Pair) -> bool:
    """Return whether a pair's verdict, interval and difference say the same."""
    low, high = pair.interval
    by_interval = "better" if low > 0 else "worse" if high < 0 else "not distinguishable"
    return by_interval == pair.verdict and low <= pair.difference <= high


def equal(methods: int) -> FloatArray:
    """Return one draw of accuracies, all 0.85."""
    return np.full((1, methods), 0.85)


def spread(methods: int, rows: int) -> FloatArray:
    """Return draws of accuracies that lie from nothing to a few standard errors apart."""
    draw = np.random.default_rng([7, methods])
    steps = np.round(draw.exponential(1.2 / np.sqrt(rows) / np.sqrt(methods), (40, methods)), 3)
    return np.round(0.92 - np.cumsum(steps, axis=1), 3)


def main() -> None:
    """Simulate every setting and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=1000, help="comparisons of each setting")
    parser.add_argument("--methods", type=int, nargs="+", default=[2, 6])
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 500, 2000])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where the counts go")
    given = parser.parse_args()
    written = []
    print(HEAD)
    for methods in given.methods:
        for rows in given.rows:
            for name, truth in (("equal", equal(methods)), ("apart", spread(methods, rows))):
                counts = simulate(truth, rows, given.times, given.seed)
                print(line(methods, rows, name, counts, given.times), flush=True)
                written.append({"methods": methods, "rows": rows, "truth": name, **vars(counts)})
    if given.json:
        given.json.write_text(json.dumps(written, indent=2), encoding="utf-8")


def line(methods: int, rows: int, name: str, counts: Counts, times: int) -> str:
    """Return a row of the table."""
    told = [f"{counts.told[kind]} of {counts.above[kind]}" for kind in KINDS]
    cells = [
        *(str(methods), f"{rows:,}", name, f"{counts.disagreeing} of {counts.pairs:,}"),
        f"{counts.false_calls / times:.1%}",
        f"{counts.covered / counts.pairs:.1%}",
        *told,
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
