"""Training, validation and test rows, with no text on two sides."""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pollice.data.dataset import Dataset
from pollice.data.duplicates import find_duplicates
from pollice.data.splits import Split, SplitOptions, sample, split
from pollice.data.summary import summarize
from pollice.errors import SplitError


def dataset_of(
    labels: Sequence[str], texts: Sequence[str] | None = None, parts: Sequence[str] | None = None
) -> Dataset:
    return Dataset(
        ids=tuple(f"r{row}" for row in range(len(labels))),
        texts=tuple(texts or [f"text {row}" for row in range(len(labels))]),
        labels=tuple(labels),
        label_names=tuple(sorted(set(labels))),
        parts=tuple(parts) if parts else None,
    )


def sides(result: Split) -> tuple[Dataset, Dataset, Dataset]:
    return result.train, result.validation, result.test


def counts(result: Split) -> list[dict[str, int]]:
    return [dict(sorted(Counter(side.labels).items())) for side in sides(result)]


def fails(sentence: str, dataset: Dataset, test: Dataset | None = None, **options: Any) -> None:
    with pytest.raises(SplitError, match=f"^{re.escape(sentence)}$"):
        split(dataset, SplitOptions(**options), test=test)


SKEWED = dataset_of(["neg"] * 200 + ["pos"] * 100)


def test_shares_keep_the_balance_of_the_labels() -> None:
    result = split(SKEWED)
    assert counts(result) == [
        {"neg": 140, "pos": 70},
        {"neg": 20, "pos": 10},
        {"neg": 40, "pos": 20},
    ]
    ids = [name for side in sides(result) for name in side.ids]
    assert sorted(ids) == sorted(SKEWED.ids)
    assert result.train.ids == tuple(sorted(result.train.ids, key=SKEWED.ids.index))


def test_the_seed_decides() -> None:
    assert split(SKEWED) == split(SKEWED)
    assert split(SKEWED).test.ids != split(SKEWED, SplitOptions(seed=1)).test.ids


def test_counts_are_balanced_over_the_labels() -> None:
    result = split(SKEWED, SplitOptions(train_rows=61, validation_rows=20, test_rows=40))
    assert counts(result) == [
        {"neg": 31, "pos": 30},
        {"neg": 10, "pos": 10},
        {"neg": 20, "pos": 20},
    ]


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"test_rows": 40}, [227, 33, 40]),
        ({"validation_rows": 40}, [200, 40, 60]),
        ({"validation_rows": 0}, [240, 0, 60]),
        ({"train_rows": 70}, [70, 10, 60]),
        ({"train_rows": 2}, [2, 2, 60]),
        ({"train_rows": 70, "test_rows": 20}, [70, 10, 20]),
        ({"train": 0.8, "validation": 0.0}, [240, 0, 60]),
        ({"train": 0.9, "test": 0.0}, [270, 30, 0]),
        ({"train": 1.0, "validation": 0.0, "test": 0.0}, [300, 0, 0]),
    ],
)
def test_what_the_counts_leave_is_shared(options: dict[str, Any], rows: list[int]) -> None:
    """Validation grows with the training rows asked: few labelled rows are few in all."""
    assert [len(side) for side in sides(split(SKEWED, SplitOptions(**options)))] == rows


def test_the_test_rows_do_not_depend_on_the_training_rows() -> None:
    """A learning curve is judged on the same rows, and more training rows hold the fewer."""
    few, many = (split(SKEWED, SplitOptions(train_rows=rows)) for rows in (20, 60))
    assert few.test_ids_sha256 == many.test_ids_sha256
    assert set(few.train.ids) < set(many.train.ids)


def test_the_test_rows_are_named_by_their_sum() -> None:
    result = split(SKEWED)
    joined = "\n".join(sorted(result.test.ids)).encode()
    assert result.test_ids_sha256 == hashlib.sha256(joined).hexdigest()


LONG = " ".join(f"word{number}" for number in range(40))


