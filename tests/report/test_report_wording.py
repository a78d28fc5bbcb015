from dataclasses import replace

import numpy as np
import pytest

from pollice.judging.comparison import compare
from pollice.judging.metrics import evaluate
from pollice.judging.results import Comparison, Pair, Report, Verdict
from pollice.predictions.table import Predictions
from pollice.report import headline, resolution, unanswered, wording
from pollice.report.glossary import GLOSSARY
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
        "Best: finetune, accuracy 0.912 [0.884, 0.934] on 500 test rows. It is better than "
        "baseline "
        "(+4.2 points [1.8, 6.6], p = 0.002) and not distinguishable from features. Among these "
        "and finetune, finetune answers fastest (400 rows/s). Always answering the commonest "
        "label gives 0.500."
    )


def test_headline_of_a_clear_winner() -> None:
    report = report_with(pair("baseline", 0.1, "better", 0.0000004))
    assert headline(report) == (
        "Best: finetune, accuracy 0.912 [0.884, 0.934] on 500 test rows. It is better than "
        "baseline "
        "(+10.0 points [7.6, 12.4], p < 0.001). Always answering the commonest label gives 0.500."
    )


def test_headline_names_many_beaten_methods_without_figures() -> None:
    report = report_with(*(pair(name, 0.1, "better", 0.001) for name in "abcd"))
    assert "It is better than a, b, c and d." in headline(report)


def test_headline_of_one_method_compares_nothing() -> None:
    assert headline(report_with()) == (
        "finetune: accuracy 0.912 [0.884, 0.934] on 500 test rows. "
        "Always answering the commonest label gives 0.500."
    )


def stuck(answer: int, *, rows: int = 200) -> Predictions:
    """Return a table of three labels at shares of 49, 31 and 20 % with one answer for all rows."""
    gold = np.array(["neutral"] * 98 + ["positive"] * 62 + ["negative"] * 40)
    probabilities = np.full((rows, 3), 0.15)
    probabilities[:, answer] = 0.7
    return Predictions(
        ids=tuple(map(str, range(rows))),
        label_names=("negative", "neutral", "positive"),
        probabilities=probabilities,
        gold=tuple(gold.tolist()),
        tokens=np.zeros(rows, np.int64),
        truncated=np.zeros(rows, np.bool_),
    )


def reported(tables: dict[str, Predictions]) -> Report:
    return report_of([method_report(name, table) for name, table in tables.items()], tables)


def test_headline_says_when_nothing_was_learnt() -> None:
    assert headline(reported({"prompt": stuck(2)})) == (
        "prompt: accuracy 0.310 [0.250, 0.377] on 200 test rows. But always answering the "
        "commonest label gives 0.490, so this test set does not show that any method has learnt "
        "anything. prompt "
        "is near chance: its accuracy of 0.310 is not above the 0.490 of always answering neutral "
        "(\N{MINUS SIGN}18.0 points [\N{MINUS SIGN}30.3, \N{MINUS SIGN}5.1], p = 0.005), nor its "
        "balanced accuracy of 0.333 [0.314, 0.365] above the 0.333 of guessing. It answers "
        "positive in 200 of 200 rows."
    )


def test_every_method_near_chance_is_named_also_where_the_best_is_good() -> None:
    table = stuck(2)
    gold = [table.label_names.index(label) for label in table.gold or ()]
    good = replace(table, probabilities=np.full((200, 3), 0.1) + 0.7 * np.eye(3)[gold])
    said = headline(reported({"good": good, "first": stuck(2), "second": stuck(1)}))
    assert "does not show that any method" not in said
    assert "first is near chance" in said
    assert "after Holm's correction for 3 methods), nor its balanced" in said
    assert "second is near chance" in said
    assert "good is near chance" not in said
    many = headline(reported({"good": good, **{name: stuck(2) for name in "abcd"}}))
    assert (
        "Near chance are a, b, c and d: neither more accurate than always answering neutral, nor "
        "better than guessing in balanced accuracy." in many
    )


