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

from pollice.data.cleaning import normalize
from pollice.data.dataset import Dataset
from pollice.data.duplicates import find_duplicates
from pollice.data.splits import DRAWING, Split, SplitOptions, sample, split
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


def test_the_seed_decides() -> None:
    assert split(SKEWED) == split(SKEWED)
    assert split(SKEWED).test.ids != split(SKEWED, SplitOptions(seed=1)).test.ids


COUNTS: dict[str, Any] = {"train_rows": 61, "validation_rows": 20, "test_rows": 40}


def test_counts_have_the_labels_as_common_as_they_are() -> None:
    """SKEWED has two of neg for each of pos."""
    assert counts(split(SKEWED, SplitOptions(**COUNTS))) == [
        {"neg": 41, "pos": 20},
        {"neg": 13, "pos": 7},
        {"neg": 27, "pos": 13},
    ]


def test_a_count_leaves_a_rare_label_to_the_sides_still_to_come() -> None:
    """Its share of the test rows would be all three of its texts, or two."""
    dataset = dataset_of(["a"] * 57 + ["rare"] * 3)
    for rows in (30, 50, 55):
        result = split(dataset, SplitOptions(test_rows=rows))
        assert [side["rare"] for side in counts(result)] == [1, 1, 1]
        assert len(result.test) == rows


def test_every_row_can_be_asked_for() -> None:
    result = split(SKEWED, SplitOptions(train_rows=200, validation_rows=40, test_rows=60))
    assert [len(side) for side in sides(result)] == [200, 40, 60]


def test_counts_are_balanced_over_the_labels_where_that_is_asked() -> None:
    result = split(SKEWED, SplitOptions(balanced=True, **COUNTS))
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


def test_copies_are_counted_and_left_out() -> None:
    """One row stands for its copies, of the label that most of them have."""
    texts = [LONG, LONG.upper(), f"{LONG} more", *(f"text {row}" for row in range(17))]
    dataset = dataset_of(["b", "a", *"babababababababab", "a"], texts)
    result = split(dataset)
    assert (result.exact_duplicates, result.near_duplicates) == (1, 1)
    assert (result.copies_left_out, result.contradictory_texts) == (2, 1)
    kept = {"r0", "r1", "r2"}.intersection(*[sum((side.ids for side in sides(result)), ())])
    assert len(kept) == 1
    assert kept <= {"r0", "r2"}
    alone = split(dataset, SplitOptions(near_duplicates=False))
    assert (alone.near_duplicates, alone.copies_left_out) == (0, 1)


def test_a_text_of_many_rows_is_named() -> None:
    texts = ["Nothing to add."] * 5 + ["nothing to add"] * 2 + [f"text {row}" for row in range(93)]
    dataset = dataset_of(["a", "a", "b", "b", "b"] * 20, texts)
    assert split(dataset).repeated_texts == {"Nothing to add.": {"a": 4, "b": 3}}
    assert split(dataset_of(["a", "b"] * 10)).repeated_texts == {}


@pytest.mark.parametrize("share", [0, 0.3, 0.45, 0.6, 0.9])
def test_copies_do_not_move_other_texts(share: float) -> None:
    """However many rows repeat one answer, the other texts are where they are without it."""
    labels = ["a", "a", "b"] * 100
    plain = split(dataset_of(labels))
    copies = round(300 * share / (1 - share))
    texts = [*(f"text {row}" for row in range(300)), *["Nothing to add."] * copies]
    result = split(dataset_of(labels + ["b"] * copies, texts))
    for side, alone in zip(sides(result), sides(plain), strict=True):
        others = [text for text in side.texts if text != "Nothing to add."]
        assert len(set(others) ^ set(alone.texts)) <= 2
        assert len(side) - len(others) <= 1
    assert result.copies_left_out == max(0, copies - 1)


def texts_by_side(result: Split) -> list[list[tuple[str, str]]]:
    return [list(zip(side.texts, side.labels, strict=True)) for side in sides(result)]


ROWS = st.lists(
    st.tuples(st.sampled_from(["", "Good.", "good", *map(str, range(60))]), st.sampled_from("ab")),
    max_size=60,
)
SINGLES = [(f"a text of its own {row}", "ab"[row % 2]) for row in range(40)]


def dataset_of_rows(rows: Sequence[tuple[str, str]]) -> Dataset:
    return dataset_of([label for _, label in rows], [text for text, _ in rows])


@settings(deadline=None, max_examples=40)
@given(ROWS, st.randoms(), st.sampled_from([{}, {"train_rows": 8}, {"test_rows": 7}]))
def test_the_order_of_the_rows_changes_nothing(
    rows: list[tuple[str, str]], draw: random.Random, options: dict[str, Any]
) -> None:
    """The sides hold the same texts with the same labels, in the same order."""
    rows = rows + SINGLES
    shuffled = draw.sample(rows, len(rows))
    one, other = (
        split(dataset_of_rows(each), SplitOptions(**options)) for each in (rows, shuffled)
    )
    assert texts_by_side(one) == texts_by_side(other)
    taken, again = (sample(dataset_of_rows(each), 30, seed=1) for each in (rows, shuffled))
    assert Counter(zip(taken.texts, taken.labels, strict=True)) == Counter(
        zip(again.texts, again.labels, strict=True)
    )


@settings(deadline=None, max_examples=40)
@given(ROWS, st.sampled_from(["new", "Good", "3"]), st.sampled_from("ab"))
def test_a_row_more_moves_few_others(rows: list[tuple[str, str]], text: str, label: str) -> None:
    """Of each label no more than one text leaves a side, as the quotas grow by one."""
    rows = rows + SINGLES
    before, after = (split(dataset_of_rows(each)) for each in (rows, [*rows, (text, label)]))
    side_of = [
        {normalize(text): place for place, side in enumerate(sides(each)) for text in side.texts}
        for each in (before, after)
    ]
    moved = [text for text in side_of[0] if side_of[1].get(text) != side_of[0][text]]
    assert len(moved) <= 4
    taken, again = (
        sample(dataset_of_rows(each), 30, seed=1) for each in (rows, [*rows, ("n", "a")])
    )
    assert len(Counter(again.texts) - Counter(taken.texts)) <= 2


@settings(deadline=None, max_examples=60)
@given(ROWS, st.integers(0, 3))
def test_each_text_is_judged_once_and_labels_keep_their_shares(
    rows: list[tuple[str, str]], seed: int
) -> None:
    """A side has each label's texts in proportion, give or take one."""
    dataset = dataset_of_rows(rows + SINGLES)
    result = split(dataset, SplitOptions(seed=seed))
    together = [normalize(text) for side in sides(result) for text in side.texts]
    assert sorted(together) == sorted(set(map(normalize, dataset.texts)))
    whole = Counter(label for side in sides(result) for label in side.labels)
    for side, share in zip(sides(result), (0.7, 0.1, 0.2), strict=True):
        for label, texts in whole.items():
            assert abs(side.labels.count(label) - share * texts) <= 1


def test_the_same_rows_are_drawn_on_every_machine() -> None:
    """Rests on blake2b alone; other sides need another DRAWING, or old folders are misread."""
    assert DRAWING == 2
    result = split(dataset_of(["a", "b"] * 10), SplitOptions(seed=3))
    assert result.test.texts == ("text 17", "text 5", "text 14", "text 18")
    assert sample(dataset_of(["a", "b"] * 10), 4, seed=3).texts == (
        "text 0",
        "text 3",
        "text 4",
        "text 13",
    )


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
    left_out = result.leaked_rows_removed + result.copies_left_out
    assert kept + left_out == len(dataset) + (len(test) if test else 0)
    if kind == "parts":
        rows = [row for row, part in enumerate(parts) if part == "test"]
        assert result.test.ids == tuple(dataset.ids[row] for row in rows)
        assert result.copies_in_test == len(rows) - len(
            set(find_duplicates(result.test.texts).groups)
        )


