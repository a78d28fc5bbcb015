"""What a report holds: the data, every method's evaluation and cost, and the paired comparison.

Knows nothing about how a report looks, and computes no metric.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pollice.judging.metrics import Evaluation
from pollice.predictions.pieces import Piece
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
    """Of the difference, from the same exact test at the same level as the verdict, so it excludes
    0 where the verdict is "better" or "worse", and nowhere else: 95 % for a single pair, more
    where Holm's correction asks for more (`pollice.judging.paired.difference_interval`)."""
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
    """The accuracy difference from which on these rows tell any two of these methods apart.

    Holm's procedure ends with pairs that it cannot tell apart, or with the last pair. To each of
    them belongs the smallest lead (wins less losses) that the exact McNemar test calls at the
    level reached, 0.05 by the number of pairs that are left, with as many discordant rows as the
    pair has; the figure is the largest of these leads by the rows. So no pair that differs by this
    much is "not distinguishable". A true difference of this size is shown about every second time
    only; 80 % power needs about 1.4 times as much. With one run nothing is paired: it is
    1.96 sqrt(2 p (1 - p) / rows) at its accuracy p (two independent proportions; Fleiss 1981,
    ch. 2), at least 6 / rows. At most 1.0.
    """
    against_majority: tuple["AgainstMajority", ...] = ()
    """Every run against always answering the commonest gold label, in the order of the runs."""


MAJORITY = "majority label"
"""The name of the method that always answers the commonest gold label of the test rows."""


@dataclass(frozen=True, kw_only=True)
class AgainstMajority:
    """Whether a method knows anything of the labels. No row is abstained from here."""

    pair: Pair
    """The method against `MAJORITY`; Holm's correction is over all methods of the comparison."""
    rows: int
    label: str
    """The commonest gold label; of several the one whose name is sorted first."""
    accuracy: float
    majority_accuracy: float
    balanced_accuracy: float
    balanced_accuracy_interval: tuple[float, float]
    guessing: float
    """The balanced accuracy of answers that have nothing to do with the text."""
    commonest_answer: str | None
    """None where nothing was answered."""
    commonest_answer_rows: int

    @property
    def beats_majority(self) -> bool:
        """Whether it is more accurate than always answering the commonest label."""
        return self.pair.verdict == "better"

    @property
    def beats_guessing(self) -> bool:
        """Whether its balanced accuracy is above guessing, by its 95 % interval."""
        return self.balanced_accuracy_interval[0] > self.guessing


REPORT_FILES = ("report.json", "report.md", "report.html")
"""The forms of a report that are files in a run's folder."""

_REVERSED: Mapping[str, Literal["better", "worse"]] = {"better": "worse", "worse": "better"}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method took: seconds, rows a second, MiB of memory at its peak, weights.

    What is not known is NaN, and ``parameters`` None.
    """

    fit_seconds: float
    predict_seconds: float
    predict_rows_per_second: float
    peak_memory_mib: float
    """Of the process."""
    parameters: int | None
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
    words: tuple[Piece, ...] = ()
    """What moved the answer, if that was found out: weights of words for the answer."""


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
    words: int | None = None
    """The median length of the attacked texts, without the sentence; None: not known."""


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
    explained: Mapping[str, tuple[Piece, ...]] = field(default_factory=dict)
    """What moved some of the answers: the words with their weights, by the id of the row."""


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
    labels_used: int | None
    """None where it is not known."""
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
    """Which rows were compared on, and what was found wrong with them; None: not known."""

    source: str
    rows: int
    labels: Mapping[str, int]
    train_rows: int | None
    validation_rows: int | None
    test_rows: int
    test_ids_sha256: str
    exact_duplicates: int | None
    near_duplicates: int | None
    leaked_rows_removed: int | None
    dropped: Mapping[str, int]
    copies_left_out: int = 0
    """Rows not drawn, as another row stands for their text."""
    copies_in_test: int = 0
    """Test rows that repeat a text, where the source gives the test part."""
    contradictory_texts: int = 0
    """Texts whose copies have different labels."""
    repeated_texts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The texts that more than 2 % of all rows have, and their rows by label."""
    notes: tuple[str, ...] = ()
    """What was read and how, as it was said while reading: files, columns, dialect, labels."""


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
    def abstain_below(self) -> float | None:
        """The probability below which every method left a row unanswered; None: nowhere."""
        # One threshold holds for all methods of a report, so any of them can be asked.
        return self.methods[0].evaluation.abstain_below

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
