"""The method baseline against what it was before: TF-IDF of words and word pairs.

    python benchmarks/baseline.py rotten-tomatoes imdb.parquet --rows 300 --rows 2000

Both are fitted on the same rows and judged on the same others, and the paired test is the one of
every report. Several draws of the rows are counted together. Prints a Markdown table.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from pollice.data.dataset import Dataset
from pollice.data.reading import read_dataset
from pollice.data.splits import Split, SplitOptions, split
from pollice.judging.metrics import evaluate
from pollice.judging.paired import Discordance, decide, pair_of
from pollice.judging.results import Pair
from pollice.methods.baseline import BagOfWords, Baseline
from pollice.models.linear_head import fit_head
from pollice.models.tfidf_model import TfidfModel
from pollice.predictions.predict import predict
from pollice.predictions.table import Predictions

STRENGTHS = (1.0, 4.0, 16.0, 64.0)
WORDS = r"(?u)\w+(?:'\w+)?|[!?]"
HEADINGS = (
    "data",
    "training rows",
    "labels",
    "test rows",
    "before",
    "now",
    "points [95 %]",
    "p",
    "log loss",
    "ECE",
    "seconds",
)


def main() -> None:
    """Fit both on every file, and print a line for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+", help="files or names of labelled texts")
    parser.add_argument("--rows", type=int, action="append", default=[], help="default: all")
    parser.add_argument("--validation-rows", type=int, help="default: a third of the rows")
    parser.add_argument("--test-rows", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1, help="draws of the rows")
    given = parser.parse_args()
    print(f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}", sep="\n")
    for source in given.data:
        dataset = read_dataset(source)
        for rows in given.rows or [None]:
            print(
                f"| {' | '.join([Path(source).stem, *_study(dataset, rows, given)])} |", flush=True
            )


def _study(dataset: Dataset, rows: int | None, given: argparse.Namespace) -> list[str]:
    tables: dict[str, list[Predictions]] = {"before": [], "now": []}
    seconds = {"before": 0.0, "now": 0.0}
    for seed in range(given.seeds):
        parts = split(dataset, _options(rows, given, seed))
        for name, fit in (("before", fit_before), ("now", fit_now)):
            began = time.perf_counter()
            predictor = fit(parts)
            seconds[name] += time.perf_counter() - began
            test = parts.test
            tables[name].append(predict(predictor, test.texts, ids=test.ids, gold=test.labels))
    pair = _paired(tables["now"], tables["before"])
    before, now = (_means(tables[name]) for name in ("before", "now"))
    low, high = (100 * limit for limit in pair.interval)
    return [
        f"{len(parts.train):,}",
        str(len(dataset.label_names)),
        f"{given.seeds} x {len(parts.test):,}",
        f"{before['accuracy']:.3f}",
        f"{now['accuracy']:.3f}",
        f"{100 * pair.difference:+.1f} [{low:+.1f}, {high:+.1f}]",
        f"{pair.p_value:.2g}",
        f"{before['log_loss']:.3f} -> {now['log_loss']:.3f}",
        f"{before['ece']:.3f} -> {now['ece']:.3f}",
        " -> ".join(f"{seconds[name] / given.seeds:.1f}" for name in ("before", "now")),
    ]


def _options(rows: int | None, given: argparse.Namespace, seed: int) -> SplitOptions:
    if rows is None:
        return SplitOptions(seed=seed)
    validation = given.validation_rows or rows // 3
    return SplitOptions(
        train_rows=rows, validation_rows=validation, test_rows=given.test_rows, seed=seed
    )


def fit_before(parts: Split) -> BagOfWords:
    """Fit TF-IDF of words and pairs, as the method did before."""
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, strip_accents="unicode", token_pattern=WORDS
    )
    train, validation = parts.train, parts.validation
    features = vectorizer.fit_transform(train.texts)
    held_out = (vectorizer.transform(validation.texts), validation.labels)
    head = fit_head(
        features, train.labels, train.label_names, validation=held_out, strengths=STRENGTHS
    )
    model = TfidfModel(
        terms=tuple(map(str, vectorizer.get_feature_names_out())),
        ngrams=2,
        idf=vectorizer.idf_,
        head=head,
    )
    return BagOfWords(model, train.label_names)


def fit_now(parts: Split) -> BagOfWords:
    """Fit the method as it is, with its defaults."""
    return Baseline().fit(parts.train, parts.validation, workdir=Path())


def _paired(now: Sequence[Predictions], before: Sequence[Predictions]) -> Pair:
    wins = losses = rows = 0
    for new, old in zip(now, before, strict=True):
        right, was_right = (
            np.array(table.predicted) == np.array(table.gold) for table in (new, old)
        )
        wins += int(np.sum(right & ~was_right))
        losses += int(np.sum(was_right & ~right))
        rows += len(right)
    counts = Discordance(wins, losses, rows)
    return pair_of("now", "before", counts, decide([counts.p_value])[0])


def _means(tables: Sequence[Predictions]) -> dict[str, float]:
    judged = [evaluate(table) for table in tables]
    return {
        "accuracy": fmean(each.accuracy for each in judged),
        "log_loss": fmean(each.log_loss for each in judged),
        "ece": fmean(each.expected_calibration_error for each in judged),
    }


if __name__ == "__main__":
    main()
