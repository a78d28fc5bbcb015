"""Texts as words, and as sets of shingles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollice.data.shingles import WordNumbers, hash_shingles, join_sets, spell, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't, please: go", ["don", "t", "please", "go"]),
        ("服务 a1好", ["服", "务", "a1", "好"]),
        ("great😀😡", ["great", "😀", "😡"]),
        ("बहुत अच्छा है", ["बहुत", "अच्छा", "है"]),
        ("... :)", []),
    ],
)
def test_words_are_what_stands_between_marks(text: str, words: list[str]) -> None:
    """In a script without blanks each character is a word, and a mark above a letter is of it."""
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("it's excellent, soo good", "its excelent so god"),
        ("100 of 100", "100 of 100"),
        ("good :-)", "god :-)"),
        ("c++ -5 a-", "c 5 a ++ - -"),
        ("?!", "?!"),
    ],
)
def test_short_texts_are_spelt_by_letters_and_signs(text: str, spelt: str) -> None:
    assert spell(text) == spelt


def test_words_have_the_same_numbers_everywhere() -> None:
    """Numbers of three digits and more are one word; that of "good" is its blake2b."""
    numbers = WordNumbers().of(["good", "4711", "100", "99", "good"])
    assert numbers.tolist()[0] == numbers.tolist()[4] == 542560439949309232
    assert numbers[1] == numbers[2] != numbers[3]


@given(st.lists(st.lists(st.integers(0, 4), min_size=5, max_size=12), min_size=1, max_size=6))
def test_equal_runs_of_five_words_have_equal_hashes(texts: list[list[int]]) -> None:
    """Each text has the shingles that it would have alone: none runs on into the next text."""
    sets = hash_shingles([np.array(text, np.uint64) for text in texts])
    alone = join_sets([hash_shingles([np.array(text, np.uint64)]) for text in texts])
    assert np.array_equal(sets.hashes, alone.hashes)
    assert np.array_equal(sets.sizes, alone.sizes)
    runs = [{tuple(text[start : start + 5]) for start in range(len(text) - 4)} for text in texts]
    assert sets.sizes.tolist() == [len(each) for each in runs]
    assert len(set(sets.hashes.tolist())) == len(set().union(*runs))
    for text, start in enumerate(sets.starts):
        shingles = sets.hashes[start : start + sets.sizes[text]]
        assert (np.diff(shingles.astype(np.int64)) > 0).all()


def test_what_is_kept_stays_with_its_text() -> None:
    sets = hash_shingles([np.arange(7, dtype=np.uint64), np.arange(20, 26, dtype=np.uint64)])
    kept = sets.keep(np.array([True, False, True, False, False]))
    assert kept.sizes.tolist() == [2, 0]
    assert kept.hashes.tolist() == sets.hashes[[0, 2]].tolist()
