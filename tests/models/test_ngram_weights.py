"""What each word adds to the log-odds is exact: the words and the bias add up to them."""

from itertools import pairwise

import numpy as np
import pytest

from pollice.models.ngram_model import Characters, NgramModel, NgramOptions, fit_ngram_model
from pollice.models.ngram_weights import weigh_words
from pollice.models.token_spans import locate_characters, locate_words_and_signs
from pollice.models.tokens import characters, words_and_signs

TEXTS = (
    "A great film, truly great!",
    "Not good. Dull and not good at all",
    "Lovely music, a lovely film",
    "An awful plot, awful actors",
    "so-so, nothing new",
    "the usual plot and music",
)
ODD = (
    "A Great film that's not good 👍",
    "e\u0301te\u0301 \ufb01lm x½ GREAT\u200b",
    "电影很好 great",
    "\xb4 a lone accent",
    "İstanbul STRASSE straße",
    "नमस्ते दुनिया",
    "",
)


def fitted(labels: tuple[str, ...], characters: Characters) -> NgramModel:
    options = NgramOptions(words=3, characters=characters, limit=10_000)
    return fit_ngram_model((TEXTS, labels), ((), ()), sorted(set(labels)), options)


@pytest.mark.parametrize("characters", ["always", "never"])
@pytest.mark.parametrize("text", [*TEXTS, *ODD])
def test_words_and_bias_add_up_to_the_log_odds(text: str, characters: Characters) -> None:
    model = fitted(("p", "n", "p", "n", "p", "n"), characters)
    probabilities, _ = model.judge([text])
    for label, sign in ((0, -1), (1, 1)):
        pieces = weigh_words(model, text, label)
        odds = np.log(probabilities[0, label] / probabilities[0, 1 - label])
        total = sum(piece.weight for piece in pieces)
        assert total + sign * model.head.bias[0] == pytest.approx(odds, abs=1e-6)
        assert all(a.end <= b.start for a, b in pairwise(pieces))
        assert all(piece.start < piece.end <= len(text) for piece in pieces)


def test_of_three_labels_each_has_a_regression_of_its_own() -> None:
    model = fitted(("p", "n", "p", "n", "o", "o"), "never")
    text = "a great film"
    weights = [[piece.weight for piece in weigh_words(model, text, label)] for label in range(3)]
    assert np.ptp(weights, axis=0).min() > 0
    words = [text[piece.start : piece.end] for piece in weigh_words(model, text, 2)]
    assert words == ["a", "great", "film"]
    assert weights[2][1] > 0 > weights[0][1]


def test_a_label_without_rows_has_no_weights() -> None:
    options = NgramOptions(words=1, characters="never", limit=100)
    model = fit_ngram_model((TEXTS[:2], ("a", "b")), ((), ()), ("a", "b", "never seen"), options)
    assert [piece.weight for piece in weigh_words(model, "a great film", 2)] == [0, 0, 0]


@pytest.mark.parametrize("text", [*TEXTS, *ODD])
def test_the_located_tokens_are_those_of_the_model(text: str) -> None:
    (run,) = locate_words_and_signs(text)
    assert [token for token, _ in run] == words_and_signs(text)
    runs = locate_characters(text)
    assert ["".join(token for token, _ in run) for run in runs] == list(characters(text))
    assert all(0 <= start < end <= len(text) for run in runs for _, (start, end) in run)


def test_letters_that_folding_changes_stand_where_they_were_written() -> None:
    (run,) = locate_words_and_signs("\ufb01lm E\u0301TE\u0301!")
    assert run == [("film", (0, 3)), ("\xe9t\xe9", (4, 9)), ("!", (9, 10))]
