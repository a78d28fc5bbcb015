"""(prompt, labels) -> log-likelihoods, by a causal language model in one forward pass a text.

Knows nothing about calibration, and nothing about what the labels mean.

A row of a batch is ``[endings][text][padding]`` behind a shared prefix. Order in memory does not
matter: explicit positions put each ending after the text, and an explicit mask lets it see the
prefix, the text and itself only. So all endings, and all words of several tokens, are one pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from pollice.errors import CheckpointError
from pollice.models.batching import aligned, length_batches
from pollice.models.calibration import LabelScores
from pollice.models.causal.attention import KeysAndValues, Packing, own_kind, use_shared_prefix
from pollice.models.causal.last_layer import only_for
from pollice.models.causal.masks import AttentionMasks, Masks
from pollice.models.causal.onednn import fast_products
from pollice.models.causal.prompts import Ending, Pieces

_PREFIX_TOKENS = 512  # a long prefix is run in steps of this many, to bound its memory
_COMPARED = 1024  # so many words' logits are compared with the model's own
_TOLERANCE = 0.05  # of the largest of them: for bfloat16; a factor that is missed is far above
_VOCABULARY_ROWS = 16384  # so many rows of the output embedding are float32 at once


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """The endings and the words of several tokens, as nodes that see their ancestors."""

    tokens: Tensor
    """``(nodes,)``."""
    depths: Tensor
    """``(nodes,)``: how many tokens after the text's last one a node stands."""
    visible: Tensor
    """``(nodes, nodes)``: whether a node sees another."""
    answers: list[int]
    """For each question, the node that predicts the first token of the label's words."""
    words: list[list[list[list[tuple[int, int]]]]]
    """For each question, label and word: (node, the token that it should predict)."""


