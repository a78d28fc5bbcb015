"""Steps take every row once, rows of like length together, in an order that seed and epoch give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pollice.models.training.schedule import (
    epoch_batches,
    micro_batches,
    padded_tokens,
    rate_share,
    usual_epochs,
)


def drawn_lengths(median: float, spread: float, rows: int) -> NDArray[np.int64]:
    """Return the lengths of texts, which are log-normal, cut at 512 tokens."""
    draw = np.random.default_rng(0).lognormal(np.log(median), spread, rows)
    return np.clip(draw, 3, 512).astype(np.int64)


@pytest.mark.parametrize(
    ("median", "spread", "rows"),
    [(250, 0.55, 2000), (250, 0.55, 25_000), (25, 0.45, 8000), (60, 0.8, 8000)],
    ids=["reviews", "many reviews", "sentences", "mixed"],
)
def test_at_most_three_of_a_hundred_tokens_are_padding(
    median: float, spread: float, rows: int
) -> None:
    lengths = drawn_lengths(median, spread, rows)
    for epoch in (0, 1):
        batches = epoch_batches(lengths, batch_size=16, seed=0, epoch=epoch)
        padded = sum(padded_tokens(lengths, batch) for batch in batches)
        assert 1 - lengths.sum() / padded <= 0.03


@given(
    lengths=st.lists(st.integers(1, 600), max_size=300),
    batch_size=st.integers(1, 40),
    epoch=st.integers(0, 3),
)
def test_every_row_is_in_one_batch(lengths: list[int], batch_size: int, epoch: int) -> None:
    table = np.array(lengths, np.int64)
    batches = epoch_batches(table, batch_size=batch_size, seed=1, epoch=epoch)
    assert sorted(np.concatenate([np.zeros(0, int), *batches])) == list(range(len(lengths)))
    assert len(batches) == -(-len(lengths) // batch_size)
    assert sum(len(batch) < batch_size for batch in batches) <= 1
    assert all((np.diff(table[batch]) >= 0).all() for batch in batches)


def order(seed: int, epoch: int) -> list[list[int]]:
    lengths = drawn_lengths(60, 0.8, 200)
    batches = epoch_batches(lengths, batch_size=8, seed=seed, epoch=epoch)
    return [batch.tolist() for batch in batches]


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_long_rows_come_anywhere_in_an_epoch() -> None:
    lengths = drawn_lengths(60, 0.8, 4000)
    batches = epoch_batches(lengths, batch_size=16, seed=0, epoch=0)
    means = [lengths[batch].mean() for batch in batches]
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.15


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    micro_batch_tokens=st.integers(1, 300),
)
def test_passes_take_every_row_and_no_more_tokens_than_they_may(
    lengths: list[int], micro_batch_tokens: int
) -> None:
    table = np.sort(np.array(lengths, np.int64))
    rows = np.arange(len(table))
    passes = micro_batches(table, rows, micro_batch_tokens=micro_batch_tokens)
    assert sorted(np.concatenate(passes)) == rows.tolist()
    for one in passes:
        assert len(one) == 1 or padded_tokens(table, one) <= micro_batch_tokens


def test_a_step_without_rows_has_no_passes() -> None:
    lengths = np.array([3])
    assert micro_batches(lengths, np.zeros(0, np.int64), micro_batch_tokens=8) == []


@pytest.mark.parametrize(
    ("rows", "epochs"), [(2000, 3), (640, 3), (320, 6), (75, 24), (24, 30), (1, 30), (0, 30)]
)
def test_few_rows_are_seen_more_often(rows: int, epochs: int) -> None:
    assert usual_epochs(rows, batch_size=16) == epochs


def test_the_rate_rises_then_falls() -> None:
    shares = [rate_share(step, steps=6, warmup_steps=2) for step in range(7)]
    assert shares == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    assert rate_share(0, steps=1, warmup_steps=0) == 1.0
