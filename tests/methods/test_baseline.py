"""What the method baseline saves: no pickle, the same bytes, and no more than its limit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pollice.data.dataset import Dataset
from pollice.errors import RunError
from pollice.methods.baseline import BagOfWords, Baseline
from pollice.models.linear_head import fit_head
from pollice.models.tfidf_model import TfidfModel
from tiny import opinions


def parts(labels: tuple[str, ...] = ("negative", "positive")) -> tuple[Dataset, Dataset]:
    rows = opinions(160, labels)
    return rows.take(range(128)), rows.take(range(128, 160))


def saved(predictor: BagOfWords, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    predictor.save(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_same_rows_are_saved_as_the_same_bytes_and_no_pickle(tmp_path: Path) -> None:
    train, validation = parts()
    files = [
        saved(Baseline().fit(train, validation, workdir=tmp_path), tmp_path / name)
        for name in ("first", "second")
    ]
    assert files[0] == files[1]
    assert list(files[0]) == ["head.safetensors", "vocabulary.json"]


def test_the_facts_say_how_many_ngrams_there_are(tmp_path: Path) -> None:
    train, validation = parts()
    limited = Baseline(max_features=60, characters="always")
    predictor = limited.fit(train, validation, workdir=tmp_path)
    assert predictor.facts == {"n-grams": {"words": 60, "characters": 60}}
    assert predictor.parameters == 2 * 60 + 1


def test_a_surrogate_and_a_label_of_one_row_do_no_harm(tmp_path: Path) -> None:
    train, validation = parts()
    odd = replace(
        train,
        texts=("a lone \ud800 surrogate", *train.texts[1:]),
        labels=("other", *train.labels[1:]),
        label_names=(*train.label_names, "other"),
    )
    predictor = Baseline().fit(odd, validation.take([]), workdir=tmp_path)
    saved(predictor, tmp_path / "saved")
    loaded = BagOfWords.load(tmp_path / "saved")
    table = loaded.predict_proba(odd.texts)
    np.testing.assert_array_equal(table, predictor.predict_proba(odd.texts))
    assert table.shape == (128, 3)


def test_a_predictor_of_words_and_pairs_is_saved_as_it_was(tmp_path: Path) -> None:
    """Only the files of older versions hold one; tests/saved/ has such a folder."""
    names = ("negative", "positive")
    draw = np.random.default_rng(0)
    features = draw.normal(size=(40, 3))
    labels = [names[int(row)] for row in features[:, 0] > 0]
    model = TfidfModel(
        terms=("dull", "good", "good film"),
        ngrams=2,
        idf=np.array([1.0, 2.0, 1.5]),
        head=fit_head(features, labels, names),
    )
    predictor = BagOfWords(model, names)
    files = saved(predictor, tmp_path / "first")
    loaded = BagOfWords.load(tmp_path / "first")
    assert saved(loaded, tmp_path / "second") == files
    texts = ["A good film!", "dull", ""]
    np.testing.assert_array_equal(loaded.predict_proba(texts), predictor.predict_proba(texts))
    assert loaded.score(texts).tokens.tolist() == [4, 1, 0]
    assert loaded.score([]).probabilities.shape == (0, 2)
    assert loaded.facts == {}


@pytest.mark.parametrize("labels", [("a", "b", "c"), tuple("abcdefghij")], ids=len)
def test_three_and_ten_labels_are_judged_with_sound_probabilities(
    labels: tuple[str, ...], tmp_path: Path
) -> None:
    texts = [f"{label}{label} word {number}" for number in range(12) for label in labels]
    rows = Dataset(
        ids=tuple(map(str, range(len(texts)))),
        texts=tuple(texts),
        labels=labels * 12,
        label_names=labels,
    )
    predictor = Baseline().fit(rows, rows.take([]), workdir=tmp_path)
    table = predictor.predict_proba(texts)
    np.testing.assert_allclose(table.sum(axis=1), 1.0, atol=1e-9)
    assert [labels[column] for column in table.argmax(axis=1)] == list(rows.labels)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"views": "abc"}, "Expected views among words, characters in "),
        ({"views": {}}, "Expected views among words, characters in "),
        ({"views": {"sounds": {}}}, "Expected views among words, characters in "),
        (
            {"views": {"words": {"tokens": "abc", "longest": 3}}},
            "Expected a list of different terms in ",
        ),
        (
            {"views": {"words": {"tokens": ["a"], "longest": "two"}}},
            "Expected the most tokens of an n-gram in words in ",
        ),
        (
            {"views": {"words": {"tokens": ["a"], "longest": 3}}},
            "numbers in importance.0, one for each n-gram in ",
        ),
        ({"label_names": ["negative"]}, "Expected columns of the 1 labels in "),
    ],
)
def test_what_does_not_fit_together_is_refused(
    tmp_path: Path, changed: dict[str, object], sentence: str
) -> None:
    rows = opinions(40)
    Baseline().fit(rows, rows.take([]), workdir=tmp_path).save(tmp_path)
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    with pytest.raises(RunError, match=sentence):
        BagOfWords.load(tmp_path)
