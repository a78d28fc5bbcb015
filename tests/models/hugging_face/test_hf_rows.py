"""Every row is in exactly one micro-batch of one process, in an order that can be drawn again."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pollice.models.encoder.reader import Reader
from pollice.models.hugging_face.options import TrainerOptions
from pollice.models.hugging_face.rows import (
    IGNORED,
    Collator,
    StepSampler,
    longest_first,
)
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.training.peers import Peers
from pollice.models.training.rows import Rows
from tiny import tiny_encoder

LENGTHS = np.random.default_rng(0).integers(3, 60, 101)


def sampler(rank: int = 0, size: int = 1, **options: Any) -> StepSampler:
    peers = Peers(rank=rank, size=size, device=torch.device("cpu"))
    return StepSampler(LENGTHS, TrainerOptions(batch_size=8, **options), peers)


@pytest.mark.parametrize("group_by_length", [False, True])
def test_an_epoch_has_every_row_once(group_by_length: bool) -> None:
    drawn = sampler(group_by_length=group_by_length)
    assert len(drawn) == len(drawn.steps) == 13
    assert sorted(chain(*drawn)) == list(range(101))
    assert sorted(len(rows) for rows in drawn) == [5, *[8] * 12]
    assert [drawn.tokens(step) for step in range(13)] == [
        sum(LENGTHS[row] for row in rows) for rows in drawn
    ]


@pytest.mark.parametrize("group_by_length", [False, True])
def test_the_order_is_of_seed_and_epoch_alone(group_by_length: bool) -> None:
    first, again = (
        sampler(group_by_length=group_by_length),
        sampler(group_by_length=group_by_length),
    )
    start = list(first)
    np.random.default_rng().random()
    torch.rand(1)
    assert list(again) == start
    first.set_epoch(3)
    assert list(first) != start
    first.set_epoch(0)
    assert list(first) == start
    assert list(sampler(group_by_length=group_by_length, seed=1)) != start


def test_rows_of_like_length_go_together() -> None:
    def padding(drawn: StepSampler) -> int:
        return sum(max(LENGTHS[rows]) * len(rows) - sum(LENGTHS[rows]) for rows in drawn)

    assert padding(sampler(group_by_length=True)) < 0.2 * padding(sampler())


def test_processes_and_micro_batches_share_each_step() -> None:
    """The last step's 5 rows are fewer than the 6 shares: one is empty."""
    steps = sampler().steps
    shares = [list(sampler(rank, 2, gradient_accumulation_steps=3)) for rank in range(2)]
    assert [len(share) for share in shares] == [39, 39]
    for number, rows in enumerate(steps):
        dealt = [share[number * 3 + micro] for micro in range(3) for share in shares]
        assert list(chain(*dealt)) == rows.tolist()
        assert max(map(len, dealt)) - min(map(len, dealt)) <= 1
    assert [] in chain(*shares)


def test_a_batch_is_padded_to_its_longest_row(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(tiny_encoder(tmp_path, "bert"))
    rows = Rows(tokens=[[2, 9, 3], [2, 9, 9, 9, 3], [2, 3]], codes=np.array([1, 0, 1]))
    collate = Collator(Reader(tokenizer, max_tokens=32, keep="head"), rows)
    batch = collate([{"row": int(row)} for row in longest_first(rows)])
    assert batch["input_ids"].tolist() == [[2, 9, 9, 9, 3], [2, 9, 3, 0, 0], [2, 3, 0, 0, 0]]
    assert batch["attention_mask"].sum(dim=1).tolist() == [5, 3, 2]
    assert batch["labels"].tolist() == [0, 1, 1]
    assert collate([])["labels"].tolist() == [IGNORED]
