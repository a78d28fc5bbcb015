"""A later step is taken only where it judges rows better that it was not learned from."""

import numpy as np
from numpy.typing import NDArray

from pollice.models.ladder import Learn, choose_step

CODES = np.arange(120) % 2
FREE = np.where(CODES[:, None] == np.arange(2), 0.6, 0.4)


def learner(right: float) -> Learn:
    def learn(train: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
        assert not set(train) & set(others)
        return np.where(CODES[others][:, None] == np.arange(2), right, 1 - right)

    return learn


def test_a_better_step_is_taken_and_a_worse_one_is_not() -> None:
    later = {"platt": learner(0.9), "probe": learner(0.8)}
    choice = choose_step(("batch", FREE), later, CODES)
    assert choice.step == "platt"
    assert choice.reason == (
        "platt was taken instead of batch: of the 120 labelled rows, judged without having been "
        "learned from, it had 120 right and batch 120, with a log loss of 0.105 and 0.511; probe "
        "was not taken instead of platt: of the 120 labelled rows, judged without having been "
        "learned from, it had 120 right and platt 120, with a log loss of 0.223 and 0.105"
    )


def test_a_gain_of_one_error_is_enough_for_platt_and_not_for_a_probe() -> None:
    def noisy(train: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
        right = np.where(others % 4 < 3, 0.62, 0.56)
        return np.where(CODES[others][:, None] == np.arange(2), right[:, None], 1 - right[:, None])

    assert choose_step(("batch", FREE), {"probe": noisy}, CODES).step == "batch"
    assert choose_step(("batch", FREE), {"platt": noisy}, CODES).step == "platt"


def test_few_rows_must_show_more_right_answers() -> None:
    """A better log loss alone is enough from 100 rows on."""
    codes = CODES[:60]
    assert choose_step(("batch", FREE[:60]), {"platt": learner(0.9)}, codes).step == "batch"
    wrong = FREE[:60].copy()
    wrong[:2] = wrong[:2, ::-1]
    assert choose_step(("batch", wrong), {"platt": learner(0.9)}, codes).step == "platt"


def test_without_later_steps_nothing_is_said() -> None:
    choice = choose_step(("raw", FREE[:0]), {}, CODES[:0])
    assert (choice.step, choice.reason) == ("raw", "")


def test_weights_decide_where_uncertain_rows_gain_and_clear_ones_lose() -> None:
    """Every second pair of rows gains a little; the others lose more, and are rare among these."""
    gains = np.arange(120) % 8 < 6

    def mixed(train: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
        right = np.where(gains[others], 0.7, 0.52)[:, None]
        return np.where(CODES[others][:, None] == np.arange(2), right, 1 - right)

    later = {"platt": mixed}
    assert choose_step(("batch", FREE), later, CODES).step == "platt"
    weights = np.where(gains, 0.5 / 0.75, 0.5 / 0.25)
    weights[gains] *= 0.6
    choice = choose_step(("batch", FREE), later, CODES, weights=weights)
    assert choice.step == "batch"
    assert choice.reason == (
        "platt was not taken instead of batch: of the 120 labelled rows, judged without having "
        "been learned from, it had 120 right and batch 120, with a log loss, in which uncertain "
        "rows count less, of 0.542 and 0.511"
    )
