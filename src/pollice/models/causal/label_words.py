"""Last hidden states -> log-probabilities of the labels, over their words alone.

Knows nothing about how the states were computed, and nothing about calibration.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from pollice.models.causal.question_tree import QuestionTree, WordPath

_VOCABULARY_ROWS = 16384  # so many rows of the output embedding are float32 at once


class LabelWords:
    """Scores the words of a tree's labels.

    Use it in place of a model's own logits: those are of the whole vocabulary at every token, most
    of the work of a small model, and in bfloat16 round two words' logits to the same number. Here
    only the words' own logits are computed, in float32.
    """

    def __init__(self, model: PreTrainedModel, tree: QuestionTree) -> None:
        self._model = model
        self._tree = tree

    def score(self, states: Tensor) -> Tensor:
        """Return log-probabilities over the labels, ``(rows, questions, labels)``.

        Args:
            states: The last hidden states of the tree's nodes, ``(rows, nodes, width)``.
        """
        normalizers = self._normalizers(states)
        questions = [
            torch.stack([self._label_score(states, label, normalizers) for label in labels], dim=-1)
            for labels in self._tree.words
        ]
        # This also takes away what `_word_score` leaves out: the answer node's own normalizer.
        return torch.stack(questions, dim=1).log_softmax(dim=-1)

    def _normalizers(self, states: Tensor) -> dict[int, Tensor]:
        """Return the logsumexp over the vocabulary, ``(rows,)``, of the nodes where it counts.

        All words of a question begin at its answer node, so what normalizes their first tokens is
        the same for all, and falls out over the labels. Of later tokens it does not.
        """
        later = {
            node
            for labels in self._tree.words
            for words in labels
            for word in words
            for node, _ in word[1:]
        }
        # No answer node is among them: `_word_score` tells by that which tokens to normalize.
        nodes = sorted(later)
        sums = self._logsumexp(states[:, nodes])
        return {node: sums[:, number] for number, node in enumerate(nodes)}

    def _label_score(
        self, states: Tensor, words: Sequence[WordPath], normalizers: dict[int, Tensor]
    ) -> Tensor:
        """Return the log of the summed likelihoods of a label's words, ``(rows,)``."""
        scores = [self._word_score(states, word, normalizers) for word in words]
        return torch.stack(scores).logsumexp(dim=0)

    def _word_score(self, states: Tensor, word: WordPath, normalizers: dict[int, Tensor]) -> Tensor:
        """Return a word's log-likelihood, up to what all words of its question share."""
        total = torch.zeros(len(states), device=states.device)
        for node, token in word:
            total = total + self.logits(states[:, node], slice(token, token + 1))[:, 0]
            if node in normalizers:
                total = total - normalizers[node]
        return total

    def _logsumexp(self, states: Tensor) -> Tensor:
        """Return the logsumexp over the whole vocabulary's logits, ``(rows, nodes)``."""
        # Where all words are one token, the whole output embedding need not be made float32.
        if not states.shape[1]:
            return states.new_zeros(states.shape[:2])
        head: Any = self._model.get_output_embeddings()
        parts = [
            self.logits(states, slice(start, start + _VOCABULARY_ROWS)).logsumexp(dim=-1)
            for start in range(0, len(head.weight), _VOCABULARY_ROWS)
        ]
        # The logsumexp of parts' logsumexps is that of the whole, so parts cost nothing.
        return torch.stack(parts).logsumexp(dim=0)

    def logits(self, states: Tensor, tokens: slice) -> Tensor:
        """Return the logits of some tokens in float32: ``(..., tokens)``."""
        head: Any = self._model.get_output_embeddings()
        logits: Tensor = states.float() @ head.weight[tokens].float().T
        if getattr(head, "bias", None) is not None:
            logits = logits + head.bias[tokens].float()
        # Transformers has each of these in the model's `forward`, which is not called here. One
        # that is missing is found by `CausalScorer._check_model`. The cap comes last: it is not
        # linear.
        config = self._model.config
        logits = logits * getattr(config, "logit_scale", 1.0)  # Cohere
        logits = logits / getattr(config, "logits_scaling", 1.0)  # Granite
        softcap = getattr(config, "final_logit_softcapping", None)  # Gemma
        return softcap * torch.tanh(logits / softcap) if softcap else logits
