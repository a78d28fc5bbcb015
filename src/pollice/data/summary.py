"""What a data set holds, for a person: balance, lengths, duplicates, examples.

Knows nothing about splits.
"""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pollice.data.dataset import Dataset, TextTable
from pollice.data.duplicates import find_duplicates

_EXAMPLES = 3
_LOOKED_AT = 200  # so many characters of a text tell its script
_REPEATED_SHARE = 0.02


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """What to know of a data set before learning from it."""

    rows: int
    labels: Mapping[str, int]
    words: Mapping[str, int]
    """How many words a text has: the percentiles ``p5``, ``p50`` and ``p95``, and ``max``."""
    dropped: Mapping[str, int]
    exact_duplicates: int
    near_duplicates: int
    contradictory_texts: int
    """Texts whose copies have different labels."""
    repeated_texts: Mapping[str, Mapping[str, int]]
    """The texts that more than 2 % of the rows have, and their rows by label."""
    examples: Mapping[str, tuple[str, ...]]
    """The first three texts of each label."""


@dataclass(frozen=True, kw_only=True)
class TextsSummary:
    """What to know of texts that have no labels."""

    rows: int
    empty: int
    """Rows without a text."""
    words: Mapping[str, int]
    """How many words a text has: the percentiles ``p5``, ``p50`` and ``p95``, and ``max``."""
    exact_duplicates: int
    near_duplicates: int
    scripts: Mapping[str, int]
    """How many texts are mostly in a script, such as ``latin`` or ``cjk``; the commonest first."""
    examples: tuple[str, ...]
    """The first three texts."""


def summarize_texts(table: TextTable, *, near_duplicates: bool = True) -> TextsSummary:
    """Count the words, duplicates and scripts of texts without labels."""
    texts = [text for text in table.texts if text]
    duplicates = find_duplicates(texts, near=near_duplicates)
    scripts = Counter(_script(text) for text in texts)
    return TextsSummary(
        rows=len(table.texts),
        empty=len(table.texts) - len(texts),
        words=_words(texts),
        exact_duplicates=duplicates.exact,
        near_duplicates=duplicates.near,
        scripts=dict(scripts.most_common()),
        examples=tuple(texts[:_EXAMPLES]),
    )


def _script(text: str) -> str:
    """Return the script of most of a text's letters, by the first word of their Unicode names."""
    names = (unicodedata.name(letter, "") for letter in text[:_LOOKED_AT] if letter.isalpha())
    found = Counter(name.partition(" ")[0].lower() for name in names)
    return found.most_common(1)[0][0] if found else "no letters"


def _words(texts: Sequence[str]) -> dict[str, int]:
    words = [len(text.split()) for text in texts] or [0]
    return {f"p{share}": round(float(np.percentile(words, share))) for share in (5, 50, 95)} | {
        "max": max(words)
    }


def summarize(dataset: Dataset, *, near_duplicates: bool = True) -> DatasetSummary:
    """Count the labels, words and duplicates of a data set of at least one row."""
    duplicates = find_duplicates(dataset.texts, near=near_duplicates)
    counts = Counter(dataset.labels)
    examples: dict[str, tuple[str, ...]] = dict.fromkeys(dataset.label_names, ())
    for text, label in zip(dataset.texts, dataset.labels, strict=True):
        if len(examples[label]) < _EXAMPLES:
            examples[label] += (text,)
    return DatasetSummary(
        rows=len(dataset),
        labels={label: counts[label] for label in dataset.label_names},
        words=_words(dataset.texts),
        dropped=dataset.dropped,
        exact_duplicates=duplicates.exact,
        near_duplicates=duplicates.near,
        contradictory_texts=count_contradictory(dataset.labels, duplicates.groups),
        repeated_texts=find_repeated(dataset.texts, dataset.labels, duplicates.groups),
        examples=examples,
    )


def count_contradictory(labels: Sequence[str], groups: Sequence[int]) -> int:
    """Return how many groups of copies have more than one label."""
    found = Counter(group for group, _ in set(zip(groups, labels, strict=True)))
    return sum(several > 1 for several in found.values())


def find_repeated(
    texts: Sequence[str], labels: Sequence[str], groups: Sequence[int]
) -> dict[str, dict[str, int]]:
    """Return the texts that more than 2 % of the rows have, and two rows or more.

    Each as it is commonly written, with its rows by label; the commonest text and label first.
    """
    sizes = Counter(groups)
    often = {group for group, rows in sizes.items() if rows > max(1, _REPEATED_SHARE * len(texts))}
    forms: dict[int, Counter[str]] = defaultdict(Counter)
    rows_of: dict[int, Counter[str]] = defaultdict(Counter)
    for text, label, group in zip(texts, labels, groups, strict=True):
        if group in often:
            forms[group][text] += 1
            rows_of[group][label] += 1
    named = {
        group: min(forms[group], key=lambda text: (-forms[group][text], text)) for group in often
    }
    return {
        named[group]: dict(sorted(rows_of[group].items(), key=lambda item: (-item[1], item[0])))
        for group in sorted(often, key=lambda group: (-sizes[group], named[group]))
    }
