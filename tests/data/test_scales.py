"""Label names that name a scale of opinions are recognised in any order; others are not."""

import random

import pytest

from pollice.data.scales import LINE, find_scale

POLES = [
    ("negative", "positive"),
    ("neg", "pos"),
    ("unhappy", "happy"),
    ("dissatisfied", "satisfied"),
    ("dislike", "like"),
    ("con", "pro"),
    ("bad", "good"),
    ("Thumbs_Down", "thumbs up"),
    ("👎", "👍"),
    ("1 star", "5 stars"),
    ("not satisfied", "satisfied"),
    ("not at all happy", "very happy"),
    ("detractor", "promoter"),
    ("rotten", "fresh"),
    ("negativ", "positiv"),
    ("négatif", "positif"),
    ("NEGATIVO", "POSITIVO"),
    ("очень плохо", "очень хорошо"),
    ("-", "+"),
]
LONGER = [
    ("negative", "neutral", "positive"),
    ("negative", "mixed", "positive"),
    ("dissatisfied", "neither satisfied nor dissatisfied", "satisfied"),
    ("bad", "average", "good"),
    ("detractor", "passive", "promoter"),
    ("very bad", "bad", "good", "very good"),
    ("very negative", "negative", "neutral", "positive", "very positive"),
    ("strongly_disagree", "disagree", "neutral", "agree", "strongly_agree"),
    ("very dissatisfied", "somewhat dissatisfied", "okay", "somewhat satisfied", "very satisfied"),
    ("poor", "fair", "good", "very good", "excellent"),
    ("terrible", "bad", "okay", "good", "excellent"),
    ("1 star", "2 stars", "3 stars", "4 stars", "5 stars"),
    ("★", "★★", "★★★", "★★★★", "★★★★★"),
    ("one star", "two stars", "three stars"),
    ("1 - very bad", "2 - bad", "3 - okay", "4 - good", "5 - very good"),
    ("1/5", "2/5", "3/5", "4/5", "5/5"),
]
NUMBERS = [
    ("0", "1"),
    ("1", "5"),
    ("-1", "0", "1"),
    tuple(str(number) for number in range(1, 11)),
    tuple(str(number) for number in range(11)),
]


@pytest.mark.parametrize("names", [*POLES, *LONGER])
def test_usual_names_are_a_scale_in_any_order(names: tuple[str, ...]) -> None:
    for seed in range(4):
        scale = find_scale(random.Random(seed).sample(names, len(names)))
        assert scale is not None
        assert scale.names == names
        assert not scale.bare_numbers
        assert all(-LINE < cut < LINE for cut in scale.cuts)
        assert list(scale.cuts) == sorted(set(scale.cuts))


@pytest.mark.parametrize("names", NUMBERS)
def test_bare_numbers_are_a_scale_that_says_so(names: tuple[str, ...]) -> None:
    scale = find_scale(names[::-1])
    assert scale is not None
    assert scale.names == names
    assert scale.bare_numbers


@pytest.mark.parametrize(
    "names",
    [
        ("sports", "politics"),
        ("yes", "no"),
        ("spam", "not spam"),
        ("complaint", "praise", "question"),
        ("good", "excellent"),
        ("good", "bad", "unknown"),
        ("negative", "bad", "positive"),
        ("2019", "2020"),
        ("404", "500"),
        ("1.5", "2.5"),
        ("low", "medium", "high"),
        ("positive",),
        ("positive", "positive"),
    ],
)
def test_other_names_are_no_scale(names: tuple[str, ...]) -> None:
    assert find_scale(names) is None


def test_steps_meet_where_the_ratings_of_the_domains_are_cut() -> None:
    three = find_scale(("negative", "neutral", "positive"))
    five = find_scale(("very bad", "bad", "okay", "good", "very good"))
    assert three is not None
    assert five is not None
    assert three.cuts == (-0.5, 0.5)
    assert five.cuts == (-2.0, -0.5, 0.5, 2.0)


def test_numbers_that_are_left_out_leave_the_others_where_they_are() -> None:
    full = find_scale([str(number) for number in range(1, 11)])
    gap = find_scale(["1", "2", "3", "4", "7", "8", "9", "10"])
    assert full is not None
    assert gap is not None
    assert gap.cuts[:3] == pytest.approx(full.cuts[:3])
    assert gap.cuts[3] == pytest.approx(0)
    assert gap.cuts[4:] == pytest.approx(full.cuts[6:])


def test_where_one_side_has_more_steps_their_strength_counts() -> None:
    scale = find_scale(("bad", "good", "excellent"))
    assert scale is not None
    assert scale.cuts[0] == 0
    assert scale.cuts[1] > 2
