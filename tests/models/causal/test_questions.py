"""What is asked, in words: made for the scale that labels name, or short and natural."""

import re

import pytest

from pollice.errors import PromptError
from pollice.models.causal.questions import (
    POLES,
    Question,
    Template,
    custom_template,
    default_template,
    hypotheses,
    template_to_train,
)

LABELS = ("negative", "positive")
FIVE = ("very negative", "negative", "neutral", "positive", "very positive")


def fails(sentence: str, *arguments: object) -> None:
    with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
        default_template(*arguments)  # type: ignore[arg-type]  # what a user may give


def test_the_built_in_questions_know_the_usual_names_of_two_poles() -> None:
    for negative, positive in [("neg", "pos"), ("NEGATIVE", "Positive"), ("rotten", "fresh")]:
        questions = default_template((positive, negative)).questions
        assert questions == default_template((negative, positive)).questions
        for question in questions:
            assert set(question.words) == {negative, positive}
            assert not {"good", "positive", "great"} & set(question.words[negative])
        assert questions[0].words == {negative: ("negative",), positive: ("positive",)}


@pytest.mark.parametrize("names", [("unhappy", "happy"), ("1", "5"), ("con", "pro")])
def test_two_poles_are_asked_the_same_whatever_they_are_called(names: tuple[str, str]) -> None:
    for question, usual in zip(
        default_template(names).questions, default_template(LABELS).questions, strict=True
    ):
        assert (question.ask, question.answer) == (usual.ask, usual.answer)
        assert [question.words[name] for name in names] == [usual.words[name] for name in LABELS]


def test_a_longer_scale_is_asked_for_its_two_poles() -> None:
    template = default_template(FIVE[::-1])
    assert template.asked == POLES
    assert template.scale is not None
    assert template.scale.names == FIVE
    assert template.questions == default_template(LABELS).questions
    assert template.shown["neutral"] == "neutral"
    assert "made for these labels" in template.purpose


def test_other_labels_are_asked_for_by_short_questions_without_a_list() -> None:
    template = default_template(("sports", "world_politics"))
    assert len(template.questions) > 2
    for question in template.questions:
        assert question.words == {"sports": ("sports",), "world_politics": ("world politics",)}
        assert "sports" not in question.answer
        assert "sports, world politics" in question.ask
    assert len({question.ask for question in template.questions}) == len(template.questions)
    assert "made for no labels in particular" in template.purpose


@pytest.mark.parametrize(
    "names", [("spam", "not spam"), ("Spam", "NOT_SPAM"), ("spam", "non-spam"), ("spam", "ham")]
)
def test_a_label_that_only_denies_another_is_asked_for_by_usual_words(
    names: tuple[str, str],
) -> None:
    for question in default_template(names).questions:
        assert question.words[names[1]] == ("normal", "ordinary", "fine")
        assert question.words[names[0]] == (names[0],)


def test_descriptions_are_one_more_question() -> None:
    names = ("bug", "wish")
    template = default_template(names, descriptions={"bug": "something that is broken"})
    plain = default_template(names)
    assert [question.answer for question in template.questions[:-1]] == [
        question.answer for question in plain.questions
    ]
    assert template.questions[-1].words == {
        "bug": ("something that is broken",),
        "wish": ("wish",),
    }
    assert "bug (something that is broken), wish" in template.questions[0].ask


def test_words_of_a_user_take_the_place_of_the_names() -> None:
    words = {"negative": ("sad", "angry")}
    for question in default_template(LABELS, words).questions:
        assert question.words == {"negative": ("sad", "angry"), "positive": ("positive",)}
    assert default_template(LABELS, words).scale is None


@pytest.mark.parametrize("steps", range(3, 13))
def test_steps_to_train_have_words_of_their_own(steps: int) -> None:
    names = tuple(str(step) for step in range(steps))
    for question in template_to_train(names).questions:
        words = [word for (word,) in question.words.values()]
        assert len(set(words)) == steps
        assert tuple(question.words) == names


def test_what_is_trained_for_two_poles_is_what_is_asked() -> None:
    assert template_to_train(LABELS) == default_template(LABELS)


def test_a_template_of_a_user_is_split_at_the_text() -> None:
    template = custom_template("Review: {text}\n\nIt was", {"positive": ["great", "good"]}, LABELS)
    assert template == Template(
        questions=(
            Question(
                ask="It was",
                answer="It was",
                words={"negative": ("negative",), "positive": ("great", "good")},
            ),
        ),
        before="Review: ",
        after="\n\n",
        purpose="A question of your own was asked.",
    )


def test_label_words_must_be_of_a_label() -> None:
    sentence = "Label words are given for 'postive', but the labels are: negative, positive."
    with pytest.raises(PromptError, match=f"^{re.escape(sentence)}$"):
        custom_template("{text}", {"postive": ["great"]}, LABELS)
    fails(sentence, LABELS, {"postive": ["great"]})


def test_descriptions_must_be_of_a_label() -> None:
    fails(
        "A description is given for 'bgu', but the labels are: bug, wish.",
        ("bug", "wish"),
        {},
        {"bgu": "broken"},
    )


def test_hypotheses_name_the_poles_of_a_scale() -> None:
    assert hypotheses("It is {}.", {}, ("happy", "unhappy")) == (
        "It is positive.",
        "It is negative.",
    )
