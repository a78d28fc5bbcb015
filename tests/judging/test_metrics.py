import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import log

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from pollice.errors import OptionError, PredictionsError
from pollice.judging.metrics import (
    Evaluation,
    ReliabilityBin,
    abstain,
    balanced_accuracy,
    evaluate,
    wilson_interval,
)
from pollice.predictions.table import Predictions

NO_ANSWER = "no answer"


def table(
    probabilities: Sequence[Sequence[float]],
    gold: Sequence[str] | None,
    *,
    label_names: tuple[str, ...] = ("negative", "positive"),
    truncated: Sequence[bool] | None = None,
) -> Predictions:
    rows = len(probabilities)
    return Predictions(
        ids=tuple(f"row-{row}" for row in range(rows)),
        label_names=label_names,
        probabilities=np.array(probabilities, dtype=np.float64).reshape(rows, len(label_names)),
        gold=tuple(gold) if gold is not None else None,
        tokens=np.full(rows, 7, np.int64),
        truncated=np.array(truncated if truncated is not None else [False] * rows, np.bool_),
    )


def hard_answers(right: dict[str, int], rows_per_label: int) -> Predictions:
    """A sure answer a row, as many right as told for each label."""
    probabilities, gold = [], []
    for column, (label, count) in enumerate(right.items()):
        answers = [column] * count + [1 - column] * (rows_per_label - count)
        probabilities += [[1.0 - answer, float(answer)] for answer in answers]
        gold += [label] * rows_per_label
    return table(probabilities, gold, label_names=tuple(right))


@st.composite
def tables(draw: st.DrawFn, *, answered_only: bool = False) -> Predictions:
    labels = tuple("abcd"[: draw(st.integers(2, 4))])
    rows = draw(st.integers(1, 40))
    weight = st.integers(0, 20)
    answer = st.lists(weight, min_size=len(labels), max_size=len(labels)).filter(any)
    nothing = st.just([float("nan")] * len(labels))
    weights = draw(
        st.lists(answer if answered_only else answer | nothing, min_size=rows, max_size=rows)
    )
    probabilities = np.array(weights, dtype=np.float64)
    return table(
        (probabilities / probabilities.sum(axis=1, keepdims=True)).tolist(),
        draw(st.lists(st.sampled_from(labels), min_size=rows, max_size=rows)),
        label_names=labels,
        truncated=draw(st.lists(st.booleans(), min_size=rows, max_size=rows)),
    )


def random_table(rows: int, labels: int, seed: int) -> Predictions:
    generator = np.random.default_rng(seed)
    names = tuple("abcdefgh"[:labels])
    probabilities = generator.dirichlet(np.ones(labels), size=rows)
    probabilities[generator.random(rows) < 0.1] = np.nan
    return table(
        probabilities.tolist(),
        [names[column] for column in generator.integers(0, labels, rows)],
        label_names=names,
        truncated=(generator.random(rows) < 0.3).tolist(),
    )


# --- known values ---


def test_the_reports_small_sample_gets_its_wide_interval() -> None:
    """98 and 28 % right of 50 rows a label: 63 %, and anything from 53 to 72 %."""
    evaluation = evaluate(hard_answers({"negative": 49, "positive": 14}, 50))
    assert evaluation.rows == 100
    assert evaluation.accuracy == 0.63
    assert [round(100 * end) for end in evaluation.accuracy_interval] == [53, 72]
    assert evaluation.per_label["negative"].accuracy == 0.98
    assert evaluation.per_label["positive"].accuracy == 0.28
    assert evaluation.confusion == ((49, 1, 0), (36, 14, 0))


def test_the_figures_of_one_label() -> None:
    positive = evaluate(hard_answers({"negative": 40, "positive": 30}, 50)).per_label["positive"]
    assert positive.support == 50
    assert positive.precision == 30 / 40
    assert positive.recall == positive.accuracy == 30 / 50
    assert positive.f1 == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))


