"""What of a text is words."""

import pytest

from killing import ends_within
from pollice.data.cleaning import clean_html, normalize


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Good.<br /><br />Bad.", "Good. Bad."),
        ("Good. <BR>\tBad.", "Good. Bad."),
        ("<p>Good.</p><p>Bad.</p>", "Good. Bad."),
        ("a <i>great</i>ly <b class='x'>loved</b> film", "a greatly loved film"),
        ('see <a href="http://x.org/?a=1">this</a>', "see this"),
        ("Tom &amp; Jerry &quot;live&quot; &#39;95", 'Tom & Jerry "live" \'95'),
        ("Tom &amp;amp; Jerry &amp;quot;live&#38;quot; &#38;#39;95", 'Tom & Jerry "live" \'95'),
        ("I &amp;lt;3 this &#x26;hellip;", "I <3 this …"),
        ("three times: &amp;amp;amp;", "three times: &amp;"),
        ("write &amp;lt;b&gt;", "write <b>"),
        ("two&nbsp;&nbsp;words", "two words"),
        ("&lt;b&gt; is a tag", "<b> is a tag"),
        ("  plain  text\nof two lines ", "plain  text\nof two lines"),
    ],
)
def test_html_becomes_words(text: str, cleaned: str) -> None:
    assert clean_html(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "a < b",
        "a<b and c>d",
        "I <3 this",
        "<grin> what a film",
        "x <y and z> w",
        "AT&T; R&D; fish &chips",
        "there is no &nosuchentity;",
        "if i < n and n > 2",
        "5 <-- stars -->",
    ],
)
def test_what_is_no_html_stays(text: str) -> None:
    assert clean_html(text) == text


def test_cleaning_takes_time_in_proportion() -> None:
    """No text makes the patterns try every way to match."""

    def clean_all() -> None:
        clean_html("<a" + " " * 200_000)
        clean_html("<a " * 100_000)
        clean_html("<a" + " x=" * 100_000)
        clean_html("&a" * 100_000)

    assert ends_within(10, clean_all)


def test_texts_of_one_normal_form_count_as_the_same() -> None:
    assert normalize("Gro\u00dfe \uff26ilm!<br />  Ja") == normalize("GROSSE film! ja")
    assert normalize("good film") != normalize("good films")


@pytest.mark.parametrize("text", ["Fine.", "fine!!!", " fine ? ", "“fine”"[1:], "fi\u200bne…"])
def test_final_punctuation_makes_no_other_text(text: str) -> None:
    assert normalize(text) == "fine"


@pytest.mark.parametrize("text", ["fine :)", "...", "?!", "fine (now)", "fine +", "fine 5%"])
def test_marks_that_tell_stay(text: str) -> None:
    assert normalize(text) == text
