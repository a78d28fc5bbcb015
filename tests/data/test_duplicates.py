"""Which texts are the same, or nearly so."""

import itertools
import os
import random
import subprocess
import sys
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from pollice.data.cleaning import normalize
from pollice.data.duplicates import find_duplicates
from pollice.system.progress import Advance, listening

WORDS = [f"word{number}" for number in range(400)]


def text_of(seed: int, words: int = 100) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def similarity(one: str, other: str) -> float:
    """The definition, on the shingles themselves."""
    first, second = (
        {tuple(words[start : start + 5]) for start in range(len(words) - 4)}
        for words in (normalize(one).split(), normalize(other).split())
    )
    return len(first & second) / len(first | second)


def test_the_same_but_for_case_space_and_html() -> None:
    found = find_duplicates(["A film.", "Other", "a  FILM.", "A<br />film.", "other!"])
    assert found.groups == (0, 1, 0, 0, 4)
    assert (found.exact, found.near) == (2, 0)


def test_nearly_the_same() -> None:
    """A text with a word changed, or with other punctuation, is nearly the same."""
    text = text_of(1)
    changed = text.replace(text.split()[50], "changed", 1)
    commas = text.replace(" ", ", ")
    found = find_duplicates([text_of(2), text, changed, commas, text])
    assert found.groups == (0, 1, 1, 1, 1)
    assert (found.exact, found.near) == (1, 2)


def test_near_duplicates_can_be_left() -> None:
    text = text_of(1)
    found = find_duplicates([text, text + " more", text], near=False)
    assert (found.groups, found.exact, found.near) == ((0, 1, 0), 1, 0)


def test_short_texts_have_exact_duplicates_only() -> None:
    found = find_duplicates(["a good film indeed", "a good film, indeed", "", ""])
    assert (found.groups, found.near) == ((0, 1, 2, 2), 0)


def test_the_threshold_is_the_true_similarity() -> None:
    """Prefixes of one text: whatever the signatures estimate, 0.8 of the shingles decides."""
    words = text_of(3, 104).split()
    for length in range(70, 104):
        texts = [" ".join(words), " ".join(words[:length])]
        expected = similarity(*texts) >= 0.8
        assert (find_duplicates(texts).near == 1) == expected, length


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(30, 60)), max_size=12))
def test_groups_are_the_chains_of_similar_pairs(pieces: list[tuple[int, int]]) -> None:
    texts = [text_of(seed, 60)[: 8 * length] for seed, length in pieces]
    groups = find_duplicates(texts).groups
    for one, other in itertools.combinations(range(len(texts)), 2):
        if normalize(texts[one]) == normalize(texts[other]) or (
            similarity(texts[one], texts[other]) >= 0.8
        ):
            assert groups[one] == groups[other]
    for row, group in enumerate(groups):
        members = [other for other in range(len(texts)) if groups[other] == group and other != row]
        near = [other for other in members if similarity(texts[row], texts[other]) >= 0.8]
        assert not members or near
        assert group == min([row, *members])


def test_groups_do_not_depend_on_the_process() -> None:
    code = (
        "from pollice.data.duplicates import find_duplicates\n"
        "texts = [' '.join(f'w{n * s % 97}' for n in range(60)) + ' x' * (s % 7)"
        " for s in range(1, 90)]\n"
        "print(find_duplicates(texts))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_thousands_of_near_duplicates_take_no_longer() -> None:
    """Forms that differ in a word: each is compared until it has joined, not with all others."""
    forms = [text_of(5).replace("word7 ", f"case{number} ") for number in range(3000)]
    started = time.perf_counter()
    found = find_duplicates([f"{form} {number}" for number, form in enumerate(forms)])
    assert found.near == 2999
    assert time.perf_counter() - started < 20


def test_progress_is_told() -> None:
    told: list[int] = []

    class Shown:
        def __init__(self, description: str, total: int | None, unit: str) -> None:
            assert (description, total, unit) == ("looking for near duplicates", 1200, "rows")

        def __enter__(self) -> Advance:
            return told.append

        def __exit__(self, *_: object) -> None:
            return None

    with listening(Shown):
        find_duplicates([f"text {number}" for number in range(1200)])
    assert sum(told) == 1200
    assert len(told) > 2
