"""A classifier is made as sure as it may be, and no label changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from pollice.models.pretrained.weights import load_classifier
from pollice.models.training.rows import Rows
from pollice.models.training.temperature import find_temperature, set_temperature, tempered
from tiny import ENCODER_FAMILIES, tiny_encoder


def rows_of(codes: np.ndarray, owners: np.ndarray | None = None) -> Rows:
    return Rows(tokens=[[0]] * len(codes), codes=codes.astype(np.int64), owners=owners)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_what_was_multiplied_is_found_again(temperature: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4000, 3))
    chances = softmax(logits, axis=1).cumsum(axis=1)
    codes = (generator.random((4000, 1)) > chances).sum(axis=1)
    table = log_softmax(logits * temperature, axis=1)
    assert find_temperature(rows_of(codes), table) == pytest.approx(temperature, rel=0.1)


def test_a_handful_of_right_rows_proves_little() -> None:
    table = np.log(np.array([[0.9, 0.1]] * 400))
    few, many = (find_temperature(rows_of(np.zeros(n)), table[:n]) for n in (4, 400))
    assert 0.8 < few < 1
    assert many < 0.4


def test_all_wrong_rows_make_it_unsure_within_bounds() -> None:
    table = np.log(np.array([[0.999, 0.001]] * 50))
    assert 5 < find_temperature(rows_of(np.ones(50)), table) <= 10


def test_pieces_are_judged_as_texts() -> None:
    """One piece of each text says nothing: the text's own probability is what is made right."""
    table = np.log(np.array([[0.99, 0.01], [0.5, 0.5]] * 100))
    codes, owners = np.repeat(np.arange(100) % 4 == 0, 2), np.repeat(np.arange(100), 2)
    rows = rows_of(codes, owners)
    assert rows.texts == 100
    found = find_temperature(rows, table)
    losses = [rows.judge(tempered(table, t))[0] for t in (found / 1.3, found, found * 1.3)]
    assert losses[1] <= min(losses) + 1e-3


def test_labels_keep_their_order_and_probabilities_their_sum() -> None:
    table = log_softmax(np.random.default_rng(1).normal(size=(50, 4)), axis=1)
    cooler = tempered(table, 2.5)
    np.testing.assert_array_equal(cooler.argsort(axis=1), table.argsort(axis=1))
    np.testing.assert_allclose(np.exp(cooler).sum(axis=1), 1)
    np.testing.assert_allclose(tempered(table, 1.0), table)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_the_logits_of_every_family_are_divided(family: str, tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / family, family)
    model: Any = load_classifier(folder, ("a", "b"), new_head=True, dtype=torch.float32)
    for name, weights in model.named_parameters():  # new biases are 0, and would prove nothing
        if name.endswith("bias") and name.startswith("classifier"):
            torch.nn.init.normal_(weights)
    tokens = torch.tensor([[5, 6, 7], [8, 9, 5]])
    with torch.no_grad():
        before = model(input_ids=tokens).logits
        set_temperature(model, 4.0)
        after = model(input_ids=tokens).logits
    assert before.abs().max() > 0
    torch.testing.assert_close(after, before / 4)
