from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from pollice.errors import PredictionsError
from pollice.judging.comparison import compare
from pollice.judging.results import Comparison, Pair
from pollice.predictions.table import Predictions, ids_sha256

LABELS = ("negative", "positive")


def run(right: Sequence[bool] | NDArray[np.bool_], *, sure: float = 0.9) -> Predictions:
    """A run that is right on the told rows; every other row is positive."""
    rows = len(right)
    gold = np.arange(rows) % 2
    predicted = np.where(np.asarray(right, np.bool_), gold, 1 - gold)
    probabilities = np.full((rows, 2), 1 - sure)
    probabilities[np.arange(rows), predicted] = sure
    return Predictions(
        ids=tuple(f"row-{row}" for row in range(rows)),
        label_names=LABELS,
        probabilities=probabilities,
        gold=tuple(LABELS[column] for column in gold),
        tokens=np.zeros(rows, np.int64),
        truncated=np.zeros(rows, np.bool_),
    )


def two_runs(both: int, only_a: int, only_b: int, neither: int) -> dict[str, Predictions]:
    a = [True] * both + [True] * only_a + [False] * only_b + [False] * neither
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return {"a": run(a), "b": run(b)}


def only_pair(comparison: Comparison) -> Pair:
    (pair,) = comparison.pairs
    return pair


def reordered(predictions: Predictions, order: Sequence[int]) -> Predictions:
    gold = predictions.gold or ()
    return replace(
        predictions,
        ids=tuple(predictions.ids[row] for row in order),
        probabilities=predictions.probabilities[list(order)],
        gold=tuple(gold[row] for row in order),
    )


def by_names(comparison: Comparison) -> Mapping[tuple[str, str], Pair]:
    return {(pair.a, pair.b): pair for pair in comparison.pairs}


# --- known values ---


def test_the_reports_two_fine_tunes_are_not_distinguishable() -> None:
    """93.82 against 93.56 % of 10,000 rows, as many rows in common as if independent."""
    comparison = compare(two_runs(both=8778, only_a=604, only_b=578, neither=40))
    pair = only_pair(comparison)
    assert comparison.rows == 10_000
    assert pair.difference == 0.0026
    assert pair.verdict == "not distinguishable"
    assert pair.p_value == pytest.approx(0.467, abs=0.001)
    assert pair.interval[0] < 0 < pair.interval[1]
    assert comparison.smallest_detectable_difference == 0.007
    assert pair.difference < comparison.smallest_detectable_difference


def test_a_clear_difference_is_shown_on_both_sides() -> None:
    runs = two_runs(both=8000, only_a=800, only_b=200, neither=1000)
    better = only_pair(compare(runs))
    worse = only_pair(compare({"b": runs["b"], "a": runs["a"]}))
    assert (better.a, better.b, better.verdict) == ("a", "b", "better")
    assert (worse.a, worse.b, worse.verdict) == ("b", "a", "worse")
    assert better.difference == -worse.difference == 0.06
    assert better.p_value == worse.p_value < 1e-6
    assert better.interval == tuple(-end for end in reversed(worse.interval))
    assert 0 < better.interval[0] < 0.06 < better.interval[1]


