"""What a report holds: the data, every method's evaluation and cost, and the paired comparison.

Knows nothing about how a report looks, and computes no metric.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pollice.judging.metrics import Evaluation
from pollice.predictions.table import Predictions

Verdict = Literal["better", "worse", "not distinguishable"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Method ``a`` against method ``b``, row by row."""

    a: str
    b: str
    difference: float
    """The accuracy of ``a`` less that of ``b``."""
    interval: tuple[float, float]
    """95 % percentile interval of the paired bootstrap over rows (Efron 1979), 10,000 resamples."""
    p_value: float
    """Exact two-sided McNemar test: binomial on the rows where only one was right."""
    p_adjusted: float
    """After Holm (1979, Scand. J. Statist. 6, p. 65) over all pairs."""
    verdict: Verdict
    """Of ``a`` against ``b``; "better" and "worse" need ``p_adjusted`` < 0.05."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Every pair of methods on the same test rows."""

    rows: int
    test_ids_sha256: str
    pairs: tuple[Pair, ...]
    """In the order of the runs: each with every later one."""
    ranking: tuple[str, ...]
    """By accuracy, then log loss, then name. The order of two names is no verdict."""
    smallest_detectable_difference: float
    """The smallest observed accuracy difference that these rows could call significant.

    With d discordant rows (the median over the pairs, at least 6), an exact McNemar test has
    p < 0.05 once the fewer side has at most k rows, where k is the largest with
    2 P(Binomial(d, 1/2) <= k) < 0.05; the figure is (d - 2k) / rows, before Holm. With one run
    nothing is paired: it is 1.96 sqrt(2 p (1 - p) / rows) at its accuracy p (two independent
    proportions; Fleiss 1981, ch. 2), at least 6 / rows. A true difference of this size is shown
    about every second time only; 80 % power needs about 1.4 times as much. At most 1.0.
    """


REPORT_FILES = ("report.json", "report.md", "report.html")
"""The forms of a report that are files in a run's folder."""

_REVERSED: Mapping[str, Literal["better", "worse"]] = {"better": "worse", "worse": "better"}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method took: seconds, rows a second, MiB of memory at its peak, weights."""

    fit_seconds: float
    predict_seconds: float
    predict_rows_per_second: float
    peak_memory_mib: float
    """Of the process."""
    parameters: int
    peak_device_memory_mib: float | None = None
    """Of the GPU, where one was used."""
    predicted_memory_mib: float | None = None
    """What was planned before anything was loaded: for the GPU where one is used."""
    memory_changes: Mapping[str, Any] = field(default_factory=dict)
    """Options that were set otherwise than asked for, so that the method fits into memory."""

    @property
    def peak_mib(self) -> float:
        """The peak of the memory that is scarcer: the GPU's where one was used."""
        device = self.peak_device_memory_mib
        return self.peak_memory_mib if device is None else device


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A test row that a method answered wrongly, with the probability of its answer."""

    id: str
    text: str
    gold: str
    predicted: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Canary:
    """What a method reaches on the test rows after it was fitted on shuffled labels."""

    applicable: bool
    """False for a method that knows more than the labels: then all else is None."""
    accuracy: float | None = None
    chance: float | None = None
    """The sum over the labels of their share of the gold labels times that of the answers."""
    p_value: float | None = None
    """One-sided exact binomial: how often chance alone gets so many rows right."""
    leaking: bool | None = None
    """Whether ``p_value`` is below 0.01: the method reaches the test labels some other way."""
    shuffles: int | None = None
    """2 where the first shuffle beat chance; the figures are those of the last."""


@dataclass(frozen=True, kw_only=True)
class FlipRate:
    """How many of the attacked texts got the label that the injected sentence asked for."""

    texts: int
    flipped: int
    rate: float | None
    """None where no text could be attacked, since none had been answered rightly."""
    interval: tuple[float, float] | None
    """95 % Wilson."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What injected sentences did to a method's right answers."""

    overall: FlipRate
    kinds: Mapping[str, FlipRate]