def test_a_row_without_an_answer_is_wrong_and_lowers_coverage() -> None:
    predictions = table(
        [[0.9, 0.1], [float("nan")] * 2, [0.2, 0.8], [0.6, 0.4]],
        ["negative", "negative", "positive", "positive"],
    )
    evaluation = evaluate(predictions)
    assert evaluation.accuracy == 0.5
    assert evaluation.coverage == 0.75
    assert evaluation.answered_accuracy == pytest.approx(2 / 3)
    assert evaluation.confusion == ((1, 0, 1), (1, 1, 0))
    assert evaluation.per_label["negative"].recall == 0.5
    assert evaluation.per_label["negative"].precision == 0.5
    assert evaluation.log_loss == pytest.approx(-(log(0.9) + log(0.8) + log(0.4)) / 3)
    assert sum(part.rows for part in evaluation.reliability) == 3


SURE_AND_UNSURE = [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]]
FOUR = ["negative", "positive", "negative", "negative"]


def test_rows_below_the_threshold_have_no_answer_and_are_wrong_at_worst() -> None:
    evaluation = evaluate(table(SURE_AND_UNSURE, FOUR), abstain_below=0.8)
    assert evaluation.abstain_below == 0.8
    assert evaluation.coverage == 0.5
    assert evaluation.answered_accuracy == 1.0
    assert evaluation.answered_accuracy_interval == wilson_interval(2, 2)
    assert evaluation.accuracy == 0.5
    assert evaluation.accuracy_interval == wilson_interval(2, 4)
    assert evaluation.confusion == ((1, 0, 2), (0, 1, 0))


def test_abstaining_embellishes_no_figure_of_the_probabilities() -> None:
    """Log loss, ECE and ROC AUC are of all rows with probabilities, unanswered ones included."""
    plain = evaluate(table(SURE_AND_UNSURE, FOUR))
    strict = evaluate(table(SURE_AND_UNSURE, FOUR), abstain_below=0.8)
    assert strict.log_loss == plain.log_loss
    assert strict.reliability == plain.reliability
    assert strict.expected_calibration_error == plain.expected_calibration_error
    assert strict.roc_auc == plain.roc_auc
    assert strict.scored_rows == 4


def test_the_threshold_itself_is_high_enough() -> None:
    assert evaluate(table(SURE_AND_UNSURE, FOUR), abstain_below=0.7).coverage == 0.75


def test_no_threshold_and_zero_answer_every_row() -> None:
    plain = evaluate(table(SURE_AND_UNSURE, FOUR))
    assert plain.coverage == 1.0
    assert plain == replace(
        evaluate(table(SURE_AND_UNSURE, FOUR), abstain_below=0), abstain_below=None
    )


def test_where_nothing_is_answered_there_is_no_accuracy_of_the_answered() -> None:
    evaluation = evaluate(table(SURE_AND_UNSURE, FOUR), abstain_below=0.95)
    assert evaluation.coverage == evaluation.accuracy == 0.0
    assert evaluation.answered_accuracy is None
    assert evaluation.answered_accuracy_interval is None


@given(tables(), st.floats(0, 0.99))
@settings(max_examples=50, deadline=None)
def test_abstaining_first_or_while_evaluating_is_the_same(
    predictions: Predictions, below: float
) -> None:
    """So the paired tests, which abstain first, hold to the same rule."""
    first, while_evaluating = (
        evaluate(abstain(predictions, below)),
        evaluate(predictions, abstain_below=below),
    )
    for name in ["accuracy", "coverage", "confusion", "per_label", "answered_accuracy"]:
        assert getattr(first, name) == getattr(while_evaluating, name)


def test_abstaining_leaves_the_table_itself_alone() -> None:
    predictions = table(SURE_AND_UNSURE, FOUR)
    assert abstain(predictions, 0.8).predicted == ("negative", "positive", None, None)
    assert abstain(predictions, None).predicted == predictions.predicted
    assert predictions.predicted == ("negative", "positive", "positive", "negative")


