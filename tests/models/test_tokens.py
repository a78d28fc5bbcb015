"""Words and signs are found in any script, and however a text is encoded."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pollice.models.tokens import characters, fold, is_unspaced, words_and_signs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's good-ish, 10/10!", ["it's", "good", "-", "ish", ",", "10", "/", "10", "!"]),
        ("don\u2019t :)", ["don't", ":", ")"]),
        ("Die Straße war schön", ["die", "strasse", "war", "schön"]),
        ("这家酒店很好。", [*"这家酒店很好", "。"]),
        ("ラーメンは最高", list("ラーメンは最高")),
        ("อร่อยมาก", ["อ", "ร่", "อ", "ย", "ม", "า", "ก"]),
        ("खाना बहुत अच्छा था।", ["खाना", "बहुत", "अच्छा", "था", "।"]),
        ("மிகவும் நல்ல", ["மிகவும்", "நல்ல"]),
        ("음식이 맛있어요", ["음식이", "맛있어요"]),
        ("الخدمة مُمتازة", ["الخدمة", "مُمتازة"]),
        ("so 😡😡👍", ["so", "😡", "😡", "👍"]),
        ("I ❤\ufe0f it 好!", ["i", "❤", "it", "好", "!"]),
        (" \n\t\u200b", []),
    ],
)
def test_a_token_is_a_word_a_sign_or_a_character_of_a_script_without_blanks(
    text: str, expected: list[str]
) -> None:
    assert words_and_signs(text) == expected


@given(st.text(st.characters(codec="ascii")))
def test_a_text_of_ascii_has_the_tokens_that_it_has_beside_another_character(text: str) -> None:
    """ASCII alone is searched by a faster pattern: it finds the same."""
    assert [*words_and_signs(text), "é"] == words_and_signs(f"{text} é")


@pytest.mark.parametrize("text", ["schön", "अच्छा क़िला", "café", "각하", "Ǆ ﬁn Ω"])
def test_composed_and_decomposed_texts_have_the_same_tokens(text: str) -> None:
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")]
    assert len({tuple(words_and_signs(form)) for form in forms}) == 1


def test_an_accent_makes_another_word() -> None:
    assert words_and_signs("schon") != words_and_signs("schön")


def test_case_width_and_invisible_characters_make_no_other_word() -> None:
    assert fold("\uff27\uff2f\uff2f\uff24 co\xadlour \u039f\u0394\u039f\u03a3") == fold(
        "good colour \u03bf\u03b4\u03bf\u03c2"
    )


def test_each_word_has_a_blank_before_and_after_its_characters() -> None:
    assert list(characters("Not  good\n!")) == [" not ", " good ", " ! "]


def test_scripts_without_blanks_are_known() -> None:
    assert [is_unspaced(token) for token in ("好", "は", "ร่", "က", "한", "a", "अ", "👍", "๕")] == [
        *(True, True, True, True),
        *(False,) * 5,
    ]