def test_given_parts_stay_whole_and_push_their_texts_out() -> None:
    texts = [*(f"text {row}" for row in range(20)), "text 0", "TEXT 1", "text 2", "new"]
    parts = ["train"] * 20 + ["test", "test", "validation", "validation"]
    dataset = dataset_of(["a", "b"] * 12, texts, parts)
    result = split(dataset)
    assert result.test.ids == ("r20", "r21")
    assert result.validation.ids == ("r22", "r23")
    assert set(result.train.ids) == {f"r{row}" for row in range(3, 20)}
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
        "Expected 220 rows for train, the same number of each label, but found only 190 "
        "different texts: 110 'neg', 80 'pos'. Ask for fewer rows.",
        SKEWED,
        train_rows=220,
        balanced=True,
    )
    fails(
        "Expected 310 rows for test, but found only 300 different texts: 200 'neg', 100 'pos'. "
        "Ask for fewer rows.",
        SKEWED,
        test_rows=310,
    )
    fails(
        "Expected 10 rows for train, but found only 0 different texts: none. Ask for fewer rows.",
        dataset_of(["a", "b"] * 10),
        train_rows=10,
        test_rows=20,
    )


def test_a_count_is_of_different_texts() -> None:
    """However many copies there are, a count is met, and no text is counted twice."""
    texts = [f"text {row // 4}" for row in range(80)]
    result = split(
        dataset_of(["a", "a", "a", "b", "b", "b", "b", "a"] * 10, texts), SplitOptions(test_rows=6)
    )
    assert counts(result)[2] == {"a": 3, "b": 3}
    assert len(set(result.test.texts)) == 6
    fails(
        "Expected 22 rows for test, but found only 20 "
        "different texts: 10 'a', 10 'b'. Ask for fewer rows.",
        dataset_of(["a", "a", "a", "b", "b", "b", "b", "a"] * 10, texts),
        test_rows=22,
    )


def test_a_label_with_too_few_rows() -> None:
    fails(
        "Expected rows of every label on every side, but the 2 rows of the label 'rare' give "
        "0 for train, 1 for validation, 1 for test. Add rows of it, or leave the label out "
        "with --drop-label.",
        dataset_of(["a"] * 20 + ["rare"] * 2),
    )
    fails(
        "Expected rows of every label on every side, but the 5 rows of the label 'same' "
        "(4 copies of others) give 0 for train, 0 for validation, 1 for test. "
        "Add rows of it, or leave the label out "
        "with --drop-label.",
        dataset_of(["a"] * 20 + ["same"] * 5, [f"text {min(row, 20)}" for row in range(25)]),
    )


def test_a_label_that_training_never_saw() -> None:
    fails(
        "Expected training rows of every label, but only the test part has the label 'Neg'. "
        "Add such rows, or leave the label out with --drop-label. Did you mean 'neg'?",
        SKEWED,
        test=dataset_of(["neg", "Neg"], ["one", "two"]),
    )
    fails(
        "Expected training rows of every label, but only the validation part has the label 'c'. "
        "Add such rows, or leave the label out with --drop-label.",
        dataset_of(["a", "b", "c"], parts=["train", "train", "validation"]),
    )


def test_a_label_that_is_lost_to_copies() -> None:
    """The sentence says so, and how many rows were left out."""
    train = ["a"] * 6 + ["b"] * 6 + ["c"] * 3
    texts = [*(f"text {row}" for row in range(15)), "text 12", "Text 13!", "text 14"]
    fails(
        "Expected training rows of every label, but all 3 of the label 'c' were left out, as the "
        "test or validation part has their texts. Add other rows of it, or leave the label out "
        "with --drop-label.",
        dataset_of([*train, "a", "b", "c"], texts, ["train"] * 15 + ["test"] * 3),
    )
    texts = [*(f"text {row}" for row in range(14)), "text 13", "text 12"]
    fails(
        "Expected rows of every label on every side, but the 3 rows of the label 'c' (1 left out, "
        "as the test or validation part has their texts, 1 copies of others) give 0 for train, "
        "1 for validation. Add rows of it, or leave the label out "
        "with --drop-label.",
        dataset_of([*train, "c"], texts, ["train"] * 15 + ["test"]),
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
        "Name a source with a train part, or read it without its parts: --split-column none.",
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
