"""Labelled texts as prompts with their answers: token for token what will be asked, and the label.

Knows nothing about training.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pollice.data.dataset import Dataset
from pollice.models.batching import padded
from pollice.models.causal.label_prompt import LabelPrompt
from pollice.models.causal.prompts import Ending
from pollice.models.hugging_face.rows import IGNORED
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.training.rows import Rows


def deal_questions(labels: Sequence[str], questions: int, *, seed: int) -> list[int]:
    """Return a question for each row, each as often as the next among the rows of every label.

    So which question is asked tells nothing about the label.
    """
    asked: Counter[str] = Counter()
    dealt = [0] * len(labels)
    for row in np.random.default_rng(seed).permutation(len(labels)):
        label = labels[row]
        dealt[row] = asked[label] % questions
        asked[label] += 1
    return dealt


@dataclass(frozen=True, kw_only=True)
class AskedRows(Rows):
    """Labelled rows as prompts that end with the first word of their label."""

    questions: Sequence[int]
    """The question that each row is asked, ``(rows,)``."""
    word_lengths: Sequence[int]
    """The tokens of each row's last word, ``(rows,)``."""


def ask_rows(
    prompt: LabelPrompt, tokenizer: TextTokenizer, rows: Dataset, *, each: bool, seed: int
) -> AskedRows:
    """Return every row as its prompt with a question's ending, and the label's first word.

    Args:
        prompt: What is asked; the texts are cut by its settings, never the rest.
        tokenizer: Of the checkpoint.
        rows: Labelled texts.
        each: Whether every row is asked every question, or one of them in turn.
        seed: Deals the questions.
    """
    endings = prompt.pieces.endings
    texts, _ = prompt.read(tokenizer, rows.texts)
    codes = [prompt.label_names.index(label) for label in rows.labels]
    dealt = deal_questions(rows.labels, len(endings), seed=seed)
    asked = [
        (row, question)
        for row, turn in enumerate(dealt)
        for question in (range(len(endings)) if each else [turn])
    ]
    words = [endings[question].words[codes[row]][0] for row, question in asked]
    return AskedRows(
        tokens=[
            [*prompt.pieces.prefix, *texts[row], *endings[question].tokens, *word]
            for (row, question), word in zip(asked, words, strict=True)
        ],
        codes=np.array([codes[row] for row, _ in asked], np.int64),
        questions=[question for _, question in asked],
        word_lengths=[len(word) for word in words],
    )


class AskedCollator:
    """Pads a batch to its longest row, on the right: no row sees the padding."""

    def __init__(self, pad: int, rows: AskedRows) -> None:
        self._pad = pad
        self._rows = rows

    def __call__(self, items: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        """Return ``input_ids``, ``attention_mask`` and three more; for no rows, an ignored one.

        ``labels`` is `IGNORED` but for the word; ``question`` and ``code`` are numbers of the
        row's question and label. A process whose share of a small step is empty must still take
        part in it.
        """
        numbers = [item["row"] for item in items]
        tokens = [[int(token) for token in self._rows.tokens[row]] for row in numbers] or [[0]]
        words = [self._rows.word_lengths[row] for row in numbers] or [0]
        # Not row[-word:], which for a word of no tokens would be the whole row.
        labels = [
            [IGNORED] * (len(row) - word) + row[len(row) - word :]
            for row, word in zip(tokens, words, strict=True)
        ]
        longest = max(len(row) for row in tokens)
        return {
            "input_ids": torch.from_numpy(padded(tokens, longest, self._pad)),
            "attention_mask": torch.from_numpy(
                padded([[1] * len(row) for row in tokens], longest, 0)
            ),
            "labels": torch.from_numpy(padded(labels, longest, IGNORED)),
            "question": torch.tensor([self._rows.questions[row] for row in numbers] or [0]),
            "code": torch.tensor([int(self._rows.codes[row]) for row in numbers] or [IGNORED]),
        }


def predicting_positions(labels: Tensor) -> Tensor:
    """Return ``(rows, tokens)``: whether a position's next token is one to be learned."""
    following = torch.full_like(labels, IGNORED)
    following[:, :-1] = labels[:, 1:]
    return following != IGNORED


def label_logits(logits: Tensor, questions: Tensor, endings: Sequence[Ending]) -> Tensor:
    """Return what the answer position says of each label, by its words' first tokens.

    Args:
        logits: At each row's answer position, ``(rows, vocabulary)``.
        questions: The question of each row, ``(rows,)``.
        endings: Of all questions.

    Returns:
        ``(rows, labels)``.
    """
    table = logits.new_zeros((len(logits), len(endings[0].words)))
    for question, ending in enumerate(endings):
        rows = questions == question
        for code, words in enumerate(ending.words):
            # A set: two words may begin with the same token, which must not count twice.
            first = sorted({word[0] for word in words})
            table[rows, code] = logits[rows][:, first].logsumexp(dim=-1)
    return table
