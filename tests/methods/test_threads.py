"""A predictor may be called from many threads at once: each gets the numbers that one alone gets.

Bit for bit, without an error, for every method, as fitted and as loaded.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from test_contract import HOSTILE, ORDERS, sides, tiny_options

from pollice.method import Method
from pollice.methods import create_method, method_names
from pollice.models.causal.tuned_scorer import TunedScorer
from pollice.predictions.predictor import Predictor, Scores
from pollice.runs.predictors import load_predictor, save_predictor

THREADS = 8
ROUNDS = 3
_, _, UNSEEN = sides(ORDERS[0])
# Batches of other sizes and lengths: where state is shared, one meets another's.
BATCHES: Sequence[Sequence[str]] = (
    UNSEEN.texts[:1],
    UNSEEN.texts[:7],
    HOSTILE,
    UNSEEN.texts[7:40],
    ["the film was great and dreadful " * 40],
    UNSEEN.texts[40:],
    ["", UNSEEN.texts[3]],
    [],
)


def check_equal(found: Scores, alone: Scores) -> None:
    np.testing.assert_array_equal(found.probabilities, alone.probabilities)
    np.testing.assert_array_equal(found.tokens, alone.tokens)
    np.testing.assert_array_equal(found.truncated, alone.truncated)
    assert found.variants.keys() == alone.variants.keys()
    for name, table in alone.variants.items():
        np.testing.assert_array_equal(found.variants[name], table)


def check_from_threads(predictor: Predictor) -> None:
    """Score every batch in turn alone, then in eight threads that each begin with another."""
    alone = [predictor.score(batch) for batch in BATCHES]
    together = Barrier(THREADS)

    def score(thread: int) -> list[tuple[int, Scores]]:
        together.wait()
        order = [(thread + step) % len(BATCHES) for step in range(ROUNDS * len(BATCHES))]
        return [(batch, predictor.score(BATCHES[batch])) for batch in order]

    with ThreadPoolExecutor(THREADS) as threads:
        for scored in list(threads.map(score, range(THREADS))):
            for batch, found in scored:
                check_equal(found, alone[batch])


def fitted(name: str, folder: Path, **changed: object) -> tuple[Method, Predictor]:
    options = {**tiny_options(name, folder / "checkpoint"), **changed}
    method = create_method(name, options)
    train, validation, _ = sides(ORDERS[0])
    return method, method.fit(train, validation, workdir=folder)


@pytest.mark.parametrize("name", method_names())
def test_threads_get_what_one_alone_gets(name: str, tmp_path: Path) -> None:
    _, predictor = fitted(name, tmp_path)
    check_from_threads(predictor)
    save_predictor(predictor, tmp_path / "saved", method=name, options={})
    check_from_threads(load_predictor(tmp_path / "saved"))


def test_before_and_after_tuning_are_judged_in_many_threads_at_once(tmp_path: Path) -> None:
    _, predictor = fitted("lora", tmp_path, judge_before=True)
    assert set(predictor.score(UNSEEN.texts[:2]).variants) == {"before", "before raw"}
    check_from_threads(predictor)
    save_predictor(predictor, tmp_path / "saved", method="lora", options={})
    loaded = load_predictor(tmp_path / "saved")
    assert isinstance(loaded, TunedScorer)
    check_from_threads(loaded.judging_before())


def test_predictors_of_one_model_are_asked_at_once(tmp_path: Path) -> None:
    """``judging_before`` shares the weights with the predictor that it is made from."""
    _, predictor = fitted("lora", tmp_path)
    assert isinstance(predictor, TunedScorer)
    both = [predictor, predictor.judging_before()]
    alone = [scorer.score(UNSEEN.texts) for scorer in both]
    with ThreadPoolExecutor(THREADS) as threads:
        found = threads.map(lambda number: both[number % 2].score(UNSEEN.texts), range(24))
        for number, scores in enumerate(found):
            check_equal(scores, alone[number % 2])


def test_a_predictor_is_saved_while_it_is_asked(tmp_path: Path) -> None:
    """What is saved is loaded again beside the weights in use, and changes nothing in them."""
    _, predictor = fitted("lora", tmp_path, judge_before=True)
    alone = predictor.score(UNSEEN.texts)
    with ThreadPoolExecutor(2) as threads:
        saving = threads.submit(
            save_predictor, predictor, tmp_path / "saved", method="lora", options={}
        )
        asked = [predictor.score(UNSEEN.texts)]
        while not saving.done():
            asked.append(predictor.score(UNSEEN.texts))
        saving.result()
    for scores in asked:
        check_equal(scores, alone)
