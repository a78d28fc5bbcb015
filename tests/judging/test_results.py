from pollice.judging.results import Pair, turn
from report_samples import five_methods, simple_report

PAIR = Pair(
    a="x",
    b="y",
    difference=0.04,
    interval=(0.01, 0.07),
    p_value=0.01,
    p_adjusted=0.03,
    verdict="better",
)


def test_a_turned_pair_says_the_same_from_the_other_side() -> None:
    turned = turn(PAIR)
    assert (turned.a, turned.b, turned.verdict) == ("y", "x", "worse")
    assert (turned.difference, turned.interval) == (-0.04, (-0.07, -0.01))
    assert turned.p_adjusted == 0.03
    assert turn(turned) == PAIR


def test_methods_are_ranked_by_accuracy() -> None:
    report = five_methods()
    accuracies = [method.evaluation.accuracy for method in report.ranked]
    assert accuracies == sorted(accuracies, reverse=True)
    assert report.best.name == "finetune"


def test_pairs_are_seen_from_the_more_accurate_method() -> None:
    report = five_methods()
    assert len(report.pairs) == 10
    assert all(pair.difference >= 0 for pair in report.pairs)
    assert [pair.b for pair in report.pairs_of_best] == [
        method.name for method in report.ranked[1:]
    ]


def test_majority_accuracy_is_the_commonest_labels_share() -> None:
    assert simple_report({"one": 0.8}, rows=101).majority_accuracy == 51 / 101