def test_duplicates_are_counted() -> None:
    """Labels that contradict each other do not part the same text."""
    texts = [LONG, LONG.upper(), f"{LONG} more", *(f"text {row}" for row in range(17))]
    dataset = dataset_of(["a", "b"] * 10, texts)
    result = split(dataset)
    assert (result.exact_duplicates, result.near_duplicates) == (1, 1)
    holders = [side for side in sides(result) if {"r0", "r1", "r2"} & set(side.ids)]
    assert len(holders) == 1
    assert {"r0", "r1", "r2"} <= set(holders[0].ids)
    assert split(dataset, SplitOptions(near_duplicates=False)).near_duplicates == 0


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=30, max_size=80),
    st.integers(0, 5),
    st.sampled_from(["none", "parts", "test"]),
)
def test_no_group_straddles_two_sides(pieces: list[tuple[int, int]], seed: int, kind: str) -> None:
    """Whatever the texts, labels and parts, and whoever draws the test rows."""
    chooser = random.Random(seed)
    singles = [f"a text of its own {row}" for row in range(40)]
    texts = [" ".join([f"w{base}n{n}" for n in range(30)] + ["x"] * more) for base, more in pieces]
    labels = [chooser.choice("ab") for _ in texts] + ["a", "b"] * 20
    parts = [chooser.choice(["train", "validation", "test"]) for _ in texts] + ["train"] * 40
    dataset = dataset_of(labels, texts + singles, parts if kind == "parts" else None)
    test = dataset_of([*labels[:10], "b"], [*texts[:10], "alone"]) if kind == "test" else None
    result = split(dataset, SplitOptions(seed=seed), test=test)
    together = [text for side in sides(result) for text in side.texts]
    groups = iter(find_duplicates(together).groups)
    seen = [{next(groups) for _ in side.texts} for side in sides(result)]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    kept = sum(len(side) for side in sides(result))
    assert kept + result.leaked_rows_removed == len(dataset) + (len(test) if test else 0)
    if kind == "parts":
        assert len(result.test) == parts.count("test")


def test_given_parts_stay_whole_and_push_their_texts_out() -> None:
    texts = [*(f"text {row}" for row in range(20)), "text 0", "TEXT 1", "text 2", "new"]
    parts = ["train"] * 20 + ["test", "test", "validation", "validation"]
    dataset = dataset_of(["a", "b"] * 12, texts, parts)
    result = split(dataset)
    assert result.test.ids == ("r20", "r21")
    assert result.validation.ids == ("r22", "r23")
    assert result.train.ids == tuple(f"r{row}" for row in range(3, 20))
    assert result.leaked_rows_removed == 3
    assert all(side.parts is None for side in sides(result))


def test_a_given_validation_part_yields_to_the_test_part() -> None:
    dataset = dataset_of(
        ["a", "b"] * 3,
        ["t0", "t1", "v", "same", "same", "t2"],
        ["train", "train", "validation", "validation", "test", "test"],
    )
    result = split(dataset)
    assert (result.validation.ids, result.leaked_rows_removed) == (("r2",), 1)


def test_validation_comes_from_training_when_the_source_has_none() -> None:
    dataset = dataset_of(["a", "b"] * 60, parts=["train"] * 80 + ["test"] * 40)
    assert [len(side) for side in sides(split(dataset))] == [70, 10, 40]


def test_test_rows_come_from_training_when_the_source_has_none() -> None:
    dataset = dataset_of(["a", "b"] * 60, parts=["train"] * 90 + ["validation"] * 30)
    result = split(dataset)
    assert [len(side) for side in sides(result)] == [70, 30, 20]
    assert result.validation.ids == dataset.ids[90:]


def test_a_count_is_drawn_from_a_given_part() -> None:
    dataset = dataset_of(["a", "b"] * 60, parts=["train"] * 80 + ["test"] * 40)
    result = split(dataset, SplitOptions(test_rows=10))
    assert counts(result)[2] == {"a": 5, "b": 5}
    assert set(result.test.ids) < set(dataset.ids[80:])
    assert len(result.train) + len(result.validation) == 80


def test_a_separate_test_takes_the_place_of_the_sources_own() -> None:
    """Its ids may be those of the data set, and its label names give way."""
    dataset = dataset_of(["a", "b"] * 60, parts=["train"] * 80 + ["test"] * 40)
    test = dataset_of(["b", "b", "b"], ["one", "two", "text 5"])
    result = split(dataset, test=test)
    assert (result.test.ids, result.test.texts) == (("r0", "r1", "r2"), ("one", "two", "text 5"))
    assert result.test.label_names == ("a", "b")
    assert result.leaked_rows_removed == 1
    assert len(result.train) + len(result.validation) == 79


def test_shares_must_sum_to_one() -> None:
    sentence = (
        "The shares train, validation and test must be 0 or more, train above 0, and sum to 1, "
        "not {}."
    )
    for shares in [(0.7, 0.1, 0.3), (1.1, -0.1, 0.0), (0.0, 0.5, 0.5)]:
        found = " + ".join(f"{share:g}" for share in shares)
        with pytest.raises(SplitError, match=f"^{re.escape(sentence.format(found))}$"):
            SplitOptions(train=shares[0], validation=shares[1], test=shares[2])


@pytest.mark.parametrize(("name", "least"), [("train", 1), ("validation", 0), ("test", 1)])
def test_counts_have_a_least_value(name: str, least: int) -> None:
    options: dict[str, Any] = {f"{name}_rows": least - 1}
    sentence = f"{name}_rows must be at least {least}, not {least - 1}."
    with pytest.raises(SplitError, match=f"^{re.escape(sentence)}$"):
        SplitOptions(**options)


def test_a_count_below_the_labels() -> None:
    fails("train_rows must be at least 2, one for each label, not 1.", SKEWED, train_rows=1)


