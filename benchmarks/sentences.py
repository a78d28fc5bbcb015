"""Sets of 30 sentences by labels of many kinds: what is asked, and how much is right.

    python benchmarks/sentences.py [--file sentences_later.toml] [--set spam] [--shots 6]

The questions were chosen on the sets of sentences.toml, and on no other. The sentences are
calibrated on themselves, without labels, as `pollice label` does. With --shots, so many of each set
are shown as examples, one label in turn, and the others are judged.
"""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pollice.data.dataset import Dataset
from pollice.methods.prompt import Prompt
from pollice.models.drawn_rows import DrawnRows, draw_rows

_FOLDER = Path(__file__).parent


def main() -> None:
    """Judge every set, and print a row of a table for each, then what was asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="gemma-3-270m")
    parser.add_argument("--file", default="sentences.toml", help="in the folder of this script")
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0, help="draws the shown sentences")
    parser.add_argument("--set", dest="sets", action="append", default=[])
    given = parser.parse_args()
    method = Prompt(checkpoint=given.checkpoint)
    asked = []
    print("| set | labels | sentences | right, calibrated | raw |\n|---|---|---|---|---|")
    for name, content in _sets(given.file).items():
        if given.sets and name not in given.sets:
            continue
        rows = _rows({label: part["texts"] for label, part in content.items()})
        drawn = draw_rows(
            rows, shown=given.shots, labelled=0, unlabelled=len(rows), seed=given.seed
        )
        judged = rows.take(
            [row for row in range(len(rows)) if rows.ids[row] not in drawn.shown.ids]
        )
        nobody = rows.take([])
        scorer = method.build(
            rows.label_names,
            DrawnRows(shown=drawn.shown, labelled=nobody, unlabelled=judged.texts),
        )
        variants = scorer.score(judged.texts).variants
        right = [_right(variants[step], judged) for step in ("batch", "raw")]
        print(
            f"| {name} | {', '.join(rows.label_names)} | {len(judged)} | {right[0]:.3f} "
            f"| {right[1]:.3f} |",
            flush=True,
        )
        asked += [f"{name}:", *map(repr, scorer.facts["asked"]), *scorer.facts.get("warnings", [])]
    print("\n".join(["", *asked]))


def _sets(name: str) -> dict[str, dict[str, dict[str, list[str]]]]:
    return tomllib.loads((_FOLDER / name).read_text(encoding="utf-8"))


def _rows(texts_of: dict[str, Sequence[str]]) -> Dataset:
    pairs = [(text, label) for label, texts in texts_of.items() for text in texts]
    return Dataset(
        ids=tuple(str(row) for row in range(len(pairs))),
        texts=tuple(text for text, _ in pairs),
        labels=tuple(label for _, label in pairs),
        label_names=tuple(texts_of),
    )


def _right(probabilities: object, rows: Dataset) -> float:
    answers = [rows.label_names[int(row.argmax())] for row in probabilities]  # type: ignore[attr-defined]  # an array
    return sum(a == b for a, b in zip(answers, rows.labels, strict=True)) / len(rows)


if __name__ == "__main__":
    main()
