"""Memory: what `pollice compare` plans for a method, against the most that its process holds.

Every case is a comparison of one method in a process of its own, from reading the data to the
report. What is compared and how is in README.md.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rounds import Json, add_usual, answer_child, machine, markdown, run_child, write_json

from pollice.data.splits import SplitOptions
from pollice.errors import MemoryPlanError
from pollice.memory.planner import read_size
from pollice.runs.experiment import DataSource, Experiment
from pollice.runs.run import run_experiment

MINILM, GEMMA, SMOLLM = "minilm", "gemma-3-270m", "smollm2-135m-instruct"
BRIEF = {"epochs": 1}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One method with its options, on so many training and test rows."""

    method: str
    rows: int
    checkpoint: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    memory: str | None = None

    @property
    def name(self) -> str:
        """What the table shows."""
        options = [f"{name}={value}" for name, value in self.options.items()]
        return ", ".join([self.method, *filter(None, [self.checkpoint]), *options])


CASES = (
    Case(method="baseline", rows=400),
    Case(method="baseline", rows=4000),
    Case(method="features", checkpoint=MINILM, rows=60),
    Case(method="features", checkpoint=MINILM, rows=400),
    Case(method="features", checkpoint=MINILM, rows=100, options={"dtype": "float32"}),
    Case(method="features", checkpoint=MINILM, rows=200, options={"batch_tokens": 16384}),
    Case(method="finetune", checkpoint=MINILM, rows=320, options=BRIEF),
    Case(method="finetune", checkpoint=MINILM, rows=60, options={**BRIEF, "dtype": "float32"}),
    Case(method="finetune", checkpoint=MINILM, rows=60, options={**BRIEF, "lora_rank": 8}),
    Case(method="trainer", checkpoint=MINILM, rows=60, options=BRIEF),
    Case(method="trainer", checkpoint=MINILM, rows=60, options={**BRIEF, "max_tokens": 256}),
    Case(method="prompt", checkpoint=GEMMA, rows=60),
    Case(method="prompt", checkpoint=GEMMA, rows=24, options={"shots": 4}),
    Case(method="prompt", checkpoint=SMOLLM, rows=60),
    Case(method="prompt", checkpoint=SMOLLM, rows=24, options={"shots": 4}),
    Case(method="lora", checkpoint=GEMMA, rows=32, options=BRIEF),
    Case(method="lora", checkpoint=GEMMA, rows=32, options={**BRIEF, "recompute": True}),
    Case(method="lora", checkpoint=SMOLLM, rows=32, options=BRIEF),
    Case(method="finetune", checkpoint=MINILM, rows=60, options=BRIEF, memory="1600MiB"),
    Case(method="trainer", checkpoint=MINILM, rows=60, options=BRIEF, memory="3GiB"),
    Case(method="lora", checkpoint=GEMMA, rows=32, options=BRIEF, memory="3GiB"),
    Case(method="features", checkpoint=MINILM, rows=60, memory="200MiB"),
)


def measure(job: Json) -> Json:
    """Run one comparison of one method; return what was planned and what it took."""
    options = {**job["options"], **({"checkpoint": job["checkpoint"]} if job["checkpoint"] else {})}
    rows = job["rows"]
    experiment = Experiment(
        data=DataSource(source=job["data"], limit=3 * rows),
        methods={job["method"]: options},
        split=SplitOptions(
            train_rows=rows, validation_rows=rows // 4 * 2, test_rows=rows, balanced=True
        ),
    )
    memory = read_size(job["memory"]) if job["memory"] else None
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "run"
        try:
            run_experiment(experiment, folder, memory=memory)
        except MemoryPlanError as error:
            return {"refused": str(error), "summary": "refused"}
        cost: Json = json.loads((folder / job["method"] / "cost.json").read_text(encoding="utf-8"))
    peak, planned = cost["peak_memory_mib"], cost["predicted_memory_mib"]
    return {**cost, "summary": f"{planned:,.0f} MiB planned, {peak:,.0f} measured"}


def cells(case: Case, result: Json) -> dict[str, str]:
    """Return a line of the table."""
    asked = {
        "case": case.name,
        "rows": f"{case.rows:,}",
        "budget": case.memory or "what is free",
    }
    if "refused" in result:
        empty = dict.fromkeys(("planned MiB", "measured MiB"), "")
        return {**asked, **empty, "planned / measured": "refused", "changed": ""}
    peak, planned = result["peak_memory_mib"], result["predicted_memory_mib"]
    changes = ", ".join(f"{name}={value}" for name, value in result["memory_changes"].items())
    return {
        **asked,
        "planned MiB": f"{planned:,.0f}",
        "measured MiB": f"{peak:,.0f}",
        "planned / measured": f"{planned / peak:.2f}",
        "changed": changes,
    }


def main() -> None:
    """Run the cases one after the other and print their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="rotten-tomatoes", help="a source of labelled texts")
    parser.add_argument("--cases", nargs="*", default=[], help="only those that hold a word")
    add_usual(parser)
    given = parser.parse_args()
    if given.child:
        answer_child(given.child, measure)
        return
    chosen = [case for case in CASES if not given.cases or any(w in case.name for w in given.cases)]
    results = []
    for case in chosen:
        results.append(run_child(__file__, {**vars(case), "name": case.name, "data": given.data}))
        print(f"{case.name}: {results[-1]['summary']}", file=sys.stderr)
    rows = [cells(case, result) for case, result in zip(chosen, results, strict=True)]
    print(f"\n{machine(('torch', 'transformers'))}\n\n{markdown(rows)}")
    found = [{**vars(case), **result} for case, result in zip(chosen, results, strict=True)]
    write_json(given.json, {"results": found})


if __name__ == "__main__":
    main()
