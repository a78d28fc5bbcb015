"""What to know of a data set before learning from it."""

from pollice.data.dataset import Dataset, TextTable
from pollice.data.summary import (
    TextsSummary,
    count_contradictory,
    find_repeated,
    summarize,
    summarize_texts,
)

LONG = " ".join(f"word{number}" for number in range(40))


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
    assert summary.contradictory_texts == 0
    assert summary.repeated_texts == {"ONE": {"b": 2}, LONG: {"b": 2}}
    assert summarize(dataset, near_duplicates=False).near_duplicates == 0
    assert summary.examples == {
        "b": ("one", "ONE", LONG),
        "a": ("one two", "a b c d"),
        "unused": (),
    }


def test_texts_of_more_than_two_percent_are_named() -> None:
    """Each as it is commonly written, with its rows by label, the commonest first."""
    texts = ["Good", "good", "Good", *["so so"] * 4, "twice", "twice", *map(str, range(191))]
    groups = [0, 0, 0, 3, 3, 3, 3, 7, 7, *range(9, 200)]
    labels = ["a", "b", "b", *["a"] * 197]
    assert find_repeated(texts, labels, groups) == {}
    assert find_repeated(texts[:150], labels[:150], groups[:150]) == {
        "so so": {"a": 4},
    }
    assert list(find_repeated(texts[:100], labels[:100], groups[:100]).items()) == [
        ("so so", {"a": 4}),
        ("Good", {"b": 2, "a": 1}),
    ]
    assert find_repeated(["one", "two"], ["a", "b"], [0, 1]) == {}


def test_texts_with_several_labels_are_counted() -> None:
    assert count_contradictory(["a", "b", "a", "a", "b"], [0, 0, 2, 2, 4]) == 1


def test_texts_without_labels_are_counted() -> None:
    texts = ("so good", "so good", "", "\u043e\u0447\u0435\u043d\u044c", "\u597d", ":)")
    table = TextTable(ids=tuple("abcdef"), texts=texts, gold=None)
    assert summarize_texts(table) == TextsSummary(
        rows=6,
        empty=1,
        words={"p5": 1, "p50": 1, "p95": 2, "max": 2},
        exact_duplicates=1,
        near_duplicates=0,
        scripts={"latin": 2, "cyrillic": 1, "cjk": 1, "no letters": 1},
        examples=texts[:2] + texts[3:4],
    )


def test_a_file_of_empty_texts_has_no_words() -> None:
    found = summarize_texts(TextTable(ids=("a",), texts=("",), gold=None))
    assert (found.empty, found.words["max"], found.scripts) == (1, 0, {})
