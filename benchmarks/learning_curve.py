"""From how many labels on each method pays: accuracy on the same test rows, over labels.

    python benchmarks/learning_curve.py --data FILE --json curve.json --plot curve.svg

What is compared and how is in README.md.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rounds import (
    Json,
    add_usual,
    answer_child,
    balanced_rows,
    machine,
    markdown,
    peak_mib,
    run_child,
    write_json,
)

from pollice.data.dataset import Dataset
from pollice.data.reading import read_dataset
from pollice.judging.metrics import wilson_interval

UNLABELLED = 256
"""Rows whose labels nobody reads, for the prompt's batch calibration."""

METHODS: dict[str, Json] = {
    "prompt": {},
    "baseline": {},
    "features": {"max_tokens": 256},
    "finetune": {"max_tokens": 256},
    "lora": {"judge_before": False, "calibration_texts": 0},
}
WITHOUT_LABELS = ("prompt",)


def sides(data: Dataset, test_rows: int, labels: int, seed: int) -> dict[str, Dataset]:
    """Return the rows: the same test rows for all; fewer labels are the first of more.

    A quarter of the labelled rows is for validation. The prompt draws its labelled rows from the
    training rows, and learns no more from the others than what texts there are.
    """
    test = balanced_rows(data, test_rows, seed=0)
    asked = set(test.ids)
    rest = data.take([row for row, name in enumerate(data.ids) if name not in asked])
    held = labels // 8 * 2
    return {
        "train": balanced_rows(rest, labels - held, seed=seed, skip=held),
        "validation": balanced_rows(rest, held, seed=seed),
        "pool": balanced_rows(rest, labels + UNLABELLED, seed=seed),
        "test": test,
    }


def work(job: Json) -> Json:
    """Fit one method on so many labels, and judge the test rows."""
    from pollice.methods import create_method
    from pollice.predictions.predict import predict

    rows = {name: Dataset(**job[name]) for name in ("train", "validation", "pool", "test")}
    options: dict[str, Any] = {**METHODS[job["method"]], "seed": job["seed"]}
    train, validation = rows["train"], rows["validation"]
    if job["method"] == "prompt":
        options["labels"] = job["labels"]
        train, validation = rows["pool"], rows["pool"].take([])
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as workdir:
        predictor = create_method(job["method"], options).fit(
            train, validation, workdir=Path(workdir)
        )
        seconds = time.perf_counter() - start
        judged = predict(predictor, rows["test"].texts, gold=rows["test"].labels)
    pairs = zip(judged.predicted, rows["test"].labels, strict=True)
    right = sum(answer == label for answer, label in pairs)
    return {
        "right": right,
        "rows": len(rows["test"]),
        "fit_seconds": seconds,
        "peak_mib": peak_mib(),
        "step": predictor.facts.get("calibration", ""),
        "summary": f"{right / len(rows['test']):.3f}, fitted in {seconds:.0f} s",
    }


def measure(given: argparse.Namespace) -> Iterator[Json]:
    """Yield what every method made of every number of labels."""
    data = read_dataset(given.data)
    for seed in given.seeds:
        for labels in given.labels:
            rows = sides(data, given.test_rows, labels, seed)
            asked = {name: vars(part) for name, part in rows.items()}
            for method in given.methods:
                if not labels and method not in WITHOUT_LABELS:
                    continue
                facts = {"method": method, "labels": labels, "seed": seed}
                name = f"{method}, {labels} labels, seed {seed}"
                result = run_child(__file__, {**facts, **asked, "name": name})
                print(f"{name}: {result['summary']}", file=sys.stderr, flush=True)
                yield {**facts, **result}


def cells(results: list[Json], labels: list[int]) -> Iterator[dict[str, str]]:
    """Yield a table row for each method: accuracy at every number of labels."""
    for method in METHODS:
        if not any(one["method"] == method for one in results):
            continue
        row = {"method": method}
        for count in labels:
            found = [r for r in results if (r["method"], r["labels"]) == (method, count)]
            row[f"{count} labels"] = _accuracy(found) if found else "-"
        yield row


def _accuracy(found: list[Json]) -> str:
    rates = [one["right"] / one["rows"] for one in found]
    if len(found) > 1:
        return f"{statistics.mean(rates):.3f} [{min(rates):.3f}, {max(rates):.3f}]"
    low, high = wilson_interval(found[0]["right"], found[0]["rows"])
    return f"{rates[0]:.3f} [{low:.3f}, {high:.3f}]"


def draw(results: list[Json], labels: list[int], path: str) -> None:
    """Draw a line for each method, with the Wilson interval of each point, all seeds together."""
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "pollice"
    figure, axes = pyplot.subplots(figsize=(7, 4.2))
    places = {count: place for place, count in enumerate(labels)}
    for number, method in enumerate(METHODS):
        points = []
        for count in labels:
            found = [r for r in results if (r["method"], r["labels"]) == (method, count)]
            right, rows = sum(r["right"] for r in found), sum(r["rows"] for r in found)
            if rows:
                points.append((places[count], right / rows, *wilson_interval(right, rows)))
        at = [place + 0.04 * (number - 2) for place, *_ in points]
        rates = [rate for _, rate, *_ in points]
        below = [rate - low for _, rate, low, _ in points]
        above = [high - rate for _, rate, _, high in points]
        axes.errorbar(at, rates, yerr=[below, above], marker="o", capsize=2, label=method)
    axes.set_xticks(range(len(labels)), [f"{count:,}" for count in labels])
    axes.set_xlabel("labels")
    axes.set_ylabel("accuracy on the same test rows")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")


def main() -> None:
    """Measure, print the table, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="rotten-tomatoes", help="a file, a folder or a name")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--labels", type=int, nargs="+", default=[0, 32, 100, 300])
    parser.add_argument("--test-rows", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--plot", help="a file for the curves: .svg or .png; needs matplotlib")
    add_usual(parser)
    given = parser.parse_args()
    if given.child:
        answer_child(given.child, work)
        return
    results = list(measure(given))
    print(f"{machine(('torch', 'transformers', 'peft', 'trl'))}\n")
    print(markdown(list(cells(results, given.labels))))
    write_json(given.json, {"arguments": vars(given), "results": results})
    if given.plot:
        draw(results, given.labels, given.plot)


if __name__ == "__main__":
    main()