def _plant(endings: Sequence[Ending]) -> _Tree:
    tokens: list[int] = []
    parents: list[int | None] = []

    def grow(parent: int | None, branch: Sequence[int]) -> list[int]:
        nodes = []
        for token in branch:
            tokens.append(token)
            parents.append(parent)
            parent = len(tokens) - 1
            nodes.append(parent)
        return nodes

    answers, words = [], []
    for ending in endings:
        answer = grow(None, ending.tokens)[-1]
        answers.append(answer)
        words.append(
            [
                [
                    list(zip([answer, *grow(answer, word[:-1])], word, strict=True))
                    for word in label_words
                ]
                for label_words in ending.words
            ]
        )
    visible = torch.eye(len(tokens), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent is not None:
            visible[node] |= visible[parent]
    return _Tree(
        tokens=torch.tensor(tokens),
        depths=visible.sum(dim=1) - 1,
        visible=visible,
        answers=answers,
        words=words,
    )


class _Witness:
    """Stands for no shared prefix, and remembers whether attention was handed it."""

    reached = False

    def __bool__(self) -> bool:
        self.reached = True
        return False


class CausalScorer:
    """Scores texts against the endings of one prompt; its prefix is run once.

    Args:
        model: A causal language model, in evaluation mode.
        pieces: The prompt as tokens.
        batch_tokens: The most tokens of a batch, the padding and the endings counted.

    Raises:
        CheckpointError: the model's attention or its logits are of a kind of their own.
    """

    def __init__(self, model: PreTrainedModel, pieces: Pieces, *, batch_tokens: int) -> None:
        self._model = model
        self._decoder = model.base_model
        self._batch_tokens = batch_tokens
        self._tree = _plant(pieces.endings)
        self._prefix_length = len(pieces.prefix)
        self._masks = AttentionMasks(model.config, model.dtype)
        self._near = self._masks.near(self._prefix_length)
        use_shared_prefix(model)
        self._check_model(pieces.endings[0].tokens)
        self._prefix = self._run_prefix(pieces.prefix)

    @torch.inference_mode()
    def _check_model(self, tokens: Sequence[int]) -> None:
        """Refuse layers that do not hand the prefix on, and logits that `_logits` does not know."""
        asked = torch.tensor([tokens], device=self._model.device)
        own = self._model(input_ids=asked, use_cache=False).logits[0, -1, :_COMPARED].float()
        witness: Any = _Witness()
        states = self._decoder(input_ids=asked, use_cache=False, shared_prefix=witness)
        if not witness.reached:
            raise own_kind(self._model)
        state = states.last_hidden_state[0, -1]
        apart = (self._logits(state, slice(0, _COMPARED)) - own).abs().max()
        if apart > _TOLERANCE * own.abs().max():
            raise CheckpointError(
                f"Expected logits that are the last hidden state times the output embedding, but "
                f"{type(self._model).__name__} makes others of it. Use another checkpoint."
            )

    @torch.inference_mode()
    def _run_prefix(self, prefix: Sequence[int]) -> list[KeysAndValues]:
        cache = DynamicCache()
        for start in range(0, len(prefix), _PREFIX_TOKENS):
            part = torch.tensor([prefix[start : start + _PREFIX_TOKENS]])
            positions = start + torch.arange(part.shape[1])[None]
            seen = torch.arange(start + part.shape[1])[None]
            visible = seen[:, None, :] <= positions[:, :, None]
            masks = self._masks(positions, seen, visible, self._model.device)
            last = torch.tensor([part.shape[1] - 1])
            self._decode(part, positions, masks, last, past_key_values=cache, use_cache=True)
        layers: list[Any] = cache.layers
        return [
            self._seen_later(number, layer.keys, layer.values)
            for number, layer in enumerate(layers)
        ]

    def _seen_later(self, layer: int, keys: Tensor, values: Tensor) -> KeysAndValues:
        """Return the part of a layer's prefix that some token after it can still see."""
        first = 0 if self._masks.sees_all(layer) else self._prefix_length - self._near
        return keys[:, :, first:].clone(), values[:, :, first:].clone()

    @torch.inference_mode()
    def score(self, texts: Sequence[Sequence[int]]) -> LabelScores:
        """Score texts, given as token ids that are already cut, in one pass over each."""
        questions, labels = len(self._tree.answers), len(self._tree.words[0])
        width = self._model.config.hidden_size
        scores = np.zeros((len(texts), questions, labels))
        hidden = np.zeros((len(texts), questions, width), np.float32)
        batches = length_batches(
            [len(text) for text in texts],
            batch_tokens=self._batch_tokens,
            extra=len(self._tree.tokens),
        )
        for rows in batches:
            states = self._forward([texts[row] for row in rows])
            hidden[rows] = states[:, self._tree.answers].float().cpu().numpy()
            scores[rows] = self._label_scores(states).double().cpu().numpy()
        return LabelScores(log_probabilities=scores, hidden=hidden)

    def _forward(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Return the last hidden states of the tree's nodes, ``(rows, nodes, width)``."""
        tree, nodes, prefix = self._tree, len(self._tree.tokens), self._prefix_length
        near = self._near
        lengths = torch.tensor([len(text) for text in texts])
        longest = aligned(prefix + nodes + int(lengths.max())) - prefix - nodes
        padded = torch.zeros((len(texts), longest), dtype=torch.long)
        for row, text in enumerate(texts):
            padded[row, : len(text)] = torch.tensor(text, dtype=torch.long)
        order = torch.arange(longest)
        tokens = torch.cat([tree.tokens.expand(len(texts), -1), padded], dim=1)
        positions = prefix + torch.cat(
            [lengths[:, None] + tree.depths, order.expand(len(texts), -1)], dim=1
        )
        before = torch.arange(prefix - near, prefix)
        seen = torch.cat([before.expand(len(texts), -1), positions], dim=1)
        visible = torch.zeros((*tokens.shape, near + tokens.shape[1]), dtype=torch.bool)
        visible[:, :, :near] = True
        visible[:, :nodes, near : near + nodes] = tree.visible
        visible[:, :nodes, near + nodes :] = (order < lengths[:, None])[:, None, :]
        visible[:, nodes:, near + nodes :] = order[None, :] <= order[:, None]
        device = self._model.device
        masks = self._masks(positions, seen, visible, device, before=near)
        own = torch.arange(nodes + longest)
        packing = Packing((own < nodes + lengths[:, None]).to(device))
        asked = (packing.pack(own.expand_as(tokens).to(device))[0] < nodes).nonzero()[:, 0]
        states = self._decode(
            packing.pack(tokens.to(device)),
            packing.pack(positions.to(device)),
            masks,
            asked,
            use_cache=False,
            shared_prefix=self._prefix,
            packing=packing,
        )
        return states[0, asked].view(len(texts), nodes, -1)

    def _decode(
        self, tokens: Tensor, positions: Tensor, masks: "Masks", asked: Tensor, **options: Any
    ) -> Tensor:
        """Return the last hidden states; they are right for the tokens that are asked for."""
        device = self._model.device
        with only_for(self._decoder, asked.to(device)), fast_products():
            states: Tensor = self._decoder(
                input_ids=tokens.to(device),
                attention_mask=masks,
                position_ids=positions.to(device),
                **options,
            ).last_hidden_state
        return states

    def _label_scores(self, states: Tensor) -> Tensor:
        """Return log-probabilities over the labels, ``(rows, questions, labels)``."""
        later = sorted(
            {
                node
                for question in self._tree.words
                for label in question
                for word in label
                for node, _ in word[1:]
            }
        )
        sums = self._logsumexp(states[:, later])
        normalizers = {node: sums[:, number] for number, node in enumerate(later)}
        questions = [
            torch.stack(
                [
                    torch.stack(
                        [self._word_score(states, word, normalizers) for word in label]
                    ).logsumexp(dim=0)
                    for label in question
                ],
                dim=-1,
            )
            for question in self._tree.words
        ]
        return torch.stack(questions, dim=1).log_softmax(dim=-1)

    def _word_score(
        self, states: Tensor, word: list[tuple[int, int]], normalizers: dict[int, Tensor]
    ) -> Tensor:
        """Return a word's log-likelihood, up to what all words of its question share."""
        total = torch.zeros(len(states), device=states.device)
        for node, token in word:
            total = total + self._logits(states[:, node], slice(token, token + 1))[:, 0]
            if node in normalizers:
                total = total - normalizers[node]
        return total

    def _logsumexp(self, states: Tensor) -> Tensor:
        """Return the logsumexp over the whole vocabulary's logits, ``(rows, nodes)``."""
        if not states.shape[1]:
            return states.new_zeros(states.shape[:2])
        words = len(cast(Any, self._model.get_output_embeddings()).weight)
        parts = [
            self._logits(states, slice(start, start + _VOCABULARY_ROWS)).logsumexp(dim=-1)
            for start in range(0, words, _VOCABULARY_ROWS)
        ]
        return torch.stack(parts).logsumexp(dim=0)

    def _logits(self, states: Tensor, tokens: slice) -> Tensor:
        """Return the logits of some tokens in float32: ``(..., tokens)``."""
        head: Any = self._model.get_output_embeddings()
        logits: Tensor = states.float() @ head.weight[tokens].float().T
        if getattr(head, "bias", None) is not None:
            logits = logits + head.bias[tokens].float()
        config = self._model.config
        logits = logits * getattr(config, "logit_scale", 1.0)  # Cohere
        logits = logits / getattr(config, "logits_scaling", 1.0)  # Granite
        softcap = getattr(config, "final_logit_softcapping", None)  # Gemma
        return softcap * torch.tanh(logits / softcap) if softcap else logits