def test_a_method_that_beats_only_guessing_or_only_the_majority_is_told_so() -> None:
    """Half of the rare labels' rows found, at the price of the common one's: 0.49 against 0.49."""
    table = stuck(1)
    gold = np.array([table.label_names.index(label) for label in table.gold or ()])
    answers = np.where(np.arange(200) % 2 == 0, gold, (gold + 1) % 3)
    even = replace(table, probabilities=np.full((200, 3), 0.1) + 0.7 * np.eye(3)[answers])
    said = headline(reported({"even": even}))
    assert "does not show that any method" not in said
    assert (
        "Better than guessing in balanced accuracy, but not more accurate than always answering "
        "neutral: even (+1.0 points [" in said
    )
    against = compare({"odd": even}).against_majority[0]
    odd = replace(
        against,
        pair=replace(against.pair, verdict="better"),
        balanced_accuracy=0.35,
        balanced_accuracy_interval=(0.31, 0.39),
    )
    report = reported({"odd": even})
    turned = replace(report, comparison=replace(report.comparison, against_majority=(odd,)))
    assert (
        "More accurate than always answering neutral, but not shown to be better than guessing in "
        "balanced accuracy: odd (0.350 [0.310, 0.390])." in headline(turned)
    )


def test_resolution_is_the_smallest_difference_that_shows() -> None:
    assert resolution(report_with(pair("b", 0.0, "not distinguishable", 1.0))) == (
        "This test set tells any two of these methods apart that differ by 2.6 points or more; a "
        "true difference of just that size shows about every second time only."
    )
    assert resolution(report_with()) == (
        "A second method on these 500 test rows could be told from this one if their accuracies "
        "differ by about 2.6 points or more."
    )


def test_resolution_says_that_holm_is_included_and_that_less_may_show() -> None:
    pairs = (pair("b", 0.01, "better", 0.01), pair("c", 0.0, "not distinguishable", 1.0))
    assert resolution(report_with(*pairs)) == (
        "This test set tells any two of these methods apart that differ by 2.6 points or more "
        "(Holm's correction for 2 pairs included); a true difference of just that size shows "
        "about every second time only. A smaller one is told where two methods are wrong on much "
        "the same rows."
    )


@pytest.mark.parametrize(
    ("interval", "written"),
    [
        ((0.018, 0.066), "+4.2 [1.8, 6.6]"),
        ((0.0003, 0.066), "+4.2 [0.03, 6.60]"),
        ((-0.0003, 0.066), "+4.2 [0.0, 6.6]"),
        ((1e-300, 0.066), "+4.2 [0.000000, 6.600000]"),
    ],
)
def test_an_interval_that_excludes_0_shows_it(interval: tuple[float, float], written: str) -> None:
    assert (
        wording.difference(replace(pair("b", 0.042, "better", 0.01), interval=interval)) == written
    )


def test_the_headline_says_that_rows_were_left_unanswered() -> None:
    table = predictions(0.8)
    report = report_of(
        [method_report("prompt", table, evaluation=evaluate(table, abstain_below=0.8))],
        {"prompt": table},
        abstain_below=0.8,
    )
    judged = report.best.evaluation
    assert judged.answered_accuracy_interval is not None
    bounds = wording.interval(judged.answered_accuracy_interval)
    assert (
        "Rows with a probability below 0.8 are left unanswered and count as wrong there: it "
        f"answers {judged.coverage:.3f} of the rows, and is right on "
        f"{judged.answered_accuracy:.3f} {bounds} of those." in headline(report)
    )


def test_an_unknown_speed_is_compared_with_none() -> None:
    tables = {"a": predictions(0.8), "b": predictions(0.8, seed=1)}
    methods = [
        method_report(name, table, speed=speed)
        for (name, table), speed in zip(tables.items(), (400.0, float("nan")), strict=True)
    ]
    assert "answers fastest" not in headline(report_of(methods, tables))


def test_unanswered_rows_are_told() -> None:
    table = predictions(0.8)
    table.probabilities[:12] = float("nan")
    report = report_of([method_report("prompt", table)], {"prompt": table})
    answered = wording.share(report.best.evaluation.answered_accuracy)
    assert unanswered.silences(report) == (
        "prompt gave no answer for 12 of 500 rows, which count as wrong; of those it answered, "
        f"{answered} are right, and log loss, ECE and ROC AUC are of those alone.",
    )
    strict = method_report("prompt", table, evaluation=evaluate(table, abstain_below=0.6))
    assert unanswered.silences(report_of([strict], {"prompt": table})) == (
        "prompt gave no probabilities for 12 of 500 rows, which count as wrong; log loss, ECE and "
        "ROC AUC are of the others.",
    )


