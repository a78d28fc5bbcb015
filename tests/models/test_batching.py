"""Batches hold every row once, within the budget; a cut keeps its limit and its ends."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pollice.models.batching import Keep, cut, length_batches

LENGTHS = st.lists(st.integers(0, 300), max_size=80)


@given(LENGTHS, st.integers(1, 2000), st.integers(0, 50))
def test_every_row_is_in_exactly_one_batch(lengths: list[int], budget: int, extra: int) -> None:
    batches = length_batches(lengths, batch_tokens=budget, extra=extra)
    rows = [int(row) for batch in batches for row in batch]
    assert sorted(rows) == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 2000), st.integers(0, 50))
def test_only_a_row_alone_exceeds_the_budget(lengths: list[int], budget: int, extra: int) -> None:
    for batch in length_batches(lengths, batch_tokens=budget, extra=extra):
        padded = len(batch) * (max(lengths[row] for row in batch) + extra)
        assert padded <= budget or len(batch) == 1


@given(LENGTHS, st.integers(1, 2000))
def test_the_longest_come_first_and_ties_in_their_order(lengths: list[int], budget: int) -> None:
    batches = length_batches(lengths, batch_tokens=budget)
    rows = [int(row) for batch in batches for row in batch]
    assert rows == sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))


@given(LENGTHS, st.integers(1, 2000), st.integers(0, 50))
def test_no_batch_could_take_the_next_row_too(lengths: list[int], budget: int, extra: int) -> None:
    batches = length_batches(lengths, batch_tokens=budget, extra=extra)
    for batch in batches[:-1]:
        longest = max(1, lengths[batch[0]] + extra)
        assert (len(batch) + 1) * longest > budget


def test_batches_are_as_expected() -> None:
    batches = length_batches(np.array([3, 10, 4, 9]), batch_tokens=20)
    assert [batch.tolist() for batch in batches] == [[1, 3], [2, 0]]


@given(
    st.lists(st.integers(), max_size=60),
    st.integers(1, 70),
    st.sampled_from(["head_tail", "head", "tail"]),
)
def test_a_cut_keeps_its_limit_and_its_ends(tokens: list[int], limit: int, keep: Keep) -> None:
    kept = cut(tokens, limit, keep)
    assert len(kept) == min(limit, len(tokens))
    if len(tokens) <= limit:
        assert kept == tokens
    head = {"head": limit, "tail": 0, "head_tail": limit // 4}[keep]
    assert kept[:head] == tokens[:head]
    assert kept[head:] == tokens[max(head, len(tokens) - limit + head) :]
