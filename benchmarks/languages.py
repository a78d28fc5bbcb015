"""`features` against `baseline` on honest sentences in German, Chinese and Arabic.

    python benchmarks/languages.py [--checkpoint NAME ...]

Each set is judged in folds: a method learns from four fifths of the sentences and judges the
rest, so that every sentence is judged once by a predictor that has not seen it.
"""

import argparse
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pollice.data.dataset import Dataset
from pollice.judging.paired import Discordance
from pollice.method import Method
from pollice.methods.baseline import Baseline
from pollice.methods.features import Features

_FILE = Path(__file__).with_name("languages.toml")
_FOLDS = 5


def main() -> None:
    """Print one row of a table for each set and method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", action="append", default=[])
    given = parser.parse_args()
    checkpoints = given.checkpoint or ["multilingual-e5-small", "minilm"]
    methods: dict[str, Method] = {"baseline": Baseline()}
    methods |= {f"features, {name}": Features(checkpoint=name) for name in checkpoints}
    print("| set | method | right | against baseline |\n|---|---|---|---|")
    for name, texts in tomllib.loads(_FILE.read_text(encoding="utf-8")).items():
        rows = _rows(texts)
        right = {method: _right(rows, way) for method, way in methods.items()}
        for method, found in right.items():
            print(f"| {name} | {method} | {sum(found) / len(found):.3f} | ", end="")
            print(f"{_compared(found, right['baseline'])} |", flush=True)


def _rows(texts: dict[str, Sequence[str]]) -> Dataset:
    # In turn, so that each fold holds as many of every label.
    turns = zip(*([(text, label) for text in texts[label]] for label in texts), strict=True)
    pairs = [pair for turn in turns for pair in turn]
    return Dataset(
        ids=tuple(str(row) for row in range(len(pairs))),
        texts=tuple(text for text, _ in pairs),
        labels=tuple(label for _, label in pairs),
        label_names=tuple(sorted(texts)),
    )


def _right(rows: Dataset, method: Method) -> list[bool]:
    right = [False] * len(rows)
    for fold in range(_FOLDS):
        judged = [row for row in range(len(rows)) if row // 2 % _FOLDS == fold]
        learned = [row for row in range(len(rows)) if row // 2 % _FOLDS != fold]
        with tempfile.TemporaryDirectory() as workdir:
            predictor = method.fit(rows.take(learned), rows.take([]), workdir=Path(workdir))
        scores = predictor.score([rows.texts[row] for row in judged]).probabilities
        for row, best in zip(judged, scores.argmax(axis=1), strict=True):
            right[row] = rows.label_names[best] == rows.labels[row]
    return right


def _compared(found: list[bool], baseline: list[bool]) -> str:
    pairs = list(zip(found, baseline, strict=True))
    wins, losses = pairs.count((True, False)), pairs.count((False, True))
    return f"{wins} : {losses}, p {Discordance(wins, losses, len(pairs)).p_value:.3f}"


if __name__ == "__main__":
    main()
