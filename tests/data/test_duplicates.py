"""Which texts are the same, or nearly so."""

import itertools
import os
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
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


def test_the_same_but_for_case_space_html_and_final_marks() -> None:
    found = find_duplicates(["A film.", "Other", "a  FILM", "A<br />film...", "other!", "Other :("])
    assert found.groups == (0, 1, 0, 0, 1, 5)
    assert (found.exact, found.near) == (3, 0)
    assert [found.keys[row] == found.keys[0] for row in range(6)] == [
        found.groups[row] == 0 for row in range(6)
    ]


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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a good film indeed", "a good film, indeed"),
        ("it's excelent", "its excellent!!"),
        ("soooo good", "SO good"),
        ("Nothing (to add)", "nothing to add"),
        ("服务很好。谢谢你们", "服务很好谢谢你们。"),
        ("很好吃。", "很好吃"),
        ("บริการดีมาก ขอบคุณ", "บริการดีมากขอบคุณ"),
        ("Dear team, ticket 4711 is still open.", "Dear team, ticket 4712 is still open"),
    ],
)
def test_punctuation_doubled_letters_and_long_numbers_make_no_other_text(
    one: str, other: str
) -> None:
    assert find_duplicates(["no", one, other]).groups == (0, 1, 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("good", "not good"),
        ("the room was clean", "the room was unclean"),
        ("quite satisfied overall", "quite dissatisfied overall"),
        ("service :)", "service :("),
        ("😀", "😡"),
        ("fine 😀", "fine 😡"),
        ("???", "!!!"),
        ("B+", "B-"),
        ("5", "-5"),
        ("很好吃", "不好吃"),
        ("这家酒店的服务很好。房间很干净", "这家酒店的服务很差。房间很干净"),
        ("अच्छा है", "अच्छी है"),
        ("I would give it 2 out of 10", "I would give it 9 out of 10"),
    ],
)
def test_what_tells_an_opinion_makes_another_text(one: str, other: str) -> None:
    assert find_duplicates([one, other]).groups == (0, 1)


FOOTER = text_of(1000, 170)


@pytest.mark.parametrize("words", [1, 3, 15])
@pytest.mark.parametrize("place", ["before", "between", "behind"])
def test_a_form_that_many_texts_share_makes_no_copies(words: int, place: str) -> None:
    """Whether it is a footer, a question before each answer, or a letter with a gap."""
    forms = {"before": f"{FOOTER} {{}}", "behind": f"{{}} {FOOTER}"}
    form = forms.get(place, f"{FOOTER} {{}} {FOOTER[::-1]}")
    own = [" ".join(f"own{row}n{word}" for word in range(words)) for row in range(50)]
    texts = [form.format(text) for text in own]
    assert find_duplicates(texts).near == 0
    assert find_duplicates([*texts, *(f"{text}, ".upper() for text in texts)]).groups == (
        *range(50),
        *range(50),
    )


def test_a_copy_with_the_same_form_is_still_a_copy() -> None:
    """What a text has besides the form is compared as any text is."""
    own = [text_of(seed, 60) for seed in range(30)]
    edited = [text.replace(f" {text.split()[30]} ", " edited ", 1) for text in own]
    texts = [f"{text} {FOOTER}" for text in (*own, *edited)]
    assert find_duplicates(texts).groups == (*range(30), *range(30))


def test_texts_of_nothing_but_common_words_are_no_copies() -> None:
    """All their sentences stand in many texts, but each text is another choice of them."""
    sentences = [text_of(seed, 8) for seed in range(12)]
    texts = [" ".join(choice) for choice in itertools.combinations(sentences, 9)]
    assert find_duplicates(texts).near == 0


def test_the_threshold_is_the_true_similarity() -> None:
    """Prefixes of one text: whatever the signatures estimate, 0.8 of the shingles decides."""
    words = text_of(3, 104).split()
    for length in range(70, 104):
        texts = [" ".join(words), " ".join(words[:length])]
        expected = similarity(*texts) >= 0.8
        assert (find_duplicates(texts).near == 1) == expected, length


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(30, 60)), max_size=10))
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


def adversarial_rows(rows: int) -> dict[str, list[str]]:
    """Return texts that make a comparison of all with all, or of all in a bucket, quadratic."""
    draw = random.Random(0)
    words = [f"w{number}" for number in range(5000)]
    stem, letter = draw.choices(words, k=24), draw.choices(words, k=100)
    blocks = [" ".join(draw.choices(words, k=12)) for _ in range(rows)]
    stream = draw.choices(words, k=10 * rows + 100)
    return {
        "24 of 27 words": [f"{' '.join(stem)} x{row} y{row} z{row}" for row in range(rows)],
        "a number changed": [f"{' '.join(letter)} {row + 1000}" for row in range(rows)],
        "a word changed": [
            " ".join([*letter[: row % 99], f"c{row}", *letter[row % 99 + 1 :]])
            for row in range(rows)
        ],
        "each block in ten texts": [" ".join(draw.sample(blocks, 10)) for _ in range(rows)],
        "few sentences": [" ".join(draw.sample(blocks[:30], 10)) for _ in range(rows)],
        "windows": [" ".join(stream[10 * row : 10 * row + 100]) for row in range(rows)],
        "prefixes": [" ".join([*stream[: 5 + row % 400], f"q{row}"]) for row in range(rows)],
    }


@pytest.mark.parametrize(
    ("kind", "near"),
    [
        ("24 of 27 words", 0),
        ("a number changed", 1999),
        ("a word changed", 0),
        ("each block in ten texts", 0),
        ("few sentences", 0),
        ("windows", 1999),
        ("prefixes", 0),
    ],
)
def test_few_pairs_are_compared_whatever_the_texts(
    kind: str, near: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work grows with the rows and not with their square: comparisons are counted."""
    compared = 0
    intersect = np.intersect1d

    def counted(*given: Any, **options: Any) -> Any:
        nonlocal compared
        compared += 1
        return intersect(*given, **options)

    monkeypatch.setattr(np, "intersect1d", counted)
    assert find_duplicates(adversarial_rows(2000)[kind]).near == near
    assert compared <= 2 * 5 * 2000


def test_progress_is_told() -> None:
    told: list[int] = []

    class Shown:
        def __init__(self, description: str, total: int | None, unit: str) -> None:
            assert (description, total, unit) == ("looking for copies", 1200, "rows")

        def __enter__(self) -> Advance:
            return told.append

        def __exit__(self, *_: object) -> None:
            return None

    with listening(Shown):
        find_duplicates([f"text {number}" for number in range(1200)])
    assert sum(told) == 1200
    assert len(told) > 2


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.sampled_from(
            [
                "good",
                "Good.",
                "not good",
                *(
                    f"{text_of(seed, 40)}{more}"
                    for seed in range(3)
                    for more in ("", " yes", " no no", "!")
                ),
            ]
        ),
        max_size=20,
    ),
    st.randoms(),
)
def test_groups_do_not_depend_on_the_order(texts: list[str], draw: random.Random) -> None:
    found = find_duplicates(texts)
    order = draw.sample(range(len(texts)), len(texts))
    again = find_duplicates([texts[row] for row in order])
    together = {
        frozenset(r for r in range(len(texts)) if found.groups[r] == g) for g in found.groups
    }
    assert together == {
        frozenset(order[r] for r in range(len(texts)) if again.groups[r] == g) for g in again.groups
    }
    assert [found.keys[row] for row in order] == list(again.keys)
