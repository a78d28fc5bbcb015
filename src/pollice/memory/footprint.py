"""What a plan of memory is made of: the texts' lengths, and a method's bytes by part.

Knows nothing about any one method, about models or about budgets, and imports no torch.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pollice.method import Method

MIB = 2**20

CPU_LIBRARIES = 510 * MIB
"""Python, torch, transformers and scikit-learn, imported: torch 2.13 for CPU, transformers 5.23."""
CORE_LIBRARIES = 250 * MIB
"""Python, NumPy, pyarrow and scikit-learn alone."""
CUDA_CONTEXT = 480 * MIB
"""What CUDA and its libraries take on a GPU before the first tensor."""

CHARACTERS_PER_TOKEN = 4.0  # English, in WordPiece and in byte-pair vocabularies alike
_MARKS = 2  # the tokens that a tokenizer puts before and after a text

Parts = dict[str, int]
"""Bytes by the part's name, one of `PARTS`."""

PARTS = (
    "libraries",
    "data",
    "tokenizer",
    "weights",
    "gradients",
    "optimizer",
    "activations",
    "label logits",
    "prefix",
    "loading",
)


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """The texts that are learned from, as far as memory is concerned."""

    rows: int
    characters: int
    """Of all texts."""
    longest: int
    """The tokens of the longest text, estimated from its characters."""
    labels: int = 2

    @classmethod
    def of(cls, texts: Sequence[str], labels: int) -> "Lengths":
        """Return the lengths of texts; no tokenizer is loaded."""
        longest = max((len(text) for text in texts), default=0)
        return cls(
            rows=len(texts),
            characters=sum(map(len, texts)),
            longest=max(1, round(longest / CHARACTERS_PER_TOKEN)),
            labels=labels,
        )

    def cut(self, max_tokens: int) -> int:
        """Return the tokens of the longest text when no more than ``max_tokens`` are read."""
        return min(self.longest + _MARKS, max_tokens)


ANY_TEXTS = Lengths(rows=10_000, characters=10_000_000, longest=1_000_000)
"""Where no texts are named: many, and all longer than anything reads."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """The bytes that work takes at its peak: of the GPU, or on a CPU of the whole process."""

    parts: Parts
    cuda: bool

    @classmethod
    def of_process(cls, parts: Parts, lengths: Lengths, libraries: int) -> "Footprint":
        """Return the footprint of work on a CPU: with its libraries and its texts."""
        texts = 2 * lengths.characters
        return cls(parts={**parts, "libraries": libraries, "data": texts}, cuda=False)

    @classmethod
    def of_gpu(cls, parts: Parts) -> "Footprint":
        """Return the footprint of work on a GPU, which holds neither libraries nor texts."""
        return cls(parts={**parts, "libraries": CUDA_CONTEXT}, cuda=True)

    def beside(self, held: int) -> Parts:
        """Return the parts, in the order of `PARTS`, in a process that holds so much already.

        On a CPU that is counted as libraries. Parts that take nothing are left out.
        """
        # A GPU plan has no host memory in it, so what the process holds does not matter there.
        libraries = self.parts["libraries"] if self.cuda else max(held, self.parts["libraries"])
        parts = {**self.parts, "libraries": libraries}
        return {name: parts[name] for name in sorted(parts, key=PARTS.index) if parts[name]}


def total(parts: Parts) -> int:
    """Return the bytes of all parts together."""
    return sum(parts.values())


class PlannedMethod(Method):
    """A method that says what it takes in memory, so that it can be made to fit before it runs."""

    @abstractmethod
    def estimate_memory(self, lengths: Lengths) -> Footprint:
        """Return what fitting on such texts takes with these options; nothing is loaded."""

    def halve_batch(self, lengths: Lengths) -> Mapping[str, Any]:
        """Return the changed options that let half as much through the model at once, or none.

        Only options marked with `pollice.method.NO_EFFECT`: the results must stay the same.
        """
        return {}


def halved(option: str, tokens: int, least: int) -> Mapping[str, int]:
    """Return an option with half its tokens, ``least`` at least; nothing where it has so few."""
    return {option: max(least, tokens // 2)} if tokens > least else {}


def larger(one: Footprint, other: Footprint) -> Footprint:
    """Return the footprint of work that is done one after the other; a GPU's decides."""
    if one.cuda != other.cuda:
        return one if one.cuda else other
    return max(one, other, key=lambda each: total(each.parts))


def together(one: Footprint, other: Footprint) -> Footprint:
    """Return the footprint of work that is held at once; a GPU's decides."""
    if one.cuda != other.cuda:
        return one if one.cuda else other
    parts = {}
    for name in {*one.parts, *other.parts}:
        both = one.parts.get(name, 0), other.parts.get(name, 0)
        # A process has its libraries and its texts once.
        parts[name] = max(both) if name in ("libraries", "data") else sum(both)
    return Footprint(parts=parts, cuda=one.cuda)
