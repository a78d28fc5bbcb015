"""Judging texts: a fine-tuned encoder as pollice saves and exports it, against the pipeline.

The same weights, texts and cut for everybody, in one process, in turn; the first round warms up
and is not counted. What is compared and how is in README.md.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import pollice.models  # noqa: F401  # before torch: it sets what torch keeps
from pollice.data.reading import read_texts
from pollice.runs.predictors import load_predictor
from pollice.system.folders import MEGABYTE, read_manifest

PIPELINE_BATCH = 16

Judge = Callable[[Sequence[str]], object]


def pipeline_of(checkpoint: Path, max_tokens: int) -> Judge:
    """Return transformers' pipeline of a checkpoint, as it comes, cut at the same length."""
    from transformers import pipeline

    loaded = pipeline("text-classification", model=str(checkpoint), device="cpu")

    def judge(texts: Sequence[str]) -> object:
        return loaded(
            list(texts), batch_size=PIPELINE_BATCH, truncation=True, max_length=max_tokens
        )

    return judge


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictor", type=Path, help="a predictor of finetune or trainer")
    parser.add_argument("exports", type=Path, nargs="*", help="folders of its exports")
    parser.add_argument("--data", default="rotten-tomatoes")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=512)
    given = parser.parse_args()
    texts = read_texts(given.data).texts[: given.rows]
    contenders: dict[str, Judge] = {
        "pipeline": pipeline_of(given.predictor / "checkpoint", given.max_tokens)
    }
    sizes = {"pipeline": _megabytes(given.predictor / "checkpoint")}
    for folder in (given.predictor, *given.exports):
        name = read_manifest(folder).get("form") or "predictor as it is"
        contenders[name] = load_predictor(folder).score
        sizes[name] = _megabytes(folder)
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(given.rounds + 1):
        for name, judge in contenders.items():
            begun = perf_counter()
            judge(texts)
            if turn:
                rates[name].append(len(texts) / (perf_counter() - begun))
    print("| form | texts a second, median | smallest, largest | to the pipeline | MB |")
    print("|---|---|---|---|---|")
    for name, found in rates.items():
        share = median(a / b for a, b in zip(found, rates["pipeline"], strict=True))
        print(
            f"| {name} | {median(found):,.0f} | {min(found):,.0f}, {max(found):,.0f} | "
            f"{share:.2f} | {sizes[name]:,.1f} |"
        )


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MEGABYTE


if __name__ == "__main__":
    main()