def test_tied_rows_are_told() -> None:
    table = predictions(0.8)
    table.probabilities[:7] = 0.5
    assert unanswered.silences(report_of([method_report("prompt", table)], {"prompt": table})) == (
        "prompt gave its highest probability to several labels in 7 of 500 rows; such a row is "
        "answered with the first of them by name.",
    )


def test_a_label_that_occurs_and_is_never_answered_is_named() -> None:
    """The accuracy of 0.49 does not show it; two labels are held against the majority instead."""
    table = stuck(1)
    assert unanswered.silences(reported({"prompt": table})) == (
        "prompt never or hardly ever answers negative (0 of 40 rows) and positive (0 of 62 rows); "
        "in brackets, how many of the rows of such a label it has right.",
    )
    assert not unanswered.silences(reported({"prompt": predictions(0.8, labels=("a", "b", "c"))}))
    table.probabilities[:6] = 0.15, 0.15, 0.7
    table.probabilities[6:11] = 0.7, 0.15, 0.15
    assert unanswered.silences(reported({"prompt": table})) == (
        "prompt never or hardly ever answers positive (0 of 62 rows); in brackets, how many of the "
        "rows of such a label it has right.",
    )


def test_cut_rows_are_unknown_where_a_table_does_not_tell() -> None:
    tables = {"ours": predictions(0.8, cut=3), "theirs": replace(predictions(0.7), truncated=None)}
    assert unanswered.cutting(reported({"theirs": tables["theirs"]})) == (
        "Whether test rows were cut is unknown of theirs: the predictions tables have no column "
        "truncated."
    )
    assert unanswered.cutting(reported(tables)) == (
        "Whether test rows were cut is unknown of theirs: the predictions tables have no column "
        "truncated. Of the others, 1 of 1 cut some."
    )


def test_cut_rows_are_told() -> None:
    assert unanswered.cutting(simple_report({"a": 0.8})) == (
        "No method cut a test row: every text was read whole."
    )
    assert unanswered.cutting(simple_report({"a": 0.8, "b": 0.7}, cut=3)) == (
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
    [(0.04, "0.0"), (3.14, "3.1"), (21000.4, "21,000"), (float("nan"), "unknown")],
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
        GLOSSARY
    )
    assert {"Near chance", "Balanced accuracy", "Quadratic kappa", "Spearman", "Tie"} <= set(
        GLOSSARY
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


def test_a_method_that_does_not_beat_the_lexicon_is_named() -> None:
    """The lexicon needs neither labels nor a model, so nobody should pay for less."""
    report = five_methods()
    worst = report.ranked[-1]
    methods = tuple(
        replace(method, method="lexicon") if method.name == worst.name else method
        for method in report.methods
    )
    told = " ".join(wording.warnings(replace(report, methods=methods)))
    beaten = {pair.a for pair in report.pairs if pair.b == worst.name and pair.verdict == "better"}
    others = [method.name for method in report.ranked[:-1] if method.name not in beaten]
    assert ("Not shown to be better than" in told) == bool(others)
    best = replace(report.best, method="lexicon")
    methods = (best, *(method for method in report.methods if method.name != best.name))
    told = " ".join(wording.warnings(replace(report, methods=methods)))
    assert f"Not shown to be better than {best.name}, a list of English words" in told
    for method in report.ranked[1:]:
        assert method.name in told.partition("nor a model: ")[2]


def test_what_a_method_says_against_its_answers_is_told() -> None:
    report = five_methods()
    doubtful = replace(report.best, facts={"warnings": ["The labels are bare numbers."]})
    methods = (doubtful, *(one for one in report.methods if one.name != doubtful.name))
    told = wording.warnings(replace(report, methods=methods))
    assert f"{doubtful.name}: The labels are bare numbers." in told


def test_texts_of_which_a_method_knows_nothing_are_counted() -> None:
    report = simple_report({"words": 0.8, "lines": 0.7})
    methods = tuple(
        replace(method, evaluation=replace(method.evaluation, unread_rows=unread))
        for method, unread in zip(report.methods, (3, 0), strict=True)
    )
    rows = report.methods[0].evaluation.rows
    told = wording.warnings(replace(report, methods=methods))
    assert [sentence for sentence in told if "nothing" in sentence] == [
        f"words knows nothing of what is in 3 of {rows} test texts: their labels rest on nothing."
    ]
