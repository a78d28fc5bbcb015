"""What `pollice label --known` makes better or worse: at three balances, drawn in two ways.

    python benchmarks/known.py --data imdb.parquet --data tweets.parquet --keep scores

Every text is scored once. Each draw has its own texts with the stated share of positive ones. Rows
become known at random, or as `label` recommends: the rows that it names are checked, 20 a round
(all 16 in the first), and it is run again with them. The other rows are judged, before and after.
Files are Parquet with the columns rating and text: from -4 to 4, or from 1 to 10.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rated import POLES, Rated, read_rated

from pollice.data.scales import find_scale
from pollice.models.calibrating import calibrate
from pollice.models.calibration import Calibration, LabelMeaning
from pollice.predictions.table import Predictions
from pollice.runs.labelling import Labelled

Rows = NDArray[np.int64]

ROWS, CALIBRATING, A_ROUND = 600, 256, 20
_NEUTRAL = 0.5  # so far from the middle is a rating neither positive nor negative


def main() -> None:
    """Score, draw, calibrate, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--checkpoint", default="gemma-3-270m")
    parser.add_argument("--pool", type=int, default=1500, help="rows scored of each file")
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--known", type=int, action="append", default=[])
    parser.add_argument("--share", type=float, action="append", default=[])
    parser.add_argument("--keep", type=Path, help="a folder of scores, read or written")
    given = parser.parse_args()
    print("| data | positive | drawn | known | before | gain, points | worst draw | taken |")
    print("|---|---|---|---|---|---|---|---|")
    for path in given.data:
        rated = read_rated(path, given.checkpoint, given.pool, given.keep)
        for share in given.share or [0.5, 0.8, 0.95]:
            for way in ("random", "recommended"):
                for known in given.known or [16, 40, 100]:
                    found = [_gain(rated, share, way, known, draw) for draw in range(given.draws)]
                    before, gain, taken = np.array(found).T
                    print(
                        f"| {rated.name} | {share:.0%} | {way} | {known} | {before.mean():.3f} "
                        f"| {100 * gain.mean():+.2f} | {100 * gain.min():+.1f} "
                        f"| {taken.mean():.0%} |",
                        flush=True,
                    )


def _gain(rated: Rated, share: float, way: str, known: int, draw: int) -> tuple[float, float, bool]:
    """Return the accuracy of the other rows without labels, what labels add, and if a step."""
    gold, rows = _drawn(rated, share, draw)
    free = _calibrated(rated, gold, rows, rows[:0])
    if way == "random":
        chosen = np.random.default_rng(draw + 1000).permutation(len(rows))[:known]
    else:
        chosen = _recommended(rated, gold, rows, known)
    others = np.setdiff1d(np.arange(len(rows)), chosen)
    after = _calibrated(rated, gold, rows, rows[chosen])
    before, now = (
        float(np.mean(_table(rated, one, rows[others]).argmax(axis=1) == gold[rows[others]]))
        for one in (free, after)
    )
    return before, now - before, after.step != "batch"


def _drawn(rated: Rated, share: float, draw: int) -> tuple[Rows, Rows]:
    """Return the pole of every text, and rows with the share of positive ones, in random order."""
    middle = 5.5 if rated.ratings.min() >= 1 else 0.0
    gold = (rated.ratings > middle).astype(np.int64)
    clear = np.abs(rated.ratings - middle) >= _NEUTRAL
    generator = np.random.default_rng(draw)
    bad, good = (generator.permutation(np.flatnonzero(clear & (gold == pole))) for pole in (0, 1))
    size = int(min(ROWS, len(good) / share, len(bad) / (1 - share)))
    positive = round(size * share)
    return gold, generator.permutation(np.concatenate([good[:positive], bad[: size - positive]]))


def _recommended(rated: Rated, gold: Rows, rows: Rows, known: int) -> Rows:
    """Return the places of rows that `label` names, round by round."""
    chosen: list[int] = []
    while len(chosen) < known:
        calibration = _calibrated(rated, gold, rows, rows[chosen])
        count = len(rows)
        labelled = Labelled(
            predictions=Predictions(
                ids=tuple(map(str, range(count))),
                label_names=POLES,
                probabilities=_table(rated, calibration, rows),
                tokens=np.zeros(count, np.int64),
                truncated=None,
            ),
            texts=tuple(map(str, range(count))),  # empty ones are not to be checked
            facts={},
            by_hand={place: POLES[gold[rows[place]]] for place in chosen},
        )
        named = labelled.to_check
        wanted = min(A_ROUND, known - len(chosen))
        # Half of either reason, where fewer are checked than are named.
        for reason in ("random", "uncertain"):
            chosen += [place for place in named if named[place] == reason][: wanted // 2]
    return np.array(chosen, np.int64)


def _calibrated(rated: Rated, gold: Rows, rows: Rows, known: Rows) -> Calibration:
    return calibrate(
        "auto",
        rated.scores.take(rows[:CALIBRATING]),
        rated.scores.take(known),
        [POLES[pole] for pole in gold[known]],
        POLES,
        meaning=LabelMeaning(scale=find_scale(POLES)),
        references=rated.references,
    )


def _table(rated: Rated, calibration: Calibration, rows: Rows) -> NDArray[np.float64]:
    return calibration.probabilities(rated.scores.take(rows))[calibration.step]


if __name__ == "__main__":
    main()