@pytest.mark.parametrize("below", [-0.01, 1.0, float("nan")])
def test_a_threshold_outside_its_range_is_refused(below: float) -> None:
    sentence = (
        rf"^abstain_below is {below:g}, but no answer can be held to a probability outside "
        r"\[0, 1\)\. Give the lowest probability to answer at, such as 0\.8\.$"
    )
    with pytest.raises(OptionError, match=sentence):
        evaluate(table(SURE_AND_UNSURE, FOUR), abstain_below=below)


def test_unsound_scores_are_refused_also_where_they_are_below_the_threshold() -> None:
    with pytest.raises(PredictionsError):
        evaluate(table([[0.2, 0.2]], ["negative"]), abstain_below=0.5)


def test_a_row_with_one_nan_has_no_answer() -> None:
    predictions = table([[float("nan"), 0.9], [0.2, 0.8]], ["positive", "positive"])
    assert evaluate(predictions).coverage == 0.5


def test_a_table_without_any_answer_gets_the_worst_of_every_figure() -> None:
    nothing = [float("nan"), float("nan")]
    evaluation = evaluate(table([nothing, nothing], ["negative", "positive"]))
    assert evaluation.accuracy == evaluation.coverage == evaluation.macro_f1 == 0.0
    assert evaluation.matthews == 0.0
    assert evaluation.accuracy_interval[0] == 0.0
    assert evaluation.answered_accuracy is None
    assert evaluation.roc_auc is None
    assert evaluation.reliability == ()
    assert evaluation.expected_calibration_error == 1.0
    assert evaluation.log_loss == -log(np.finfo(np.float64).eps)


def test_truncated_rows_are_counted_and_judged_apart() -> None:
    predictions = table(
        [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]],
        ["negative", "positive", "negative"],
        truncated=[True, True, False],
    )
    evaluation = evaluate(predictions)
    assert evaluation.truncated_rows == 2
    assert evaluation.truncated_accuracy == 0.5
    assert evaluation.untruncated_accuracy == 1.0


def test_a_side_of_truncation_without_rows_has_no_accuracy() -> None:
    untouched = evaluate(table([[0.9, 0.1]], ["negative"], truncated=[False]))
    assert (untouched.truncated_accuracy, untouched.untruncated_accuracy) == (None, 1.0)
    cut = evaluate(table([[0.9, 0.1]], ["negative"], truncated=[True]))
    assert (cut.truncated_accuracy, cut.untruncated_accuracy) == (1.0, None)


def test_the_majority_is_the_commonest_gold_label() -> None:
    predictions = table([[0.9, 0.1]] * 4, ["positive", "positive", "positive", "negative"])
    assert evaluate(predictions).majority_accuracy == 0.75
    assert evaluate(predictions).accuracy == 0.25


