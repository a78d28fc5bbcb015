"""Sentences: a number agrees with its noun."""

import pytest

from pollice.errors import counted


@pytest.mark.parametrize(
    ("number", "nouns", "written"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (2500, ("row",), "2,500 rows"),
        (1, ("copy of a text", "copies of texts"), "1 copy of a text"),
        (3, ("row has", "rows have"), "3 rows have"),
    ],
)
def test_a_number_agrees_with_its_noun(number: int, nouns: tuple[str, ...], written: str) -> None:
    assert counted(number, *nouns) == written
