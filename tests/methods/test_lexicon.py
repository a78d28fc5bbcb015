"""The lexicon judges scales of any length without labels, and refuses what is no scale."""

import re
from pathlib import Path

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


def test_labels_that_are_no_scale_are_refused(tmp_path: Path) -> None:
    sentence = (
        "The method lexicon knows good and bad words only, so it expected labels that name a scale "
        "of opinions, but found sports, politics. Leave it out, or rename the labels, such as "
        "negative,neutral,positive."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        fitted(("sports", "politics"), tmp_path)
