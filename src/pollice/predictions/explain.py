"""Which sentences and words moved an answer: each is left out, and the text is judged again.

Works for every predictor alike, since it only asks for probabilities. A predictor that knows what
each word adds is asked for that instead. Knows nothing about models.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pollice.predictions.pieces import Piece as Piece
from pollice.predictions.predictor import Scores

PASSES = 64
"""At most so many texts are judged for one explanation, the whole text among them."""
_SENTENCES = 24
"""A longer text is cut into so many stretches of sentences."""
_LEAST = 1e-9  # a probability of 0 or 1 has no odds

# Full stops of many scripts: Chinese and Japanese, Arabic, those of India, and the ellipsis.
_STOPS = r".!?\n\u3002\uff01\uff1f\u061f\u0964\u2026"
_SENTENCE = re.compile(rf"[^{_STOPS}]*[{_STOPS}]+[\"'\u201d\u2019)\]]*\s*|[^{_STOPS}]+$")
# Scripts without blanks: there, every character is a word.
_ALONE = r"\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Marks upon letters are part of a word, though \w leaves them out.
_MARKS = r"\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff\u200c\u200d"
_LETTERS = rf"(?:(?![{_ALONE}])[\w{_MARKS}])+"
_WORD = re.compile(rf"[{_ALONE}]|{_LETTERS}(?:[-'\u2019]{_LETTERS})*|[^\w\s]+")


class Explainable(Protocol):
    """What an explanation needs of a predictor."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The order of the probabilities."""

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts."""

    def word_weights(self, text: str, label: str) -> Sequence[Piece] | None:
        """Return what each word adds to the log-odds of a label; None: it is not known."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What moved the answer to one text."""

    text: str
    label: str
    """The label whose probability is explained."""
    probability: float
    """That the whole text has the label."""
    truncated: bool
    """Whether the predictor did not read all of the text: what was cut moved nothing."""
    sentences: tuple[Piece, ...]
    """In the order of the text, without gaps but for blanks."""
    words: tuple[Piece, ...]
    """Of the most telling sentences, in the order of the text; the others have none."""
    exact: bool = False
    """Whether the predictor itself says what each word adds, so that nothing was left out."""

    def most_telling(self, count: int = 10) -> tuple[Piece, ...]:
        """Return the words that moved the answer most, for the label or against it."""
        pieces = self.words or self.sentences
        return tuple(sorted(pieces, key=lambda piece: -abs(piece.weight))[:count])


def explain(
    predictor: Explainable, text: str, *, label: str | None = None, passes: int = PASSES
) -> Explanation:
    """Find the sentences, then the words of the most telling ones, that moved an answer.

    Use it to see why one text was judged as it was. A piece's weight is how far the log-odds of
    the label fall when the piece alone is left out (Robnik-Šikonja and Kononenko 2008, "Explaining
    classifications for individual instances"). Two pieces that say the same hide each other: each
    of them can be spared, so both have small weights. Where the predictor knows what each word
    adds (`Predictor.word_weights`), the weights are those, and a sentence's is their sum.

    Args:
        predictor: Any predictor.
        text: The text.
        label: The label that is explained; None: the most probable one.
        passes: The most texts that are judged, 3 at least.

    Raises:
        ValueError: the predictor has no such label, or ``passes`` is below 3.
    """
    if passes < 3:
        raise ValueError(f"Expected 3 passes or more, but found {passes}.")
    whole = predictor.score([text])
    names = predictor.label_names
    if label is not None and label not in names:
        raise ValueError(f"Expected one of the labels {', '.join(names)}, but found {label!r}.")
    # The first name in sorted order wins a tie, as in the predictions table.
    best = max(sorted(names), key=lambda name: whole.probabilities[0, names.index(name)])
    column = names.index(best if label is None else label)
    probability = float(whole.probabilities[0, column])
    exact = predictor.word_weights(text, names[column])
    if exact is not None:
        return Explanation(
            text=text,
            label=names[column],
            probability=probability,
            truncated=bool(whole.truncated[0]),
            sentences=_summed(sentence_spans(text), exact),
            words=tuple(exact),
            exact=True,
        )
    sentences, words = _leave_out(predictor, text, column, probability, passes)
    return Explanation(
        text=text,
        label=names[column],
        probability=probability,
        truncated=bool(whole.truncated[0]),
        sentences=sentences,
        words=words,
    )


def _leave_out(
    predictor: Explainable, text: str, column: int, probability: float, passes: int
) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Return the sentences, and the words of the most telling ones, each left out in turn."""

    def weigh(spans: Sequence[tuple[int, int]]) -> tuple[Piece, ...]:
        """Return the spans as pieces; all of them are judged in one call."""
        if not spans:
            return ()
        rest = [_without(text, start, end) for start, end in spans]
        found = predictor.score(rest).probabilities[:, column]
        lost = _log_odds(np.array(probability)) - _log_odds(found)
        return tuple(
            Piece(start=start, end=end, weight=float(weight))
            for (start, end), weight in zip(spans, lost, strict=True)
        )

    stretches = _join(sentence_spans(text), min(_SENTENCES, (passes - 1) // 2))
    # A text of one sentence has no rest to compare with: all goes to its words.
    sentences = weigh(stretches) if len(stretches) > 1 else ()
    left = passes - 1 - len(sentences)
    telling = sorted(sentences, key=lambda piece: -abs(piece.weight)) or [
        Piece(start=0, end=len(text), weight=0.0)
    ]
    return sentences, weigh(_words_of(text, telling, left))


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return where each sentence begins and ends, without the blanks around it."""
    spans = [_stripped(text, match.start(), match.end()) for match in _SENTENCE.finditer(text)]
    return [(start, end) for start, end in spans if _WORD.search(text, start, end)]


def word_spans(text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Return where each word or sign begins and ends; a character where a script has no blanks."""
    return [
        match.span() for match in _WORD.finditer(text, start, len(text) if end is None else end)
    ]


def _summed(sentences: Sequence[tuple[int, int]], words: Sequence[Piece]) -> tuple[Piece, ...]:
    """Return sentences with the weights of their words; none if there is only one."""
    if len(sentences) < 2:
        return ()
    return tuple(
        Piece(
            start=start,
            end=end,
            weight=sum(word.weight for word in words if start <= word.start < end),
        )
        for start, end in sentences
    )


def _words_of(text: str, telling: Sequence[Piece], room: int) -> list[tuple[int, int]]:
    """Return words of the most telling sentences, as many as there is room for."""
    words: list[tuple[int, int]] = []
    for sentence in telling:
        found = word_spans(text, sentence.start, sentence.end)
        if words and len(words) + len(found) > room:
            break
        # A single long sentence: neighbours go together, so that the whole of it is looked at.
        words += _join(found, room)
    return sorted(words)


def _join(spans: Sequence[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """Return at most so many spans, each of neighbours."""
    if len(spans) <= most:
        return list(spans)
    groups = np.array_split(np.array(spans), most)
    return [(int(group[0, 0]), int(group[-1, 1])) for group in groups]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _without(text: str, start: int, end: int) -> str:
    before, after = text[:start], text[end:]
    # Else two blanks would meet where a word was.
    return before + (after.lstrip() if not before or before[-1].isspace() else after)


def _log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(probability, _LEAST, 1 - _LEAST)
    odds: NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds
