"""Contenders, each in a process of its own and in turn, measured over rounds.

Knows nothing about what is measured: a job is a JSON object, and so is what it gives.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pollice.data.dataset import Dataset

Json = dict[str, Any]
Given = TypeVar("Given")

WARM_UP_ROWS = 2


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to do the job."""

    name: str
    kind: str
    """Which function of the script does it."""
    options: Mapping[str, Any]
    needs: str | None = None
    """The module of the optional group that it imports."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contender of one table; lists hold one entry a round."""

    name: str
    rows_per_second: list[float]
    peak_mib: list[float]
    ratios: list[float]
    """How many times as many rows a second the reference does, in the same round."""

    @property
    def rate(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rows_per_second)


def chosen(contenders: Sequence[Contender], words: Sequence[str]) -> list[Contender]:
    """Return the contenders whose name holds one of the words, the reference always first.

    Raises:
        SystemExit: a contender's package is not installed.
    """
    reference, *others = contenders
    kept = [one for one in others if not words or any(word in one.name for word in words)]
    missing = sorted({one.needs for one in kept if one.needs and find_spec(one.needs) is None})
    if missing:
        raise SystemExit(
            f"{missing[0]} is not installed here. Install the group benchmarks "
            "(benchmarks/README.md), or choose others with --contenders."
        )
    return [reference, *kept]


def interleave(script: str, jobs: Mapping[Any, Json], rounds: int) -> dict[Any, list[Json]]:
    """Run every job once a round, A B C A B C, and return what each gave, one entry a round."""
    results: dict[Any, list[Json]] = {key: [] for key in jobs}
    for number in range(1, rounds + 1):
        for key, job in jobs.items():
            result = run_child(script, job)
            results[key].append(result)
            print(f"round {number} of {rounds}: {key}: {result['summary']}", file=sys.stderr)
    return results


def run_child(script: str, job: Json) -> Json:
    """Run one job in a new process of this interpreter, and return what it gave."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "job.json").write_text(json.dumps(job), encoding="utf-8")
        finished = subprocess.run(
            [sys.executable, script, "--child", folder],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"},
            capture_output=True,
            text=True,
            check=False,
        )
        if finished.returncode:
            raise SystemExit(f"{job['name']} failed:\n{finished.stderr[-4000:]}")
        result: Json = json.loads((Path(folder) / "result.json").read_text(encoding="utf-8"))
        return result


def add_usual(parser: argparse.ArgumentParser) -> None:
    """Add what every script takes: where all goes that was measured, and a child's folder."""
    parser.add_argument("--json", help="a file for everything measured")
    parser.add_argument("--child", help=argparse.SUPPRESS)


def answer_child(folder: str, work: Callable[[Json], Json]) -> None:
    """Do the job of a child process and write what it gives."""
    job = json.loads((Path(folder) / "job.json").read_text(encoding="utf-8"))
    result = work(job)
    (Path(folder) / "result.json").write_text(json.dumps(result), encoding="utf-8")


def timed(read: Callable[[Sequence[str]], Given], texts: Sequence[str]) -> tuple[Given, Json]:
    """Warm up on a few rows, then time all of them; loading has been done before.

    Returns:
        What was read, and ``seconds``, ``rows``, ``peak_mib`` and ``summary``.
    """
    read(texts[:WARM_UP_ROWS])
    start = time.perf_counter()
    given = read(texts)
    seconds = time.perf_counter() - start
    facts = {
        "seconds": seconds,
        "rows": len(texts),
        "peak_mib": peak_mib(),
        "summary": f"{len(texts) / seconds:.2f} rows/s",
    }
    return given, facts


def peak_mib() -> float:
    """Return the most memory that this process has held, its loading included.

    Linux hands ru_maxrss of a parent on to the programs it starts, so VmHWM comes first.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def summarize(results: Mapping[str, Sequence[Json]]) -> list[Row]:
    """Return one row a contender; the first is the reference."""
    rates = {
        name: [result["rows"] / result["seconds"] for result in rounds]
        for name, rounds in results.items()
    }
    reference = next(iter(rates.values()))
    return [
        Row(
            name=name,
            rows_per_second=rate,
            peak_mib=[result["peak_mib"] for result in results[name]],
            ratios=[ours / theirs for ours, theirs in zip(reference, rate, strict=True)],
        )
        for name, rate in rates.items()
    ]


def speed_cells(row: Row) -> dict[str, str]:
    """Return the cells that every table has."""
    low, high = min(row.rows_per_second), max(row.rows_per_second)
    return {
        "contender": row.name,
        "rows/s [min, max]": f"{row.rate:.2f} [{low:.2f}, {high:.2f}]",
        "pollice is": f"{statistics.median(row.ratios):.2f} x",
        "peak MiB": f"{statistics.median(row.peak_mib):,.0f}",
    }


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Lay cells out as a Markdown table, the first column to the left."""
    columns = list(rows[0])
    widths = [max(len(column), *(len(row[column]) for row in rows)) for column in columns]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        laid = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        return f"| {' | '.join(laid)} |"

    rule = "|" + "|".join(
        "-" * (width + 2) if number == 0 else "-" * (width + 1) + ":"
        for number, width in enumerate(widths)
    )
    return "\n".join([line(columns), rule + "|", *(line(list(row.values())) for row in rows)])


def balanced_rows(rows: Dataset, count: int, *, seed: int, skip: int = 0) -> Dataset:
    """Return rows drawn with a seed, the labels in turn; ``skip`` of them are passed over.

    Raises:
        SystemExit: there are too few rows of some label.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    by_label = [
        [int(row) for row in order if rows.labels[row] == label] for label in rows.label_names
    ]
    in_turn = [row for turn in zip(*by_label, strict=False) for row in turn]
    if len(in_turn) < skip + count:
        raise SystemExit(
            f"The data have {len(in_turn)} rows with equally many of each label, but "
            f"{skip + count} are needed. Lower --rows."
        )
    return rows.take(in_turn[skip : skip + count])


def machine(packages: Sequence[str]) -> str:
    """Return in one line where the figures come from."""
    import torch

    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), cpu)
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{cpu}, {torch.get_num_threads()} threads, Python {platform.python_version()}, {versions}"
    )


def write_json(path: str | None, content: Json) -> None:
    """Write all that was measured, where a file was named."""
    if path is not None:
        Path(path).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