@pytest.mark.parametrize(
    ("only_a", "only_b", "p_value"),
    [(0, 0, 1.0), (1, 1, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (10, 2, 158 / 4096)],
)
def test_mcnemar_by_hand(only_a: int, only_b: int, p_value: float) -> None:
    pair = only_pair(compare(two_runs(10, only_a, only_b, 10)))
    assert pair.p_value == pytest.approx(p_value)
    assert pair.p_adjusted == pair.p_value
    assert (pair.verdict == "not distinguishable") == (p_value >= 0.05)


@given(only_a=st.integers(0, 80), only_b=st.integers(0, 80))
@settings(max_examples=40, deadline=None)
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    pair = only_pair(compare(two_runs(1, only_a, only_b, 0)))
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert pair.p_value == pytest.approx(expected)


def test_the_same_run_twice_differs_by_nothing() -> None:
    """Without a discordant row at most 3.7 of 300 rows may be discordant in truth, with 97.5 %."""
    right = np.random.default_rng(0).random(300) < 0.8
    pair = only_pair(compare({"a": run(right), "b": run(right)}))
    assert (pair.difference, pair.p_value) == (0.0, 1.0)
    assert pair.interval == pytest.approx((-(1 - 0.025 ** (1 / 300)), 1 - 0.025 ** (1 / 300)))
    assert pair.verdict == "not distinguishable"


def test_holm_by_hand() -> None:
    """p-values 1/32 (6:0), 1/128 (8:0) and 1/2 (2:0) become 2/32, 3/128 and 1/2."""
    runs = {
        "a": run([True] * 8 + [True] * 12),
        "b": run([False] * 2 + [True] * 6 + [True] * 12),
        "c": run([False] * 8 + [True] * 12),
    }
    pairs = by_names(compare(runs))
    p_values = {names: pair.p_value for names, pair in pairs.items()}
    assert p_values == pytest.approx({("a", "b"): 0.5, ("a", "c"): 1 / 128, ("b", "c"): 1 / 32})
    adjusted = {names: pair.p_adjusted for names, pair in pairs.items()}
    assert adjusted == pytest.approx({("a", "b"): 0.5, ("a", "c"): 3 / 128, ("b", "c"): 2 / 32})
    verdicts = [pair.verdict for pair in pairs.values()]
    assert verdicts == ["not distinguishable", "better", "not distinguishable"]


def test_holm_never_lets_a_larger_p_value_fall_below_a_smaller() -> None:
    """Three equal p-values of 1/32 all become 3/32: the last is not left at 1/32."""
    rows = np.arange(40)
    runs = {
        "a": run(rows >= 0),
        "b": run(rows >= 6),
        "c": run(rows >= 12),
    }
    adjusted = {names: pair.p_adjusted for names, pair in by_names(compare(runs)).items()}
    assert adjusted[("a", "c")] == pytest.approx(3 * 2 / 2**12)
    assert adjusted[("a", "b")] == adjusted[("b", "c")] == pytest.approx(2 / 32)


def test_a_row_without_an_answer_is_wrong() -> None:
    answering = run([True] * 20)
    silent = replace(answering, probabilities=np.full((20, 2), np.nan))
    pair = only_pair(compare({"answering": answering, "silent": silent}))
    assert pair.difference == 1.0
    assert pair.verdict == "better"


# --- intervals ---


@given(
    counts=st.lists(st.tuples(*[st.integers(0, 40)] * 4), min_size=1, max_size=4),
    spare=st.integers(1, 400),
)
@settings(max_examples=40, deadline=None)
def test_verdict_and_interval_agree_in_every_pair(
    counts: list[tuple[int, int, int, int]], spare: int
) -> None:
    """No interval excludes 0 beside "cannot be told from", and none holds 0 beside "better"."""
    rows = 80 + spare
    runs = {"first": run(np.arange(rows) >= 20)}
    for number, (lost, won, more, other) in enumerate(counts):
        right = np.arange(rows) >= 20
        right[: won // 2] = True
        right[20 : 20 + lost] = False
        right[rows - (more % 5) :] = other % 2 == 0
        runs[f"m{number}"] = run(right)
    for pair in compare(runs).pairs:
        low, high = pair.interval
        assert -1 <= low <= pair.difference <= high <= 1
        said = "better" if low > 0 else "worse" if high < 0 else "not distinguishable"
        assert said == pair.verdict


def test_a_pair_that_holm_stops_at_has_an_interval_with_0() -> None:
    """a against c alone would be told apart (p = 1/32); of three pairs it is not."""
    rows = np.arange(40)
    runs = {"a": run(rows >= 0), "b": run(rows >= 6), "c": run((rows >= 6) & (rows != 30))}
    pair = by_names(compare(runs))[("a", "b")]
    assert pair.p_value < 0.05 < pair.p_adjusted
    assert pair.interval[0] <= 0 < pair.interval[1]


def test_the_seed_draws_nothing() -> None:
    runs = two_runs(7000, 700, 650, 1650)
    assert compare(runs, seed=4) == compare(runs, seed=5)


def test_another_method_alters_no_other_pair_but_by_holm() -> None:
    runs = two_runs(700, 70, 65, 165)
    third = run(np.random.default_rng(0).random(1000) < 0.7)
    alone = only_pair(compare(runs))
    for more in [{"c": third, **runs}, {**runs, "c": third}]:
        among = by_names(compare(more))[("a", "b")]
        assert replace(among, p_adjusted=alone.p_adjusted) == alone


# --- the null hypothesis ---


def test_methods_that_are_equally_good_are_seldom_told_apart() -> None:
    """Five equal methods, ten pairs: any verdict is wrong, in at most 5 % of comparisons."""
    generator = np.random.default_rng(11)
    hard = generator.random(300) * 0.4
    false_alarms, unadjusted = 0, 0
    for _ in range(100):
        runs = {name: run(generator.random(300) > hard) for name in "abcde"}
        pairs = compare(runs).pairs
        false_alarms += any(pair.verdict != "not distinguishable" for pair in pairs)
        unadjusted += any(pair.p_value < 0.05 for pair in pairs)
    assert false_alarms <= 8
    assert unadjusted > 12, "without Holm the same data would give many verdicts"


# --- ranking ---


def test_the_ranking_is_by_accuracy_then_log_loss_then_name() -> None:
    nine, eight = [True] * 9 + [False], [True] * 8 + [False] * 2
    runs = {
        "z": run(eight),
        "boastful": run(nine, sure=1 - 1e-8),  # a worse log loss than those with eight right
        "moderate": run(nine, sure=0.9),
        "a": run(eight),
        "silent": replace(run(nine), probabilities=np.full((10, 2), np.nan)),
    }
    assert compare(runs).ranking == ("moderate", "boastful", "a", "z", "silent")


# --- what the rows can show ---


@pytest.mark.parametrize(("rows", "right", "points"), [(10_000, 9_382, 0.67), (2_500, 2_400, 1.09)])
def test_one_run_has_the_unpaired_bound(rows: int, right: int, points: float) -> None:
    comparison = compare({"alone": run(np.arange(rows) < right)})
    assert comparison.pairs == ()
    assert comparison.ranking == ("alone",)
    assert round(100 * comparison.smallest_detectable_difference, 2) == points


@pytest.mark.parametrize("discordant", [6, 25, 100, 501])
def test_the_smallest_detectable_difference_is_where_the_verdict_turns(discordant: int) -> None:
    """With as many discordant rows, that lead is told and the next smaller one is not."""
    rows = 1000
    runs = two_runs(rows - discordant, discordant, 0, 0)
    smallest = compare(runs).smallest_detectable_difference
    lead = round(smallest * rows)
    wins = (discordant + lead) // 2
    at = only_pair(compare(two_runs(rows - discordant, wins, discordant - wins, 0)))
    assert at.difference == pytest.approx(smallest)
    assert at.verdict == "better"
    below = two_runs(rows - discordant, wins - 1, discordant - wins + 1, 0)
    assert only_pair(compare(below)).verdict == "not distinguishable"


def test_the_smallest_detectable_difference_takes_holm_into_account() -> None:
    """Ten equal pairs of five methods need more than one pair does."""
    draw = np.random.default_rng(0)
    hard = draw.random(1000) * 0.4
    five = {name: run(draw.random(1000) > hard) for name in "abcde"}
    among = compare(five)
    assert {pair.verdict for pair in among.pairs} == {"not distinguishable"}
    alone = compare({name: five[name] for name in "ab"})
    assert among.smallest_detectable_difference > 1.2 * alone.smallest_detectable_difference


@given(seed=st.integers(0, 10_000), methods=st.integers(2, 6))
@settings(max_examples=30, deadline=None)
def test_no_pair_above_the_smallest_detectable_difference_is_left_untold(
    seed: int, methods: int
) -> None:
    draw = np.random.default_rng(seed)
    hard = draw.random(200) * 0.5
    skills = draw.random(methods) * 0.3
    runs = {f"m{n}": run(draw.random(200) > hard - skill) for n, skill in enumerate(skills)}
    comparison = compare(runs)
    for pair in comparison.pairs:
        if pair.verdict == "not distinguishable":
            assert abs(pair.difference) < comparison.smallest_detectable_difference


def test_runs_that_agree_need_fewer_rows_than_runs_that_do_not() -> None:
    alike = compare(two_runs(900, 20, 20, 60)).smallest_detectable_difference
    unlike = compare(two_runs(600, 200, 200, 0)).smallest_detectable_difference
    assert alike < unlike / 2


def test_no_fewer_than_six_rows_can_show_a_difference() -> None:
    assert compare(two_runs(90, 0, 0, 10)).smallest_detectable_difference == 6 / 100
    assert compare({"perfect": run([True] * 100)}).smallest_detectable_difference == 6 / 100
    assert compare(two_runs(2, 1, 1, 0)).smallest_detectable_difference == 1.0


# --- against the majority label ---


def labelled(gold: Sequence[str], answers: Sequence[str]) -> Predictions:
    names = tuple(sorted(set(gold) | set(answers)))
    probabilities = np.full((len(gold), len(names)), 0.1 / (len(names) - 1))
    for row, answer in enumerate(answers):
        probabilities[row, names.index(answer)] = 0.9
    return Predictions(
        ids=tuple(map(str, range(len(gold)))),
        label_names=names,
        probabilities=probabilities,
        gold=tuple(gold),
        tokens=np.zeros(len(gold), np.int64),
        truncated=np.zeros(len(gold), np.bool_),
    )


THREE = ["neutral"] * 98 + ["positive"] * 62 + ["negative"] * 40


def test_one_label_for_all_rows_beats_neither_the_majority_nor_guessing() -> None:
    (against,) = compare({"stuck": labelled(THREE, ["positive"] * 200)}).against_majority
    assert (against.label, against.majority_accuracy, against.accuracy) == ("neutral", 0.49, 0.31)
    assert against.pair.difference == pytest.approx(-0.18)
    assert against.pair.verdict == "worse"
    assert against.balanced_accuracy == against.guessing == pytest.approx(1 / 3)
    assert not against.beats_majority
    assert not against.beats_guessing
    assert (against.commonest_answer, against.commonest_answer_rows) == ("positive", 200)


def test_a_method_that_knows_the_labels_beats_both() -> None:
    answers = ["negative", *THREE[1:-1], "positive"]
    (against,) = compare({"good": labelled(THREE, answers)}).against_majority
    assert against.beats_majority
    assert against.beats_guessing
    low, high = against.balanced_accuracy_interval
    assert 0.9 < low < against.balanced_accuracy < high <= 1


def test_random_answers_are_seldom_taken_for_knowledge() -> None:
    """At most 5 % of ten guessing methods together beat the majority, and 2.5 % each guessing."""
    draw = np.random.default_rng(2)
    gold = draw.choice(["a", "b"], 200).tolist()
    majority, guessing = 0, 0
    for _ in range(30):
        runs = {f"m{n}": labelled(gold, draw.choice(["a", "b"], 200).tolist()) for n in range(10)}
        found = compare(runs).against_majority
        majority += any(each.beats_majority for each in found)
        guessing += sum(each.beats_guessing for each in found)
    assert majority <= 3
    assert guessing <= 16


def test_abstaining_makes_no_method_look_ignorant() -> None:
    """What is left unanswered is wrong in the pairs, and answered against the majority."""
    runs = two_runs(160, 20, 10, 10)
    halved = (runs["b"].probabilities + 0.5) / 2
    unsure = {**runs, "b": replace(runs["b"], probabilities=halved)}
    plain, strict = compare(unsure), compare(unsure, abstain_below=0.8)
    assert strict.against_majority == plain.against_majority
    assert only_pair(strict).difference > only_pair(plain).difference


def test_tables_of_tied_labels_are_equal_whatever_the_order_of_their_columns() -> None:
    gold = ("pos",) * 80 + ("neg",) * 20
    table = Predictions(
        ids=tuple(map(str, range(100))),
        label_names=("neg", "pos"),
        probabilities=np.full((100, 2), 0.5),
        gold=gold,
        tokens=np.zeros(100, np.int64),
        truncated=None,
    )
    pair = only_pair(compare({"a": table, "b": replace(table, label_names=("pos", "neg"))}))
    assert (pair.difference, pair.verdict) == (0.0, "not distinguishable")


# --- invariances ---


def test_the_rows_of_each_run_may_come_in_any_order() -> None:
    runs = two_runs(60, 12, 8, 20)
    shuffled = {
        name: reordered(predictions, np.random.default_rng(seed).permutation(100).tolist())
        for seed, (name, predictions) in enumerate(runs.items())
    }
    assert compare(shuffled) == compare(runs)
    assert compare(runs).test_ids_sha256 == ids_sha256(runs["a"].ids)


def test_each_run_may_have_its_own_order_of_labels() -> None:
    runs = two_runs(60, 12, 8, 20)
    turned = replace(
        runs["b"], label_names=LABELS[::-1], probabilities=runs["b"].probabilities[:, ::-1]
    )
    assert compare({"a": runs["a"], "b": turned}) == compare(runs)


# --- errors ---


def sentence(runs: Mapping[str, Predictions]) -> str:
    with pytest.raises(PredictionsError) as caught:
        compare(runs)
    return str(caught.value)


def test_no_runs_are_refused() -> None:
    assert sentence({}) == "Expected at least one run to compare, but there is none. Name one."


def test_a_run_without_rows_is_refused() -> None:
    assert sentence({"a": run([])}) == (
        "Expected runs with rows to compare, but 'a' has none. Predict at least one text with it."
    )


def test_a_run_without_gold_labels_is_refused() -> None:
    good = run([True, False])
    assert sentence({"a": good, "b": replace(good, gold=None)}) == (
        "Expected gold labels in every run, but 'b' has none. "
        "Write the true labels as its column gold."
    )


def test_a_gold_label_without_a_column_is_refused() -> None:
    good = run([True, False])
    assert sentence({"a": good, "b": replace(good, label_names=("0", "1"))}) == (
        "Expected every gold label of 'b' to be one of 0, 1, but 'negative' has no probability "
        "column. Write the labels and the columns with the same names."
    )


def test_repeated_ids_are_refused() -> None:
    good = run([True, False, True])
    assert sentence({"a": replace(good, ids=("1", "2", "1"))}) == (
        "Expected each id once in every run, but 'a' has 3 rows and 2 ids. "
        "Give every row its own id."
    )


def test_different_test_rows_are_refused_with_their_number() -> None:
    """10,000 rows for one method and 2,500 for another are no comparison."""
    many, few = run([True] * 10), run([True] * 4)
    assert sentence({"distilbert": many, "mistral": few}) == (
        "Expected the same test rows in every run, but 'distilbert' and 'mistral' differ in 6 "
        "ids, such as 'row-4'. Predict the same rows with each."
    )


def test_different_gold_labels_are_refused_by_row() -> None:
    good = run([True] * 4)
    other = replace(good, gold=("negative", "negative", "negative", "positive"))
    assert sentence({"a": good, "b": other}) == (
        "Expected the same gold labels in every run, but 'a' and 'b' differ in 1: the row 'row-1' "
        "is positive in the one and negative in the other. Take both from the same data."
    )
