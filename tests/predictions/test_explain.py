"""An answer is explained with a predictor that counts words, so every weight is known."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from pollice.predictions.explain import Piece, explain, sentence_spans, word_spans
from pollice.predictions.predictor import Predictor, Scores

POINTS = {"great": 2.0, "good": 1.0, "dull": -1.0, "awful": -3.0, "好": 2.0}


class Counting(Predictor):
    """The log-odds of positive are the sum of the points of a text's words."""

    label_names = ("negative", "positive")

    def __init__(self) -> None:
        self.calls: list[int] = []

    def score(self, texts: Sequence[str]) -> Scores:
        self.calls.append(len(texts))
        points = [
            sum(POINTS.get(word, 0) for word in re.findall(r"[a-z]+|好", text)) for text in texts
        ]
        positive = 1 / (1 + np.exp(-np.array(points)))
        return Scores(
            probabilities=np.stack([1 - positive, positive], axis=1),
            tokens=np.array([len(text) for text in texts]),
            truncated=np.zeros(len(texts), np.bool_),
        )

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError


def test_weights_are_what_the_log_odds_lose() -> None:
    text = "We came at noon. The food was great, the room dull. We left at two."
    found = explain(Counting(), text)
    assert found.label == "positive"
    assert found.probability == pytest.approx(1 / (1 + np.exp(-1)))
    weights = {text[piece.start : piece.end]: round(piece.weight, 6) for piece in found.sentences}
    assert weights == {
        "We came at noon.": 0.0,
        "The food was great, the room dull.": 1.0,
        "We left at two.": 0.0,
    }
    words = {text[piece.start : piece.end]: round(piece.weight, 6) for piece in found.words}
    assert words["great"] == 2.0
    assert words["dull"] == -1.0
    assert [text[piece.start : piece.end] for piece in found.most_telling(2)] == ["great", "dull"]


def test_another_label_is_explained_the_other_way_round() -> None:
    found = explain(Counting(), "A great film.", label="negative")
    assert found.probability == pytest.approx(1 / (1 + np.exp(2)))
    assert found.most_telling(1)[0].weight == pytest.approx(-2)


@pytest.mark.parametrize("passes", [3, 10, 64])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("word " * 500, id="one long sentence"),
        pytest.param("A short one. " * 300, id="many sentences"),
        pytest.param("好吃。" * 200, id="without blanks"),
        pytest.param("good", id="one word"),
        pytest.param("", id="nothing"),
        pytest.param("?!", id="signs alone"),
    ],
)
def test_no_more_texts_are_judged_than_allowed_and_in_few_calls(text: str, passes: int) -> None:
    counting = Counting()
    found = explain(counting, text, passes=passes)
    assert sum(counting.calls) <= passes
    assert len(counting.calls) <= 3
    for pieces in (found.sentences, found.words):
        assert all(0 <= piece.start < piece.end <= len(text) for piece in pieces)
        assert list(pieces) == sorted(pieces, key=lambda piece: piece.start)
        assert all(a.end <= b.start for a, b in pairwise(pieces))


def test_a_long_sentence_is_looked_at_to_its_end() -> None:
    text = "word " * 300 + "awful"
    found = explain(Counting(), text)
    last = found.words[-1]
    assert last.end == len(text)
    assert last.weight == pytest.approx(3)
    assert found.label == "negative"


def test_a_planted_sentence_is_found_first() -> None:
    for place in range(20):
        sentences = [f"It was day {day} of the week." for day in range(20)]
        sentences.insert(place, "The service was awful.")
        text = " ".join(sentences)
        found = explain(Counting(), text)
        first = max(found.sentences, key=lambda piece: piece.weight)
        assert text[first.start : first.end] == "The service was awful."


def test_sentences_and_words_of_many_scripts() -> None:
    def cut(text: str, spans: list[tuple[int, int]]) -> list[str]:
        return [text[start:end] for start, end in spans]

    text = 'He said "no!" Then 3.5 of us left… 好吃。不好\uff01 क्या बात है। نعم؟ لا'
    spans = sentence_spans(text)[-5:]
    assert cut(text, spans) == ["好吃。", "不好\uff01", "क्या बात है।", "نعم؟", "لا"]
    assert cut("क्या बात", word_spans("क्या बात")) == ["क्या", "बात"]
    assert cut("don't 好吃 well-made 👍!", word_spans("don't 好吃 well-made 👍!")) == [
        "don't",
        "好",
        "吃",
        "well-made",
        "👍!",
    ]


def test_a_foreign_label_and_too_few_passes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"^Expected one of the labels negative, positive, but found 'x'\.$"
    ):
        explain(Counting(), "a", label="x")
    with pytest.raises(ValueError, match=r"^Expected 3 passes or more, but found 2\.$"):
        explain(Counting(), "a", passes=2)


class Knowing(Counting):
    """Says itself what each word adds."""

    def word_weights(self, text: str, label: str) -> Sequence[Piece]:
        sign = 1 if label == "positive" else -1
        return [
            Piece(start=start, end=end, weight=sign * POINTS.get(text[start:end], 0.0))
            for start, end in word_spans(text)
        ]


def test_a_predictor_that_knows_its_words_is_not_asked_again() -> None:
    """Then the weights are exact, and a sentence's is the sum of its words."""
    knowing = Knowing()
    text = "We came at noon. The food was great, the room dull."
    found = explain(knowing, text, label="negative")
    assert knowing.calls == [1]
    assert found.exact
    assert [piece.weight for piece in found.sentences] == [0, -1]
    assert [text[piece.start : piece.end] for piece in found.most_telling(2)] == ["great", "dull"]
