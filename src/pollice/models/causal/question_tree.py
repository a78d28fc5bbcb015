"""The questions' endings and the labels' words, as one tree that every text is asked at once.

Knows nothing about texts, and nothing about models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pollice.models.causal.prompts import Ending

WordPath = list[tuple[int, int]]
"""A label's word: for each of its tokens, the node that predicts it, and the token."""


@dataclass(frozen=True, kw_only=True)
class QuestionTree:
    """The endings, and the words of several tokens, as nodes that see their ancestors.

    Each question's ending is a branch. Its last node is the answer: it predicts the first token of
    every word. A word of several tokens goes on from there, without its last token, which is
    predicted and never read. So one pass reads what would else be a pass for each word::

        ending "Rating :"  words "good", "very bad"      nodes   Rating - : - very
        ending "Verdict"   words "good", "bad"                   Verdict

        ":" predicts "good" and "very", "very" predicts "bad", "Verdict" predicts "good" and "bad".
    """

    tokens: Tensor
    """``(nodes,)``."""
    depths: Tensor
    """``(nodes,)``: how many tokens after the text's last one a node stands, less one."""
    visible: Tensor
    """``(nodes, nodes)``: whether a node sees another: itself and its ancestors."""
    answers: list[int]
    """For each question, the node that predicts the first token of the label's words."""
    words: list[list[list[WordPath]]]
    """For each question and label, its words."""


class _Growing:
    """The nodes so far; a child always stands behind its parent."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.parents: list[int | None] = []

    def add_branch(self, parent: int | None, branch: Sequence[int]) -> list[int]:
        """Add a chain of tokens under a node; return its nodes."""
        nodes = []
        for token in branch:
            self.tokens.append(token)
            self.parents.append(parent)
            parent = len(self.tokens) - 1
            nodes.append(parent)
        return nodes

    def visible(self) -> Tensor:
        visible = torch.eye(len(self.tokens), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent is not None:
                # The parent's row is complete by now, since a parent stands before its children.
                visible[node] |= visible[parent]
        return visible


def build_tree(endings: Sequence[Ending]) -> QuestionTree:
    """Return the tree of a prompt's endings, each with its labels' words."""
    growing = _Growing()
    answers, words = [], []
    for ending in endings:
        # An ending has a token at least: `prompts` refuses those that have none.
        answer = growing.add_branch(None, ending.tokens)[-1]
        answers.append(answer)
        words.append(
            [
                [
                    # A word of one token adds no node: the answer node predicts all of it.
                    list(zip([answer, *growing.add_branch(answer, word[:-1])], word, strict=True))
                    for word in label_words
                ]
                for label_words in ending.words
            ]
        )
    visible = growing.visible()
    return QuestionTree(
        tokens=torch.tensor(growing.tokens),
        # A node sees itself and its ancestors, so their number says how deep it stands.
        depths=visible.sum(dim=1) - 1,
        visible=visible,
        answers=answers,
        words=words,
    )
