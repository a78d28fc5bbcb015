"""A later step is taken only where it judges rows better that it was not learned from."""

import numpy as np
from numpy.typing import NDArray

from pollice.models.ladder import choose_step

CODES = np.arange(40) % 2
FREE = np.where(CODES[:, None] == np.arange(2), 0.6, 0.4)


def learner(right: float) -> object:
    def learn(train: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
        assert not set(train) & set(others)
        return np.where(CODES[others][:, None] == np.arange(2), right, 1 - right)

    return learn


def test_a_better_step_is_taken_and_a_worse_one_is_not() -> None:
    later = {"platt": learner(0.9), "probe": learner(0.8)}
    choice = choose_step(("batch", FREE), later, CODES)  # type: ignore[arg-type]  # a learner is one
    assert choice.step == "platt"
    assert choice.reason == (
        "platt was taken instead of batch: of the 40 labelled rows, judged without having been "
        "learned from, it had 40 right and batch 40, with a log loss of 0.105 and 0.511; probe was "
        "not taken instead of platt: of the 40 labelled rows, judged without having been learned "
        "from, it had 40 right and platt 40, with a log loss of 0.223 and 0.105"
    )


def test_a_gain_within_its_error_is_enough_for_platt_and_not_for_a_probe() -> None:
    def noisy(train: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
        right = np.where(others % 4 < 3, 0.62, 0.56)
        return np.where(CODES[others][:, None] == np.arange(2), right[:, None], 1 - right[:, None])

    assert choose_step(("batch", FREE), {"probe": noisy}, CODES).step == "batch"
    assert choose_step(("batch", FREE), {"platt": noisy}, CODES).step == "platt"


def test_without_later_steps_nothing_is_said() -> None:
    choice = choose_step(("raw", FREE[:0]), {}, CODES[:0])
    assert (choice.step, choice.reason) == ("raw", "")