def test_calibration_by_hand() -> None:
    """Four rows at 0.9, three of them right, and two at 0.6, both right."""
    predictions = table(
        [[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2,
        ["negative"] * 3 + ["positive"] + ["positive"] * 2,
    )
    evaluation = evaluate(predictions)
    assert evaluation.expected_calibration_error == pytest.approx((4 * 0.15 + 2 * 0.4) / 6)
    low, high = evaluation.reliability
    assert low == ReliabilityBin(lower=8 / 15, upper=9 / 15, confidence=0.6, accuracy=1.0, rows=2)
    assert (high.rows, high.accuracy) == (4, 0.75)
    assert [high.lower, high.upper] == pytest.approx([13 / 15, 14 / 15])
    assert high.confidence == pytest.approx(0.9)


def test_a_calibrated_table_has_a_small_calibration_error_and_a_boastful_one_a_large() -> None:
    generator = np.random.default_rng(0)
    positive = generator.random(20_000)
    gold = np.where(generator.random(20_000) < positive, "positive", "negative").tolist()
    honest = np.stack([1 - positive, positive], axis=1)
    assert evaluate(table(honest.tolist(), gold)).expected_calibration_error < 0.02
    boastful = np.round(honest)
    assert evaluate(table(boastful.tolist(), gold)).expected_calibration_error > 0.2


def test_a_label_without_rows_or_claims_is_zero_and_weighs_in_macro_f1() -> None:
    predictions = table([[1.0, 0.0, 0.0]] * 2, ["a", "a"], label_names=("a", "b", "c"))
    evaluation = evaluate(predictions)
    absent = evaluation.per_label["b"]
    assert (absent.accuracy, absent.precision, absent.recall, absent.f1) == (0.0, 0.0, 0.0, 0.0)
    assert absent.support == 0
    assert evaluation.macro_f1 == pytest.approx(1 / 3)
    assert evaluation.matthews == 0.0
    assert evaluation.roc_auc is None


def test_a_sure_wrong_answer_costs_a_finite_log_loss() -> None:
    evaluation = evaluate(table([[1.0, 0.0]], ["positive"]))
    assert evaluation.log_loss == pytest.approx(-log(np.finfo(np.float64).eps))


def test_the_seed_changes_nothing() -> None:
    predictions = random_table(50, 3, seed=0)
    assert evaluate(predictions, seed=1) == evaluate(predictions, seed=2)


def test_what_a_table_does_not_say_of_cut_rows_is_unknown() -> None:
    evaluation = evaluate(replace(table([[0.9, 0.1]], ["negative"]), truncated=None))
    assert evaluation.truncated_rows is None
    assert evaluation.truncated_accuracy is evaluation.untruncated_accuracy is None


def test_rows_of_which_nothing_was_read_are_counted_unless_no_row_has_tokens() -> None:
    judged = table([[0.9, 0.1]] * 3, ["negative"] * 3)
    for tokens, expected in (([7, 0, 0], 2), ([7, 1, 2], 0), ([0, 0, 0], None)):
        assert evaluate(replace(judged, tokens=np.array(tokens))).unread_rows == expected


def test_tied_rows_are_counted_and_answered_with_the_first_label_by_name() -> None:
    tied = [[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [0.3, 0.3, 0.4], [float("nan")] * 3]
    predictions = table(tied, ["b", "a", "c", "a"], label_names=("b", "c", "a"))
    assert predictions.predicted == ("b", "a", "a", None)
    assert predictions.tied.tolist() == [True, True, False, False]
    assert evaluate(predictions).tied_rows == 2
    assert evaluate(predictions, abstain_below=0.5).tied_rows == 0


@given(predictions=tables(), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_columns_decides_no_answer(predictions: Predictions, seed: int) -> None:
    """Also where labels are tied, as weights of small whole numbers often are."""
    columns = np.random.default_rng(seed).permutation(len(predictions.label_names)).tolist()
    turned = replace(
        predictions,
        label_names=tuple(predictions.label_names[column] for column in columns),
        probabilities=predictions.probabilities[:, columns],
    )
    assert turned.predicted == predictions.predicted
    assert turned.tied.tolist() == predictions.tied.tolist()


def test_the_majority_label_of_several_is_the_first_by_name() -> None:
    predictions = table([[0.9, 0.1]] * 2, ["b", "a"], label_names=("b", "a"))
    assert evaluate(predictions).majority_label == "a"


def test_the_interval_of_the_balanced_accuracy_holds_the_truth() -> None:
    """95 of 100 studies or so, with a rare label and recalls near 1 and near 0."""
    draw = np.random.default_rng(5)
    gold = np.repeat([0, 1, 2], [150, 40, 10])
    recalls = np.array([0.97, 0.6, 0.2])
    held = 0
    for _ in range(400):
        right = draw.random(200) < recalls[gold]
        confusion = np.zeros((3, 4), np.int64)
        np.add.at(confusion, (gold, np.where(right, gold, (gold + 1) % 3)), 1)
        low, high = balanced_accuracy(confusion)[1]
        held += low <= recalls.mean() <= high
    assert 0.92 <= held / 400 <= 0.985


# --- against scikit-learn and scipy ---


@given(predictions=tables())
@settings(max_examples=150, deadline=None)
def test_hard_answers_agree_with_scikit_learn(predictions: Predictions) -> None:
    evaluation = evaluate(predictions)
    names = list(predictions.label_names)
    gold = list(predictions.gold or ())
    answers = [answer or NO_ANSWER for answer in predictions.predicted]
    assert evaluation.accuracy == pytest.approx(sklearn.metrics.accuracy_score(gold, answers))
    expected = sklearn.metrics.confusion_matrix(gold, answers, labels=[*names, NO_ANSWER])
    assert evaluation.confusion == tuple(map(tuple, expected[:-1].tolist()))
    columns = sklearn.metrics.precision_recall_fscore_support(
        gold, answers, labels=names, zero_division=0.0
    )
    for label, *figures in zip(names, *columns, strict=True):
        found = evaluation.per_label[label]
        assert [found.precision, found.recall, found.f1, found.support] == pytest.approx(figures)
    assert evaluation.macro_f1 == pytest.approx(columns[2].mean())
    recalls = [
        evaluation.per_label[name].recall for name in names if evaluation.per_label[name].support
    ]
    assert evaluation.balanced_accuracy == pytest.approx(np.mean(recalls))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of a single label; we return 0.0
        expected_matthews = sklearn.metrics.matthews_corrcoef(gold, answers)
    assert evaluation.matthews == pytest.approx(expected_matthews)


@given(predictions=tables(answered_only=True))
@settings(max_examples=150, deadline=None)
def test_probabilities_agree_with_scikit_learn(predictions: Predictions) -> None:
    evaluation = evaluate(predictions)
    names, gold = list(predictions.label_names), list(predictions.gold or ())
    expected = sklearn.metrics.log_loss(gold, predictions.probabilities, labels=names)
    assert evaluation.log_loss == pytest.approx(expected)
    if len(names) == 2 and len(set(gold)) == 2:
        scores = predictions.probabilities[:, 1]
        truth = [label == names[1] for label in gold]
        assert evaluation.roc_auc == pytest.approx(sklearn.metrics.roc_auc_score(truth, scores))
    else:
        assert evaluation.roc_auc is None


@given(predictions=tables())
@settings(max_examples=100, deadline=None)
def test_calibration_agrees_with_a_plain_loop(predictions: Predictions) -> None:
    rows = [
        (max(row), answer == label)
        for row, answer, label in zip(
            predictions.probabilities.tolist(),
            predictions.predicted,
            predictions.gold or (),
            strict=True,
        )
        if answer is not None
    ]
    error = 0.0
    edges = np.linspace(0.0, 1.0, 16).tolist()
    for lower, upper in pairwise(edges):
        inside = [(sure, right) for sure, right in rows if lower < sure <= upper]
        error += abs(sum(right for _, right in inside) - sum(sure for sure, _ in inside))
    expected = error / len(rows) if rows else 1.0
    assert evaluate(predictions).expected_calibration_error == pytest.approx(expected)


@given(right=st.integers(0, 60), wrong=st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_the_interval_is_wilsons(right: int, wrong: int) -> None:
    if right + wrong == 0:
        return
    predictions = table([[1.0, 0.0]] * (right + wrong), ["negative"] * right + ["positive"] * wrong)
    interval = binomtest(right, right + wrong).proportion_ci(method="wilson")
    lower, upper = evaluate(predictions).accuracy_interval
    assert (lower, upper) == pytest.approx((interval.low, interval.high))
    assert 0.0 <= lower <= right / (right + wrong) <= upper <= 1.0


# --- invariances ---


def reordered_rows(predictions: Predictions, order: Sequence[int]) -> Predictions:
    gold = predictions.gold or ()
    return replace(
        predictions,
        ids=tuple(predictions.ids[row] for row in order),
        probabilities=predictions.probabilities[list(order)],
        gold=tuple(gold[row] for row in order),
        truncated=None if predictions.truncated is None else predictions.truncated[list(order)],
    )


def assert_same_scalars(found: Evaluation, expected: Evaluation) -> None:
    for name in [
        "accuracy",
        "accuracy_interval",
        "macro_f1",
        "matthews",
        "roc_auc",
        "log_loss",
        "expected_calibration_error",
        "coverage",
        "answered_accuracy",
        "truncated_accuracy",
        "untruncated_accuracy",
        "majority_accuracy",
        "balanced_accuracy",
        "balanced_accuracy_interval",
    ]:
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name


@pytest.mark.parametrize("labels", [2, 3, 5])
def test_the_order_of_the_rows_does_not_matter(labels: int) -> None:
    predictions = random_table(200, labels, seed=labels)
    order = np.random.default_rng(1).permutation(200).tolist()
    found = evaluate(reordered_rows(predictions, order))
    expected = evaluate(predictions)
    assert_same_scalars(found, expected)
    assert found.confusion == expected.confusion
    assert found.per_label == expected.per_label


@pytest.mark.parametrize("labels", [2, 3, 5])
def test_the_order_of_the_label_columns_does_not_matter(labels: int) -> None:
    predictions = random_table(200, labels, seed=labels)
    columns = list(range(labels))[::-1]
    turned = replace(
        predictions,
        label_names=tuple(predictions.label_names[column] for column in columns),
        probabilities=predictions.probabilities[:, columns],
    )
    found, expected = evaluate(turned), evaluate(predictions)
    assert_same_scalars(found, expected)
    assert dict(found.per_label) == dict(expected.per_label)
    confusion = np.array(expected.confusion)[columns][:, [*columns, labels]]
    assert found.confusion == tuple(map(tuple, confusion.tolist()))


# --- errors ---


def sentence(predictions: Predictions) -> str:
    with pytest.raises(PredictionsError) as caught:
        evaluate(predictions)
    return str(caught.value)


def test_a_table_without_rows_is_refused() -> None:
    assert sentence(table([], [])) == (
        "Expected a predictions table with rows to evaluate, but it has none. "
        "Predict at least one text."
    )


def test_a_table_without_gold_labels_is_refused() -> None:
    assert sentence(table([[0.5, 0.5]], None)) == (
        "Expected gold labels to evaluate against, but the table has none. "
        "Write the true labels as its column gold."
    )


def test_a_gold_label_without_a_column_is_refused_by_name() -> None:
    assert sentence(table([[0.5, 0.5]] * 2, ["positive", "neutral"])) == (
        "Expected every gold label to be one of negative, positive, but 'neutral' has no "
        "probability column. Write the labels and the columns with the same names."
    )


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ([0.9, 0.3], "lie between 0.3 and 0.9 and sum to 1.2"),
        ([-0.1, 1.1], "lie between -0.1 and 1.1 and sum to 1"),
        ([0.5, 0.498], "lie between 0.498 and 0.5 and sum to 0.998"),
        ([0.0, float("inf")], "lie between 0 and inf and sum to 0"),
    ],
)
def test_scores_that_are_no_probabilities_are_refused_by_row(row: list[float], found: str) -> None:
    nothing = [float("nan")] * 2
    predictions = table([nothing, [0.5, 0.5], row, [3.0, 4.0]], ["positive"] * 4)
    assert sentence(predictions) == (
        "Expected probabilities between 0 and 1 that sum to 1 in every row, but those of row "
        f"'row-2' {found}. Normalise each row, or write NaN where there is no answer."
    )


def test_rounding_of_single_precision_is_no_error() -> None:
    probabilities = [[1 / 3, 2 / 3], [1.0 + 1e-7, 0.0], [0.5, 0.4995]]
    assert evaluate(table(probabilities, ["positive"] * 3)).coverage == 1.0
