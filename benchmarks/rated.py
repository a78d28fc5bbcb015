"""Texts that people rated, each scored once by a model: what the studies of calibration draw from.

Knows nothing about calibration.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pollice.data.dataset import Dataset
from pollice.methods.prompt import Prompt
from pollice.models.calibration import LabelScores
from pollice.models.causal.label_scorer import LabelScorer
from pollice.models.centring import REFERENCE_TEXTS
from pollice.models.drawn_rows import DrawnRows

POLES = ("negative", "positive")
_CHUNK = 128


@dataclass(frozen=True, kw_only=True)
class Rated:
    """What a model says of rated texts, and of the reference sentences, about the two poles."""

    name: str
    scores: LabelScores
    references: LabelScores
    ratings: NDArray[np.float64]
    """``(texts,)``, as the file has them."""


def read_rated(path: Path, checkpoint: str, pool: int, keep: Path | None = None) -> Rated:
    """Score ``pool`` rows of a Parquet file with the columns rating and text.

    Args:
        path: The file.
        checkpoint: The model.
        pool: So many rows are drawn.
        keep: A folder: scores that lie there are read, and others are written.
    """
    table = pq.read_table(path, columns=["rating", "text"])
    order = np.random.default_rng(0).permutation(table.num_rows)[:pool]
    ratings = table["rating"].to_numpy().astype(np.float64)[order]
    kept = keep and keep / f"{path.stem}-{checkpoint}-{len(order)}.npz"
    if kept and kept.is_file():
        with np.load(kept) as found:
            scores, references = (
                LabelScores(log_probabilities=found[f"{part}_odds"], hidden=found[f"{part}_hidden"])
                for part in ("texts", "references")
            )
    else:
        scorer = _scorer(checkpoint)
        texts = [table["text"][int(row)].as_py() for row in order]
        scores, references = _scored(scorer, texts), _scored(scorer, REFERENCE_TEXTS)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(
                kept,
                texts_odds=scores.log_probabilities,
                texts_hidden=scores.hidden,
                references_odds=references.log_probabilities,
                references_hidden=references.hidden,
            )
    return Rated(name=path.stem, scores=scores, references=references, ratings=ratings)


def _scorer(checkpoint: str) -> LabelScorer:
    nobody = Dataset(ids=(), texts=(), labels=(), label_names=POLES)
    rows = DrawnRows(shown=nobody, labelled=nobody, unlabelled=())
    return Prompt(checkpoint=checkpoint).build(POLES, rows)


def _scored(scorer: LabelScorer, texts: Sequence[str]) -> LabelScores:
    parts = [scorer.label_scores(texts[at : at + _CHUNK]) for at in range(0, len(texts), _CHUNK)]
    return LabelScores(
        log_probabilities=np.concatenate([part.log_probabilities for part in parts]),
        hidden=np.concatenate([part.hidden for part in parts]),
    )
