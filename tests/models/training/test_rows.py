"""Rows are the token ids that the reader gives, with the label of the text that they are of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from pollice.models.encoder.reader import Reader
from pollice.models.pretrained.options import LongText
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.training.rows import Rows, read_rows
from tiny import opinions, tiny_encoder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    return TextTokenizer(tiny_encoder(tmp_path_factory.mktemp("rows") / "bert", "bert"))


@pytest.mark.parametrize("rows", [0, 1, 30])
@pytest.mark.parametrize("long_text", ["head", "chunks"])
def test_rows_are_what_the_reader_reads(
    rows: int, long_text: LongText, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    """Of two texts at a time, too."""
    dataset = opinions(rows)
    reader = Reader(tokenizer, max_tokens=7, keep=long_text)
    encoded = reader.read(dataset.texts)
    for chunk in (2, 1024):
        found = read_rows(reader, dataset, tmp_path, "tokenizing", chunk_rows=chunk)
        assert [tokens.tolist() for tokens in map(np.asarray, found.tokens)] == encoded.tokens
        assert found.lengths.tolist() == encoded.lengths.tolist()
        texts = range(rows) if found.owners is None else found.owners.tolist()
        assert list(texts) == encoded.owners.tolist()
        assert [dataset.label_names[code] for code in found.codes] == [
            dataset.labels[text] for text in encoded.owners
        ]
        assert (found.owners is None) == (rows == 0 or long_text == "head")
    assert list(tmp_path.iterdir()) == []


def test_rows_are_told_apart(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    dataset = opinions(12)
    reader = Reader(tokenizer, max_tokens=16, keep="head")
    texts, labels = dataset.texts, dataset.labels
    others = [
        dataset,
        dataset.take(range(11)),
        replace(dataset, texts=(*texts[:-1], "bad")),
        replace(dataset, labels=(*labels[:-1], labels[0])),
        replace(dataset, texts=(texts[1], texts[0], *texts[2:])),
    ]
    digests = {read_rows(reader, one, tmp_path, "tokenizing").sha256() for one in others}
    assert len(digests) == len(others)
    rows = read_rows(reader, dataset, tmp_path, "tokenizing")
    plain = Rows(tokens=[list(tokens) for tokens in rows.tokens], codes=rows.codes)
    assert plain.sha256() == rows.sha256()


def test_the_pieces_of_a_text_are_judged_together() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 3))
    rows = Rows(
        tokens=[[1]] * 4, codes=np.array([2, 0, 0, 1]), owners=np.array([0, 1, 1, 2], np.int64)
    )
    pieces = softmax(logits, axis=1)
    texts = np.stack([pieces[0], pieces[1:3].mean(axis=0), pieces[3]])
    loss, accuracy = rows.judge(log_softmax(logits, axis=1))
    assert loss == pytest.approx(-np.log(texts[[0, 1, 2], [2, 0, 1]]).mean())
    assert accuracy == (texts.argmax(axis=1) == [2, 0, 1]).mean()
    alone = replace(rows, owners=None)
    assert alone.judge(log_softmax(logits, axis=1))[0] == pytest.approx(
        -np.log(pieces[range(4), rows.codes]).mean()
    )
