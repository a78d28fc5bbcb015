"""Weighted copies give the log loss of probabilities, and the split withholds test texts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pollice.data.dataset import Dataset
from pollice.data.duplicates import text_key
from pollice.data.splits import SplitOptions, split
from pollice.errors import DataError
from pollice.methods import create_method, find_method, method_names
from pollice.models.soft_labels import copy_by_label
from tiny import opinions

NAMES = ("negative", "positive")


def test_the_log_loss_of_the_copies_is_the_cross_entropy() -> None:
    soft = np.array([[0.2, 0.8], [0.7, 0.3], [0.5, 0.5]])
    predicted = np.log(np.array([[0.4, 0.6], [0.9, 0.1], [0.3, 0.7]]))
    copies = copy_by_label(soft.tolist(), NAMES, [1.0, 2.0, 1.0])
    columns = [NAMES.index(label) for label in copies.labels]
    found = -(np.array(copies.weights) * predicted[copies.rows, columns]).sum()
    expected = -(np.array([1, 2, 1]) @ (soft * predicted).sum(axis=1))
    assert found == pytest.approx(expected)


def test_a_copy_that_hardly_counts_is_left_out() -> None:
    copies = copy_by_label([[0.999, 0.001], [0.5, 0.5]], NAMES)
    assert copies.rows.tolist() == [0, 1, 1]
    assert copies.labels == ("negative", "negative", "positive")


def test_the_methods_that_learn_from_soft_labels_are_the_students() -> None:
    found = {name for name in method_names() if find_method(name).takes_soft_labels}
    assert found == {"baseline", "features", "finetune"}


def test_soft_labels_go_before_certain_ones(tmp_path: Path) -> None:
    """Every label is turned round, but the probabilities are right: they are what is learned."""
    rows = opinions(200)
    turned = tuple(NAMES[1 - NAMES.index(label)] for label in rows.labels)
    soft = tuple((0.9, 0.1) if label == "negative" else (0.1, 0.9) for label in rows.labels)
    train = Dataset(
        ids=rows.ids, texts=rows.texts, labels=turned, label_names=NAMES, soft_labels=soft
    )
    predictor = create_method("baseline", {}).fit(
        train.take(range(150)), rows.take(range(150, 175)), workdir=tmp_path
    )
    unseen = rows.take(range(175, 200))
    best = predictor.predict_proba(unseen.texts).argmax(axis=1)
    assert np.mean([NAMES[column] for column in best] == np.array(unseen.labels)) >= 0.9


def test_soft_labels_are_taken_with_their_rows_and_counted() -> None:
    rows: dict[str, Any] = {
        "ids": ("a", "b"),
        "texts": ("x", "y"),
        "labels": NAMES,
        "label_names": NAMES,
    }
    data = Dataset(**rows, soft_labels=((0.9, 0.1), (0.2, 0.8)))
    assert data.take([1]).soft_labels == ((0.2, 0.8),)
    with pytest.raises(DataError, match=r"^soft_labels must have 2 rows like ids, not 1\.$"):
        Dataset(**rows, soft_labels=((0.9, 0.1),))


@pytest.mark.parametrize("options", [SplitOptions(), SplitOptions(train=0.9, test=0.0)])
def test_the_split_withholds_the_test_texts_and_their_copies(options: SplitOptions) -> None:
    rows = opinions(100)
    copies = tuple(f"{text.upper()}!" for text in rows.texts)
    every = Dataset(
        ids=tuple(map(str, range(200))),
        texts=rows.texts + copies,
        labels=rows.labels * 2,
        label_names=NAMES,
    )
    parts = split(every, options)
    assert {text_key(text) for text in parts.test.texts} == parts.train.withheld
    assert parts.train.withheld.isdisjoint(map(text_key, parts.train.texts))
    assert bool(parts.train.withheld) == bool(options.test)
    assert not parts.validation.withheld