@dataclass(frozen=True, kw_only=True)
class JudgingOptions:
    """How predictions are judged; they may change without anything being fitted again."""

    seed: int = 0
    """Of the bootstrap."""
    abstain_below: float | None = None
    """Rows whose highest probability is below this count as unanswered."""


@dataclass(frozen=True, kw_only=True)
class FinishedMethod:
    """What a run has of a method: its predictions, and what is known of how they came about."""

    name: str
    method: str
    options: Mapping[str, Any]
    labels_used: int
    predictions: Predictions
    cost: Cost
    training: tuple[Mapping[str, Any], ...] = ()
    """The rows of training.jsonl."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    draws: tuple[Predictions, ...] = ()
    """The predictions of other draws of the examples."""
    canary: Canary | None = None
    attack: Attack | None = None


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The accuracies of a method over several draws of its examples, the first included."""

    draws: int
    lowest: float
    highest: float
    mean: float
    standard_deviation: float
    """Of a sample: divided by the draws less one."""


@dataclass(frozen=True, kw_only=True)
class MethodReport:
    """One method of a comparison, under its own name."""

    name: str
    method: str
    options: Mapping[str, Any]
    labels_used: int
    evaluation: Evaluation
    variants: Mapping[str, Evaluation]
    cost: Cost
    training: tuple[Mapping[str, Any], ...]
    """The rows of training.jsonl; empty where nothing was trained step by step."""
    mistakes: tuple[Mistake, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What fitting decided or found."""
    tuning: tuple[Pair, ...] = ()
    """The method against each variant that is its model before tuning, on the same test rows."""
    spread: Spread | None = None
    canary: Canary | None = None
    attack: Attack | None = None


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """Which rows were compared on, and what was found wrong with them."""

    source: str
    rows: int
    labels: Mapping[str, int]
    train_rows: int
    validation_rows: int
    test_rows: int
    test_ids_sha256: str
    exact_duplicates: int
    near_duplicates: int
    leaked_rows_removed: int
    dropped: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that one comparison found."""

    data: DataReport
    methods: tuple[MethodReport, ...]
    comparison: Comparison
    created: str
    """ISO 8601 time."""
    seed: int
    failed: Mapping[str, str] = field(default_factory=dict)
    """For each method of the comparison that could not be fitted, why."""

    @property
    def ranked(self) -> tuple[MethodReport, ...]:
        """The methods, the most accurate first."""
        return tuple(sorted(self.methods, key=lambda method: self._rank(method.name)))

    @property
    def best(self) -> MethodReport:
        """The most accurate method, whether or not others can be told from it."""
        return self.ranked[0]

    @property
    def majority_accuracy(self) -> float:
        """What always answering the commonest test label gives."""
        return self.methods[0].evaluation.majority_accuracy

    @property
    def any_cut(self) -> bool:
        """Whether any method cut a test row."""
        return any(method.evaluation.truncated_rows for method in self.methods)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Every pair seen from its higher-ranked method, in the order of the ranking."""
        turned = [
            pair if self._rank(pair.a) < self._rank(pair.b) else turn(pair)
            for pair in self.comparison.pairs
        ]
        return tuple(sorted(turned, key=lambda pair: (self._rank(pair.a), self._rank(pair.b))))

    @property
    def pairs_of_best(self) -> tuple[Pair, ...]:
        """The best method against each other one."""
        return tuple(pair for pair in self.pairs if pair.a == self.best.name)

    def _rank(self, name: str) -> int:
        return self.comparison.ranking.index(name)


def turn(pair: Pair) -> Pair:
    """Return the same pair seen from its other method."""
    low, high = pair.interval
    return replace(
        pair,
        a=pair.b,
        b=pair.a,
        difference=-pair.difference,
        interval=(-high, -low),
        verdict=_REVERSED.get(pair.verdict, "not distinguishable"),
    )
