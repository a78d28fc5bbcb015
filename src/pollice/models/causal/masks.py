"""Which token may attend to which, for every kind of layer, as what is added to the scores.

Knows nothing about models but their sliding windows, and nothing about why a token may see another:
`packed_rows` has the picture of that.

A layer sees either everything that it may see, or only what lies in a **sliding window**: of all
that, the keys less than ``window`` positions before the query. Distance is counted in positions and
not in places in memory, since the tokens of a packed row do not lie in the order of their text.

**The prefix.** Full attention sees all of it from everywhere, so its mask has no column for it. A
window cuts it off at another token for each query, so its mask has columns for the prefix's last
``window - 1`` tokens; the others are out of reach for all. With a prefix "A B C D", a text
"t u v" and a window of 3, whose mask has columns for "C D"::

      full     t u v        sliding    C D t u v
          t    1 . .               t   1 1 1 . .
          u    1 1 .               u   . 1 1 1 .
          v    1 1 1               v   . . 1 1 1
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Masks = Tensor | dict[str, Tensor]
"""What is added to attention's scores: one mask, or one for each kind of layer."""


class AttentionMasks:
    """Additive masks from positions, for full attention and for sliding windows."""

    def __init__(self, config: Any, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._kinds: Sequence[str] = getattr(config, "layer_types", None) or ()
        # Qwen's configurations can name a window and switch it off; others have no such switch.
        used = getattr(config, "use_sliding_window", True)
        self._window: int | None = getattr(config, "sliding_window", None) if used else None

    def near(self, prefix: int) -> int:
        """Return how many of the prefix's last tokens a window after it can reach.

        The first token after it reaches furthest, and is itself one of its window.
        """
        return 0 if self._window is None else min(prefix, self._window - 1)

    def sees_all(self, layer: int) -> bool:
        """Tell whether a layer sees the whole prefix from everywhere."""
        if self._by_layer:
            return self._kinds[layer] != "sliding_attention"
        # No kinds of layers, as in Mistral: a window then holds in every layer.
        return self._window is None

    @property
    def _by_layer(self) -> bool:
        return "sliding_attention" in self._kinds

    def __call__(
        self,
        positions: Tensor,
        seen: Tensor,
        visible: Tensor,
        device: torch.device,
        *,
        before: int = 0,
    ) -> Masks:
        """Return a mask, or one for each kind of layer.

        Args:
            positions: ``(rows, queries)``, the position of each query.
            seen: ``(rows, keys)``, the position of each key.
            visible: ``(rows, queries, keys)``, whether a query may see a key at any distance.
            device: Where the mask is needed.
            before: How many keys in front stand in a prefix that full attention sees whole: its
                mask has no column for them.
        """
        if self._window is None:
            return self._additive(visible[:, :, before:], device)
        # Strictly greater, as in transformers: the query itself counts as one of its window.
        near = seen[:, None, :] > positions[:, :, None] - self._window
        sliding = self._additive(visible & near, device)
        if self._by_layer:
            full = self._additive(visible[:, :, before:], device)
            # The keys are transformers' names: the decoder looks each layer's kind up in this.
            return {"full_attention": full, "sliding_attention": sliding}
        return sliding

    def _additive(self, visible: Tensor, device: torch.device) -> Tensor:
        # The lowest number and not -inf, of which softmax makes nan where a query sees nothing.
        # In the model's own data type: the lowest float32 would round to -inf in bfloat16.
        mask = torch.zeros(visible.shape, dtype=self._dtype)
        mask.masked_fill_(~visible, torch.finfo(self._dtype).min)
        return mask[:, None].to(device)
