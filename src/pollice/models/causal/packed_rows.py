"""Texts and a tree of questions as the one packed row that goes through a model.

Knows nothing about models but how their attention is masked.

**How a batch is laid out.** Behind a shared prefix of P tokens, each row of the table is the nodes
of the tree, then the text, then padding. Two texts, "t u v" and "s", are asked two questions here:
"a b", one of whose labels has a word of two tokens that begins with "w", and "c"::

    column      0    1    2    3  |  4    5    6
    row 0       a    b    w    c  |  t    u    v
    row 1       a    b    w    c  |  s    .    .        . is padding

    position    P+3  P+4  P+5  P+3   P+0  P+1  P+2      of row 0
                P+1  P+2  P+3  P+1   P+0  (P+1  P+2)    of row 1

**Why the questions may stand before the text that they follow.** A decoder knows the order of
tokens by two things alone: the positions that it is told, and what its mask lets a token see. Where
a token lies in memory it cannot tell. So a node that has the position behind the text, and sees the
prefix, the text, its ancestors and itself, has the very state that it would have at the end of a
prompt of its own. The nodes stand in front since their columns are then the same in every row,
however long its text is: the tree's mask is written once, into one rectangle.

**Who sees whom** in row 0; all see the prefix, which has no column here::

          a b w c t u v
      a   1 . . . 1 1 1     a node sees itself, its ancestors, and the whole text;
      b   1 1 . . 1 1 1     a and b do not see c: each question is asked as if alone
      w   1 1 1 . 1 1 1
      c   . . . 1 1 1 1
      t   . . . . 1 . .     the text sees itself alone, in its order: never a question,
      u   . . . . 1 1 .     so that its states do not depend on what it is asked
      v   . . . . 1 1 1

In row 1 the nodes do not see the padding. Padding itself sees tokens, but nothing sees it, and it
never reaches the model: the rows are packed into one, ``a b w c t u v a b w c s``, with their
positions, and only attention lays them out as the table again (see `Packing`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pollice.models.batching import aligned
from pollice.models.causal.attention import Packing
from pollice.models.causal.masks import AttentionMasks, Masks
from pollice.models.causal.question_tree import QuestionTree


@dataclass(frozen=True, kw_only=True)
class PackedRows:
    """A batch as a decoder takes it: rows of several lengths in one, on the model's device."""

    tokens: Tensor
    """``(1, tokens)``."""
    positions: Tensor
    """``(1, tokens)``."""
    masks: Masks
    """Of the padded table, as attention sees the rows."""
    packing: Packing
    nodes: Tensor
    """``(rows * nodes,)``: the tokens that are nodes of the tree, row by row."""


def pack_rows(
    texts: Sequence[Sequence[int]],
    tree: QuestionTree,
    prefix: int,
    masks: AttentionMasks,
    device: torch.device,
) -> PackedRows:
    """Lay out a batch as the picture above shows.

    Args:
        texts: The token ids of each; none need have any.
        tree: What each text is asked.
        prefix: The tokens of the prefix before every row.
        masks: What the model's layers may see.
        device: Where the model is.
    """
    nodes = len(tree.tokens)
    lengths = torch.tensor([len(text) for text in texts])
    # The keys, those of the prefix counted, are a multiple of 16: see ALIGNMENT.
    longest = aligned(prefix + nodes + int(lengths.max())) - prefix - nodes
    tokens = torch.cat([tree.tokens.expand(len(texts), -1), _padded(texts, longest)], dim=1)
    order = torch.arange(longest)
    # (rows, nodes + longest): a node's position depends on the length of the text that it follows,
    # a text's never does.
    positions = prefix + torch.cat(
        [lengths[:, None] + tree.depths, order.expand(len(texts), -1)], dim=1
    )
    # Keys in the order of the mask's columns: the prefix's last tokens, nodes, text.
    near = masks.near(prefix)
    before = torch.arange(prefix - near, prefix)
    seen = torch.cat([before.expand(len(texts), -1), positions], dim=1)
    column = torch.arange(nodes + longest)
    # Nodes stand before the text, so one comparison finds all real places of a row.
    packing = Packing((column < nodes + lengths[:, None]).to(device))
    # Packed like the tokens themselves, columns tell which of the packed tokens are nodes.
    packed_columns = packing.pack(column.expand_as(tokens).to(device))[0]
    return PackedRows(
        tokens=packing.pack(tokens.to(device)),
        positions=packing.pack(positions.to(device)),
        masks=masks(positions, seen, _visible(tree, lengths, longest, near), device, before=near),
        packing=packing,
        nodes=(packed_columns < nodes).nonzero()[:, 0],
    )


def _padded(texts: Sequence[Sequence[int]], length: int) -> Tensor:
    # Any id would do for padding: `Packing` takes the real tokens alone to the model.
    table = torch.zeros((len(texts), length), dtype=torch.long)
    for row, text in enumerate(texts):
        table[row, : len(text)] = torch.tensor(text, dtype=torch.long)
    return table


def _visible(tree: QuestionTree, lengths: Tensor, longest: int, near: int) -> Tensor:
    """Return ``(rows, queries, near + queries)``: whether a query may see a key at any distance.

    ``near`` columns in front are the prefix's last tokens, which a sliding window can reach: it
    cuts them off by their distance, later. All other layers see the whole prefix from everywhere,
    so their masks have no column for it.
    """
    nodes = len(tree.tokens)
    columns = nodes + longest
    order = torch.arange(longest)
    # False until written: text to nodes is never written, so no question reaches a text's states.
    visible = torch.zeros((len(lengths), columns, near + columns), dtype=torch.bool)
    visible[:, :, :near] = True
    own = visible[:, :, near:]
    own[:, :nodes, :nodes] = tree.visible
    # Of real tokens only nodes can see padding, as it stands behind the text: here lengths count.
    own[:, :nodes, nodes:] = (order < lengths[:, None])[:, None, :]
    # Padding is a query here too. What it makes is thrown away by `Packing.collect`.
    own[:, nodes:, nodes:] = order[None, :] <= order[:, None]
    return visible
