"""The recommendation: three sentences by rules, and nothing that leaks or is at chance."""

from dataclasses import replace

import numpy as np

from pollice.judging.metrics import evaluate
from pollice.judging.results import Attack, Canary, FlipRate
from pollice.predictions.table import Predictions
from pollice.report.recommending import recommendation
from report_samples import five_methods, method_report, predictions, probed_methods, report_of


def test_three_sentences_name_three_methods() -> None:
    most, free, cheap = recommendation(five_methods())
    assert most.startswith("Most accurate: finetune, accuracy 0.9")
    assert most.endswith("; not distinguishable from features.")
    assert free.startswith("Without labels: prompt, accuracy 0.8")
    assert free.endswith(" points below finetune.")
    assert cheap.startswith("Cheapest within the noise: features, accuracy 0.8")
    assert cheap.endswith("; 210 rows/s; fitted in 38 s.")


def test_a_leaking_method_is_never_recommended() -> None:
    report = probed_methods()
    assert report.best.name == "leaky" or "leaky" in {each.name for each in report.methods}
    assert not any("leaky," in sentence for sentence in recommendation(report))


def test_what_abstention_canary_and_attack_say_is_told() -> None:
    table = predictions(0.85)
    rate = FlipRate(texts=120, flipped=30, rate=0.25, interval=(0.181, 0.334))
    clean = Canary(applicable=True, accuracy=0.5, chance=0.5, p_value=0.5, leaking=False)
    method = method_report(
        "m",
        table,
        evaluation=evaluate(table, abstain_below=0.7),
        canary=clean,
        attack=Attack(overall=rate, kinds={}),
    )
    most, free, cheap = recommendation(report_of([method], {"m": table}, abstain_below=0.7))
    assert "; it answers 0." in most
    assert most.endswith(
        "its label canary is clean; injected sentences flip 0.250 of its right answers."
    )
    assert free == "Without labels: none of the methods here."
    assert cheap == (
        "Cheapest within the noise: m (400 rows/s), since every other method is less accurate."
    )


def test_nothing_is_recommended_where_all_are_at_chance() -> None:
    table = predictions(0.5)
    stuck = replace(table, probabilities=np.tile([0.6, 0.4], (len(table), 1)))
    assert isinstance(stuck, Predictions)
    assert recommendation(report_of([method_report("m", stuck)], {"m": stuck})) == (
        "None of these methods can be recommended: each is near chance, or its canary says that "
        "it leaks.",
    )


def test_a_method_without_labels_may_be_the_best() -> None:
    table = predictions(0.9)
    method = method_report("prompt", table, labels_used=0)
    _, free, _ = recommendation(report_of([method], {"prompt": table}))
    assert free == "Without labels: prompt as well, which needs none."
