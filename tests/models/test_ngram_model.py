"""An opinion is seen in whatever carries it: words, signs, characters, in any script."""

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pollice.errors import DataError
from pollice.models.ngram_model import Characters, NgramModel, NgramOptions, fit_ngram_model

NAMES = ("neg", "pos")
FILLERS = ("coffee", "window", "hotel", "today", "lamp", "waiter", "ticket", "garden")


def options(characters: Characters = "auto", words: int = 3, limit: int = 10**6) -> NgramOptions:
    return NgramOptions(words=words, characters=characters, limit=limit)


def chinese(draw: random.Random, positive: bool) -> str:
    thing = draw.choice(["房间", "早餐", "服务员", "火车", "空调", "电影"])
    said = draw.choice(["干净", "好吃", "舒服"] if positive else ["肮脏", "难吃", "吵闹"])
    when = draw.choice(["昨天晚上", "周末", "出差的时候", "第一次来"])
    return f"{when}住的{thing}真的很{said}、订单号{draw.randrange(10**5)}"


def emoji(draw: random.Random, positive: bool) -> str:
    faces = draw.choices("😀😍🥰👍" if positive else "😡😭👎💔", k=draw.randrange(1, 5))
    return f"{' '.join(draw.choices(FILLERS, k=3))} {''.join(faces)} {draw.randrange(10**4)}"


def hindi(draw: random.Random, positive: bool) -> str:
    said = draw.choice(["अच्छा", "बढ़िया"] if positive else ["बुरा", "घटिया"])
    return f"{draw.choice(['खाना', 'कमरा', 'होटल'])} बहुत {said} था {draw.randrange(10**4)}"


def german(draw: random.Random, positive: bool) -> str:
    """Return a compound word that no other text has, with the telling part in it."""
    said = "schön" if positive else "schon"
    return f"das {draw.choice(FILLERS)}{draw.randrange(10**4)}{said}e Haus"


def thai(draw: random.Random, positive: bool) -> str:
    thing = draw.choice(["อาหาร", "ห้องพัก", "กาแฟ"])
    return f"{thing}{'อร่อย' if positive else 'แย่มาก'}{draw.choice(['ครับ', 'ค่ะ'])}"


def marks(draw: random.Random, positive: bool) -> str:
    return f"{' '.join(draw.choices(FILLERS, k=4))} {':)' if positive else ':('}"


def mixed(draw: random.Random, positive: bool) -> str:
    return draw.choice((chinese, emoji, hindi, marks))(draw, positive)


def drawn(
    write: Callable[[random.Random, bool], str], rows: int, seed: int
) -> tuple[list[str], list[str]]:
    draw = random.Random(seed)
    positive = [row % 2 == 1 for row in range(rows)]
    return [write(draw, each) for each in positive], [NAMES[each] for each in positive]


def accuracy(model: NgramModel, texts: Sequence[str], labels: Sequence[str]) -> float:
    table, _ = model.judge(texts)
    return float(np.mean([NAMES[column] for column in table.argmax(axis=1)] == np.array(labels)))


@pytest.mark.parametrize("write", [chinese, emoji, hindi, german, thai, marks, mixed])
def test_what_carries_the_opinion_is_seen(write: Callable[[random.Random, bool], str]) -> None:
    train, validation, test = (drawn(write, rows, seed) for seed, rows in enumerate((160, 40, 100)))
    model = fit_ngram_model(train, validation, NAMES, options())
    assert accuracy(model, *test) == 1.0


def test_characters_are_taken_where_words_see_little_and_where_asked() -> None:
    many = (["the film was good", "the film was bad"] * 60, ["pos", "neg"] * 60)
    nothing: tuple[list[str], list[str]] = ([], [])
    fitted = {
        asked: fit_ngram_model(many, nothing, NAMES, options(asked)).ngrams
        for asked in ("auto", "always", "never")
    }
    assert {name: list(ngrams) for name, ngrams in fitted.items()} == {
        "auto": ["words"],
        "always": ["words", "characters"],
        "never": ["words"],
    }
    for write in (chinese, german):
        model = fit_ngram_model(drawn(write, 60, 0), nothing, NAMES, options())
        assert list(model.ngrams) == ["words", "characters"]


def test_a_text_with_nothing_known_has_no_tokens() -> None:
    model = fit_ngram_model(drawn(emoji, 100, 0), ([], []), NAMES, options())
    texts = ["coffee 👍", "", " \u200b", "완전히", "coffeepot"]
    _, tokens = model.judge(texts)
    assert tokens[0] == 2
    assert tokens[1] == tokens[2] == tokens[3] == 0
    assert tokens[4] == 9  # no known word, but known characters


def test_the_limit_holds_for_each_kind_of_ngram() -> None:
    model = fit_ngram_model(drawn(mixed, 80, 0), ([], []), NAMES, options("always", limit=50))
    assert [ngrams.size for ngrams in model.ngrams.values()] == [50, 50]


def test_the_same_rows_give_the_same_numbers() -> None:
    first, second = (
        fit_ngram_model(drawn(mixed, 80, 0), drawn(mixed, 20, 1), NAMES, options()).arrays()
        for _ in range(2)
    )
    assert first.keys() == second.keys()
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_texts_without_words_and_signs_are_refused() -> None:
    with pytest.raises(
        DataError,
        match=r"^Expected words in the training texts, but found none\. Check the text column\.$",
    ):
        fit_ngram_model(([" ", "\u200b"] * 4, ["neg", "pos"] * 4), ([], []), NAMES, options())
