"""The lexicon judges scales of any length without labels, and refuses what is no scale."""

import re
from pathlib import Path

import numpy as np
import pytest

from pollice.data.dataset import Dataset
from pollice.errors import DataError
from pollice.methods.lexicon import Lexicon, LexiconScorer

TEXTS = ("a wonderful, superb film", "a terrible, awful film", "the film is two hours long")


def fitted(names: tuple[str, ...], tmp_path: Path) -> LexiconScorer:
    nobody = Dataset(ids=(), texts=(), labels=(), label_names=names)
    return Lexicon().fit(nobody, nobody, workdir=tmp_path)


@pytest.mark.parametrize(
    "names",
    [("dislike", "like"), ("good", "bad", "average"), tuple("12345"), ("neg", "neutral", "pos")],
)
def test_words_decide_on_every_scale(names: tuple[str, ...], tmp_path: Path) -> None:
    scorer = fitted(names, tmp_path)
    good, bad, _ = (names[column] for column in scorer.predict_proba(TEXTS).argmax(axis=1))
    assert good in {"like", "good", "5", "pos"}
    assert bad in {"dislike", "bad", "1", "neg"}
    assert scorer.facts["lexicon"] == "vaderSentiment, English"


@pytest.mark.parametrize("names", [("bad", "good"), ("bad", "amazing"), ("1", "5"), ("con", "pro")])
@pytest.mark.parametrize("turned", [False, True])
def test_a_text_between_two_poles_is_of_the_better_whatever_their_names(
    names: tuple[str, ...], turned: bool, tmp_path: Path
) -> None:
    """Its probabilities are equal but for what decides, and the rows are counted in words."""
    worst, best = names
    given = names[::-1] if turned else names
    train = Dataset(
        ids=("a", "b", "c"), texts=TEXTS, labels=(best, worst, worst), label_names=given
    )
    scorer = Lexicon().fit(train, train, workdir=tmp_path)
    probabilities = scorer.predict_proba(["the film is two hours long", ""])
    assert probabilities == pytest.approx(np.full((2, 2), 0.5), abs=1e-5)
    assert [given[column] for column in probabilities.argmax(axis=1)] == [best, best]
    assert scorer.facts["warnings"] == [
        "In 1 of 3 training texts the lexicon finds no word, or good and bad ones that cancel out. "
        f"Such a text gets {best} and its neighbour with equal probability, and is answered with "
        f"{best}, the better of both."
    ]
    scorer.save(tmp_path)
    assert LexiconScorer.load(tmp_path).facts == scorer.facts


def test_a_text_without_a_known_word_is_of_the_middle_where_there_is_one(tmp_path: Path) -> None:
    scorer = fitted(("neg", "neutral", "pos"), tmp_path)
    assert scorer.predict_proba(["the film is two hours long"]).argmax(axis=1).tolist() == [1]
    assert "warnings" not in scorer.facts


def test_labels_that_are_no_scale_are_refused(tmp_path: Path) -> None:
    sentence = (
        "The method lexicon knows good and bad words only, so it expected labels that name a scale "
        "of opinions, but found sports, politics. Leave it out, or rename the labels, such as "
        "negative,neutral,positive."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        fitted(("sports", "politics"), tmp_path)
