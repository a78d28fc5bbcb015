"""Steps of a scale without labels and with 20: on texts that people rated, from -4 to 4.

    python benchmarks/scales.py --data tweets.parquet --data films.parquet --keep scores

Every text is scored once; each draw takes its own calibrating, known and 400 judged rows. Files
are Parquet with the columns rating and text.
"""

import argparse
from pathlib import Path

import numpy as np
from rated import Rated, read_rated
from scipy.stats import spearmanr
from sklearn.metrics import f1_score

from pollice.data.scales import find_scale
from pollice.models.calibrating import calibrate
from pollice.models.calibration import LabelMeaning

SCALES = {
    ("negative", "neutral", "positive"): (-0.5, 0.5),
    ("very negative", "negative", "neutral", "positive", "very positive"): (-2.0, -0.5, 0.5, 2.0),
}
JUDGED, CALIBRATING = 400, 256


def main() -> None:
    """Score, calibrate by every draw, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--checkpoint", default="gemma-3-270m")
    parser.add_argument("--pool", type=int, default=1500, help="rows scored of each file")
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--keep", type=Path, help="a folder of scores, read or written")
    given = parser.parse_args()
    print("| data | labels | known | right | macro F1 | rank correlation | worst of draws |")
    print("|---|---|---|---|---|---|---|")
    for path in given.data:
        rated = read_rated(path, given.checkpoint, given.pool, given.keep)
        for names, cuts in SCALES.items():
            for known in (0, 20):
                found = [_judged(rated, names, cuts, known, draw) for draw in range(given.draws)]
                means, worst = np.mean(found, axis=0), np.min(found, axis=0)
                print(
                    f"| {path.stem} | {len(names)} | {known} | {means[0]:.3f} | {means[1]:.3f} "
                    f"| {means[2]:.3f} | {worst[0]:.3f} |",
                    flush=True,
                )


def _judged(
    rated: Rated, names: tuple[str, ...], cuts: tuple[float, ...], known: int, draw: int
) -> tuple[float, float, float]:
    """Return accuracy, macro F1, and the rank correlation of the expected step with the rating."""
    gold = np.digitize(rated.ratings, cuts)
    order = np.random.default_rng(draw).permutation(len(gold))
    judged, free = order[:JUDGED], order[JUDGED : JUDGED + CALIBRATING]
    labelled = order[JUDGED + CALIBRATING :][:known]
    calibration = calibrate(
        "auto",
        rated.scores.take(free),
        rated.scores.take(labelled),
        [names[step] for step in gold[labelled]],
        names,
        meaning=LabelMeaning(scale=find_scale(names)),
        references=rated.references,
    )
    table = calibration.probabilities(rated.scores.take(judged))[calibration.step]
    answers = table.argmax(axis=1)
    return (
        float(np.mean(answers == gold[judged])),
        float(f1_score(gold[judged], answers, average="macro")),
        float(spearmanr(table @ np.arange(len(names)), rated.ratings[judged])[0]),
    )


if __name__ == "__main__":
    main()