def test_fewer_rows_than_asked() -> None:
    fails(
        "Expected 220 rows for train, the same number of each label, but there are only 190: "
        "110 'neg', 80 'pos'. Ask for fewer rows.",
        SKEWED,
        train_rows=220,
    )
    fails(
        "Expected 10 rows for train, the same number of each label, but there are only 0: none. "
        "Ask for fewer rows.",
        dataset_of(["a", "b"] * 10),
        train_rows=10,
        test_rows=20,
    )


def test_groups_that_do_not_fit_a_count() -> None:
    """Whole groups only: an odd number cannot be made of pairs."""
    texts = [f"text {row // 4}" for row in range(80)]
    fails(
        "Expected 6 rows for test, the same number of each label, but there are only 4: "
        "2 'a', 2 'b'. Ask for fewer rows.",
        dataset_of(["a", "a", "b", "b"] * 20, texts),
        test_rows=6,
    )


def test_a_label_with_too_few_rows() -> None:
    fails(
        "Expected rows of every label on every side, but the 2 rows of the label 'rare' give "
        "0 for train, 1 for validation, 1 for test. Add rows of it or leave the label out.",
        dataset_of(["a"] * 20 + ["rare"] * 2),
    )
    fails(
        "Expected rows of every label on every side, but the 5 rows of the label 'same' give "
        "5 for train, 0 for validation, 0 for test. Add rows of it or leave the label out.",
        dataset_of(["a"] * 20 + ["same"] * 5, [f"text {min(row, 20)}" for row in range(25)]),
    )


def test_a_label_that_training_never_saw() -> None:
    fails(
        "Expected training rows of every label, but only the test part has the label 'Neg'. "
        "Add such rows or leave the label out. Did you mean 'neg'?",
        SKEWED,
        test=dataset_of(["neg", "Neg"], ["one", "two"]),
    )
    fails(
        "Expected training rows of every label, but only the validation part has the label 'c'. "
        "Add such rows or leave the label out.",
        dataset_of(["a", "b", "c"], parts=["train", "train", "validation"]),
    )


def test_an_unknown_part() -> None:
    fails(
        "A part must be train, validation or test, but the row 'r1' is in 'tets'. "
        "Did you mean 'test'?",
        dataset_of(["a", "b"], parts=["train", "tets"]),
    )


def test_no_training_part() -> None:
    fails(
        "Expected training rows, but the source has only the parts validation, test. "
        "Name a source with a train part, or read it without its split column.",
        dataset_of(["a", "b"], parts=["test", "validation"]),
    )


def test_a_sample_keeps_proportions_and_order() -> None:
    parts = ["train"] * 150 + ["test"] * 150
    dataset = dataset_of(SKEWED.labels, parts=parts)
    taken = sample(dataset, 31, seed=3)
    assert len(taken) == 31
    assert taken.ids == tuple(name for name in dataset.ids if name in set(taken.ids))
    assert Counter(zip(taken.parts or (), taken.labels, strict=True)) == {
        ("train", "neg"): 16,
        ("test", "neg"): 5,
        ("test", "pos"): 10,
    }
    assert taken == sample(dataset, 31, seed=3)
    assert taken != sample(dataset, 31, seed=4)


def test_a_sample_has_every_label() -> None:
    dataset = dataset_of(["a"] * 96 + ["b", "c", "d", "e"])
    assert Counter(sample(dataset, 5, seed=0).labels) == dict.fromkeys("abcde", 1)
    assert sample(dataset, 100, seed=0) == dataset
    sentence = "A sample must have at least 5 rows, one for each label of each part, not 4."
    with pytest.raises(SplitError, match=f"^{re.escape(sentence)}$"):
        sample(dataset, 4, seed=0)


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.data())
def test_a_sample_has_the_rows_asked(sizes: list[int], data: st.DataObject) -> None:
    dataset = dataset_of([str(place) for place, size in enumerate(sizes) for _ in range(size)])
    rows = data.draw(st.integers(len(sizes), len(dataset)))
    taken = Counter(sample(dataset, rows, seed=0).labels)
    assert sum(taken.values()) == rows
    assert all(taken[str(place)] for place in range(len(sizes)))


def test_a_summary() -> None:
    texts = ["one", "one two", "ONE", LONG, f"{LONG} more", "a b c d"]
    dataset = Dataset(
        ids=tuple("uvwxyz"),
        texts=tuple(texts),
        labels=("b", "a", "b", "b", "b", "a"),
        label_names=("b", "a", "unused"),
        dropped={"empty text": 2},
    )
    summary = summarize(dataset)
    assert summary.rows == 6
    assert list(summary.labels.items()) == [("b", 4), ("a", 2), ("unused", 0)]
    assert summary.words == {"p5": 1, "p50": 3, "p95": 41, "max": 41}
    assert summary.dropped == {"empty text": 2}
    assert (summary.exact_duplicates, summary.near_duplicates) == (1, 1)
    assert summary.examples == {
        "b": ("one", "ONE", LONG),
        "a": ("one two", "a b c d"),
        "unused": (),
    }
