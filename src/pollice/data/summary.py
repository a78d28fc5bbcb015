"""What a data set holds, for a person: balance, lengths, duplicates, examples.

Knows nothing about splits.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pollice.data.dataset import Dataset
from pollice.data.duplicates import find_duplicates

_EXAMPLES = 3


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
    examples: Mapping[str, tuple[str, ...]]
    """The first three texts of each label."""


def summarize(dataset: Dataset) -> DatasetSummary:
    """Count the labels, words and duplicates of a data set of at least one row."""
    words = [len(text.split()) for text in dataset.texts]
    duplicates = find_duplicates(dataset.texts)
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
        examples=examples,
    )
