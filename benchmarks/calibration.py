"""What each step of the calibration ladder is worth: checkpoints, data sets, seeds, shots.

    python benchmarks/calibration.py --data rotten-tomatoes --data FILE

Every text is scored once; each seed draws its own calibrating and test rows from the scored ones.
Prints a Markdown table of test accuracy, and of what batch calibration won or lost.
"""

import argparse
from pathlib import Path
from statistics import mean

import numpy as np

from pollice.data.dataset import Dataset
from pollice.data.reading import read_dataset
from pollice.data.splits import SplitOptions, split
from pollice.judging.metrics import evaluate
from pollice.methods.prompt import Prompt
from pollice.models.calibrating import calibrate
from pollice.models.calibration import LabelScores
from pollice.models.causal.label_scorer import LabelScorer
from pollice.predictions.table import Predictions

CALIBRATING = 256
LABELLED = 300


def main() -> None:
    """Score, calibrate by every seed, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--checkpoint", action="append", default=[])
    parser.add_argument("--shots", type=int, action="append", default=[])
    parser.add_argument("--rows", type=int, default=500, help="test rows of each seed")
    parser.add_argument("--pool", type=int, default=1300, help="rows scored of each data set")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--share", type=float, action="append", default=[], help="of the last label; default: 0.5"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        help="a folder of label scores: what is there is read, what is not is written",
    )
    given = parser.parse_args()
    print(
        "| checkpoint | data | share | shots | seed | raw | batch | platt | probe | batch - raw "
        "| ECE platt |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for checkpoint in given.checkpoint or ["gemma-3-270m", "smollm2-135m-instruct"]:
        for source in given.data:
            for shots in given.shots or [0]:
                _study(checkpoint, source, shots, given)


def _study(checkpoint: str, source: str, shots: int, given: argparse.Namespace) -> None:
    dataset = read_dataset(source)
    rest = max(2 * len(dataset.label_names), shots)
    parts = split(
        dataset,
        SplitOptions(
            train_rows=rest, validation_rows=2, test_rows=given.pool, balanced=True, seed=100
        ),
    )
    method = Prompt(checkpoint=checkpoint, shots=shots, calibration_texts=0)
    pool = parts.test
    kept = given.keep and given.keep / f"{checkpoint}-{Path(source).stem}-{shots}-{len(pool)}.npz"
    if kept and kept.is_file():
        with np.load(kept) as arrays:
            scores = LabelScores(**arrays)
    else:
        scorer = method.fit(parts.train, parts.validation, workdir=Path())
        scores = _scored(scorer, pool)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez(kept, **vars(scores))
    for share in given.share or [None]:
        gains = []
        for seed in range(given.seeds):
            order = _drawn(pool, seed, share)
            accuracies, error = _ladder(scores, pool, order, given.rows)
            gains.append(accuracies["batch"] - accuracies["raw"])
            steps = " | ".join(
                f"{accuracies[step]:.3f}" for step in ("raw", "batch", "platt", "probe")
            )
            place = f"| {checkpoint} | {Path(source).stem} | {share or ''} | {shots}"
            print(
                f"{place} | {seed} | {steps} | {100 * gains[-1]:+.1f} | {error:.3f} |", flush=True
            )
        print(f"{place} | mean | | | | | {100 * mean(gains):+.1f} | |", flush=True)


def _scored(scorer: LabelScorer, pool: Dataset) -> LabelScores:
    parts = [scorer.label_scores(pool.texts[at : at + 64]) for at in range(0, len(pool), 64)]
    return LabelScores(
        log_probabilities=np.concatenate([part.log_probabilities for part in parts]),
        hidden=np.concatenate([part.hidden for part in parts]),
    )


def _drawn(pool: Dataset, seed: int, share: float | None) -> np.ndarray:
    """Return rows in random order; with a share of the last label, so many of it in every part."""
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(pool))
    if share is None:
        return order
    last = np.array(pool.labels)[order] == pool.label_names[-1]
    rows = int(min(last.sum() / share, (~last).sum() / (1 - share)))
    many = round(rows * share)
    places = np.concatenate([np.arange(many) / many, np.arange(rows - many) / (rows - many)])
    chosen = np.concatenate([order[last][:many], order[~last][: rows - many]])
    return chosen[np.argsort(places, kind="stable")]


def _ladder(
    scores: LabelScores, pool: Dataset, order: np.ndarray, rows: int
) -> tuple[dict[str, float], float]:
    """Return each step's accuracy on the test rows of an order, and the ECE of platt."""
    unlabelled, labelled = order[:CALIBRATING], order[CALIBRATING : CALIBRATING + LABELLED]
    test = order[CALIBRATING + LABELLED :][:rows]
    calibration = calibrate(
        "auto",
        _taken(scores, unlabelled),
        _taken(scores, labelled),
        pool.take(list(labelled)).labels,
        pool.label_names,
    )
    chosen = pool.take(list(test))
    judged = {
        step: evaluate(
            Predictions(
                ids=chosen.ids,
                label_names=pool.label_names,
                probabilities=probabilities,
                gold=chosen.labels,
                tokens=np.zeros(len(test), np.int64),
                truncated=np.zeros(len(test), np.bool_),
            )
        )
        for step, probabilities in calibration.probabilities(_taken(scores, test)).items()
    }
    accuracies = {step: evaluation.accuracy for step, evaluation in judged.items()}
    return accuracies, judged["platt"].expected_calibration_error


def _taken(scores: LabelScores, rows: np.ndarray) -> LabelScores:
    return LabelScores(log_probabilities=scores.log_probabilities[rows], hidden=scores.hidden[rows])


if __name__ == "__main__":
    main()
