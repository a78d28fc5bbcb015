"""What a data set holds, for a person: balance, lengths, duplicates, examples.

Knows nothing about splits.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pollice.data.dataset import Dataset
from pollice.data.duplicates import find_duplicates

_EXAMPLES = 3
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


def summarize(dataset: Dataset, *, near_duplicates: bool = True) -> DatasetSummary:
    """Count the labels, words and duplicates of a data set of at least one row."""
    words = [len(text.split()) for text in dataset.texts]
    duplicates = find_duplicates(dataset.texts, near=near_duplicates)
    counts = Counter(dataset.labels)
    examples: dict[str, tuple[str, ...]] = dict.fromkeys(dataset.label_names, ())
    for text, label in zip(dataset.texts, dataset.labels, strict=True):
        if len(examples[label]) < _EXAMPLES:
            examples[label] += (text,)
    return DatasetSummary(
        rows=len(dataset),
        labels={label: counts[label] for label in dataset.label_names},
        words={f"p{share}": round(float(np.percentile(words, share))) for share in (5, 50, 95)}
        | {"max": max(words)},
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
