"""(prompt, labels) -> log-likelihoods, by a causal language model in one forward pass a text.

Knows nothing about calibration, and nothing about what the labels mean.

The prefix that all texts share is run once, and its keys and values are kept. Then every text goes
through the model once, with all questions and all words of several tokens: `packed_rows` shows how.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from pollice.errors import CheckpointError
from pollice.models.batching import length_batches
from pollice.models.calibration import LabelScores
from pollice.models.causal.attention import (
    KeysAndValues,
    PrefixProbe,
    refuse_attention,
    use_shared_prefix,
)
from pollice.models.causal.label_words import LabelWords
from pollice.models.causal.last_layer import only_for, shorten_last_layer
from pollice.models.causal.masks import AttentionMasks, Masks
from pollice.models.causal.onednn import fast_products
from pollice.models.causal.packed_rows import pack_rows
from pollice.models.causal.prompts import Pieces
from pollice.models.causal.question_tree import build_tree
from pollice.models.causal.view import view_model

_PREFIX_TOKENS = 512  # a long prefix is run in steps of this many, to bound its memory
_COMPARED = 1024  # so many words' logits are compared with the model's own
_TOLERANCE = 0.05  # of the largest of them: for bfloat16; a factor that is missed is far above


class CausalScorer:
    """Scores texts against the endings of one prompt; its prefix is run once.

    Many threads may score at once, and many scorers may share a model: a scorer changes a view of
    the model, once, when it is made, and whatever belongs to a call is passed on with the call.

    Args:
        model: A causal language model, in evaluation mode; it stays as it is.
        pieces: The prompt as tokens.
        batch_tokens: The most tokens of a batch, the padding and the endings counted.

    Raises:
        CheckpointError: the model's attention or its logits are of a kind of their own.
    """

    def __init__(self, model: PreTrainedModel, pieces: Pieces, *, batch_tokens: int) -> None:
        self._model = view_model(model)
        self._decoder = self._model.base_model
        self._batch_tokens = batch_tokens
        self._tree = build_tree(pieces.endings)
        self._words = LabelWords(self._model, self._tree)
        self._prefix_length = len(pieces.prefix)
        # From here on the order counts: the check needs the new attention, and the prefix is run
        # last, when all that the view changes is in place.
        self._masks = AttentionMasks(model.config, model.dtype)
        use_shared_prefix(self._model)
        self._check_model(pieces.endings[0].tokens)
        shorten_last_layer(self._decoder)
        self._prefix = self._run_prefix(pieces.prefix)

    @torch.inference_mode()
    def _check_model(self, tokens: Sequence[int]) -> None:
        """Refuse layers that do not hand the prefix on, and logits that are made otherwise."""
        asked = torch.tensor([tokens], device=self._model.device)
        # Both passes attend by `attend`, so the two can only differ in what is made of the last
        # state: a factor or a cap on the logits that `LabelWords.logits` does not know.
        own = self._model(input_ids=asked, use_cache=False).logits[0, -1, :_COMPARED].float()
        probe = PrefixProbe()
        states = self._decoder(input_ids=asked, use_cache=False, shared_prefix=probe)
        if not probe.received:
            refuse_attention(self._model)
        state = states.last_hidden_state[0, -1]
        apart = (self._words.logits(state, slice(0, _COMPARED)) - own).abs().max()
        if apart > _TOLERANCE * own.abs().max():
            raise CheckpointError(
                f"Expected logits that are the last hidden state times the output embedding, but "
                f"{type(self._model).__name__} makes others of it. Use another checkpoint."
            )

    @torch.inference_mode()
    def _run_prefix(self, prefix: Sequence[int]) -> list[KeysAndValues]:
        """Return the keys and values of the prefix, layer by layer; see `_seen_later`."""
        # Without a configuration, no layer of the cache drops what has left its sliding window: the
        # masks below have a column for every token so far, and keys must match them.
        cache = DynamicCache()
        for start in range(0, len(prefix), _PREFIX_TOKENS):
            part = torch.tensor([prefix[start : start + _PREFIX_TOKENS]])
            positions = start + torch.arange(part.shape[1])[None]
            seen = torch.arange(start + part.shape[1])[None]
            visible = seen[:, None, :] <= positions[:, :, None]
            masks = self._masks(positions, seen, visible, self._model.device)
            last = torch.tensor([part.shape[1] - 1])
            # Only the cache is wanted. Some token must be asked for, and one is the least work; the
            # keys and values of the last layer are made for all tokens nevertheless.
            self._decode(part, positions, masks, last, past_key_values=cache, use_cache=True)
        # An empty prefix has run nothing: the list stays empty, and `attend` takes that as no
        # prefix.
        layers: list[Any] = cache.layers
        return [
            self._seen_later(number, layer.keys, layer.values)
            for number, layer in enumerate(layers)
        ]

    def _seen_later(self, layer: int, keys: Tensor, values: Tensor) -> KeysAndValues:
        """Return the part of a layer's prefix that some token after it can still see.

        Cloned, since a slice would keep the whole of it in memory.
        """
        near = self._masks.near(self._prefix_length)
        # Counted from the front: where near is 0, a slice [-near:] would be the whole prefix.
        first = 0 if self._masks.sees_all(layer) else self._prefix_length - near
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
            states = self._read([texts[row] for row in rows])
            # Batches come by length; row numbers on the left bring the scores back to the texts'
            # order. NumPy has no bfloat16, so states leave torch as float32.
            hidden[rows] = states[:, self._tree.answers].float().cpu().numpy()
            scores[rows] = self._words.score(states).double().cpu().numpy()
        return LabelScores(log_probabilities=scores, hidden=hidden)

    def _read(self, texts: Sequence[Sequence[int]]) -> Tensor:
        """Return the last hidden states of the tree's nodes, ``(rows, nodes, width)``."""
        rows = pack_rows(texts, self._tree, self._prefix_length, self._masks, self._model.device)
        states = self._decode(
            rows.tokens,
            rows.positions,
            rows.masks,
            rows.nodes,
            use_cache=False,
            shared_prefix=self._prefix,  # this and the packing reach `attend` through the layers
            packing=rows.packing,
        )
        # `nodes` goes row by row, and within a row in the tree's order: so a view finds them again.
        return states[0, rows.nodes].view(len(texts), len(self._tree.tokens), -1)

    def _decode(
        self, tokens: Tensor, positions: Tensor, masks: Masks, asked: Tensor, **options: Any
    ) -> Tensor:
        """Return the last hidden states; they are right for the tokens that are asked for."""
        device = self._model.device
        # Masks are given ready (four dimensions, or one for each kind of layer): transformers then
        # adds no causal mask of its own, which would go by places in memory and be wrong here.
        with only_for(asked.to(device)), fast_products():
            states: Tensor = self._decoder(
                input_ids=tokens.to(device),
                attention_mask=masks,
                position_ids=positions.to(device),
                **options,
            ).last_hidden_state
        return states
