"""Predictions tables, of a run or of any origin, become a report.

Knows nothing about models: everything comes from small files.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter

from pollice.data.dataset import Dataset
from pollice.judging.comparison import compare
from pollice.judging.metrics import Evaluation, abstain, evaluate
from pollice.judging.results import (
    Attack,
    Canary,
    Comparison,
    Cost,
    DataReport,
    MethodReport,
    Mistake,
    Pair,
    Report,
    Spread,
)
from pollice.predictions.table import Predictions

T = TypeVar("T")

_MISTAKES = 12


def judge(folder: Path, content: Mapping[str, Any], data: DataReport, test: Dataset) -> Report:
    """Judge the finished methods of a run from their predictions tables; no model is loaded."""
    runs = {
        name: Predictions.read(folder / name / "predictions.parquet") for name in content["methods"]
    }
    seed, below = content["seed"], content.get("abstain_below")
    texts = dict(zip(test.ids, test.texts, strict=True))
    methods = tuple(
        _method_report(folder / name, content["methods"][name], run, (seed, below), texts)
        for name, run in runs.items()
    )
    return Report(
        data=data,
        methods=methods,
        comparison=_compare(runs, seed, below),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
    )


def _compare(runs: Mapping[str, Predictions], seed: int, below: float | None) -> Comparison:
    return compare(runs, abstain_below=below, seed=seed)


def judge_tables(
    paths: Mapping[str, Path], seed: int, abstain_below: float | None = None
) -> Report:
    """Judge predictions tables of any origin; what is not known of them is None or NaN.

    Raises:
        PredictionsError: a table cannot be read, or the tables hold different rows.
        OptionError: ``abstain_below`` is not in [0, 1).
    """
    runs = {name: Predictions.read(path) for name, path in paths.items()}
    evaluations = {name: evaluate(run, abstain_below=abstain_below) for name, run in runs.items()}
    comparison = _compare(runs, seed, abstain_below)
    first = next(iter(evaluations.values()))
    unknown = Cost(
        fit_seconds=math.nan,
        predict_seconds=math.nan,
        predict_rows_per_second=math.nan,
        peak_memory_mib=math.nan,
        parameters=None,
    )
    return Report(
        data=DataReport(
            source=", ".join(str(path) for path in paths.values()),
            rows=first.rows,
            labels={label: facts.support for label, facts in first.per_label.items()},
            train_rows=None,
            validation_rows=None,
            test_rows=first.rows,
            test_ids_sha256=comparison.test_ids_sha256,
            exact_duplicates=None,
            near_duplicates=None,
            leaked_rows_removed=None,
            dropped={},
        ),
        methods=tuple(
            MethodReport(
                name=name,
                method=name,
                options={},
                labels_used=None,
                evaluation=evaluations[name],
                variants=_variants(run, abstain_below),
                cost=unknown,
                training=(),
                mistakes=(),
                tuning=_tuning(run, abstain_below, seed),
            )
            for name, run in runs.items()
        ),
        comparison=comparison,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
    )


def _variants(run: Predictions, below: float | None) -> dict[str, Evaluation]:
    return {name: evaluate(run.variant(name), abstain_below=below) for name in run.variants}


def _method_report(
    folder: Path,
    options: Mapping[str, Any],
    run: Predictions,
    judged_by: tuple[int, float | None],
    texts: Mapping[str, str],
) -> MethodReport:
    seed, below = judged_by
    cost = json.loads((folder / "cost.json").read_text(encoding="utf-8"))
    labels_used = cost.pop("labels_used")
    log = folder / "training.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    evaluation = evaluate(run, abstain_below=below)
    return MethodReport(
        name=folder.name,
        method=options["method"],
        options={key: value for key, value in options.items() if key != "method"},
        labels_used=labels_used,
        evaluation=evaluation,
        variants=_variants(run, below),
        cost=Cost(**cost),
        training=tuple(json.loads(line) for line in lines),
        mistakes=_mistakes(abstain(run, below), texts),
        facts=_held(folder / "facts.json", dict[str, Any]) or {},
        tuning=_tuning(run, below, seed),
        spread=_spread(folder / "draws", evaluation, below),
        canary=_held(folder / "canary.json", Canary),
        attack=_held(folder / "attack.json", Attack),
    )


def _tuning(run: Predictions, below: float | None, seed: int) -> tuple[Pair, ...]:
    """Compare a tuned model with what it was before: variants of that name on the same rows."""
    before = [name for name in run.variants if name.partition(" ")[0] == "before"]
    if not before:
        return ()
    runs = {"after": run, **{name: run.variant(name) for name in before}}
    return tuple(pair for pair in _compare(runs, seed, below).pairs if pair.a == "after")


def _held(path: Path, kind: type[T]) -> T | None:
    """Return what a file of a method's folder holds; None where it was not asked for."""
    return TypeAdapter(kind).validate_json(path.read_bytes()) if path.is_file() else None


def _spread(folder: Path, first: Evaluation, below: float | None) -> Spread | None:
    """Return the spread of the accuracy over all draws; None where there is only the first."""
    tables = [Predictions.read(path) for path in sorted(folder.glob("*.parquet"))]
    if not tables:
        return None
    others = [evaluate(table, abstain_below=below).accuracy for table in tables]
    accuracies = [first.accuracy, *others]
    return Spread(
        draws=len(accuracies),
        lowest=min(accuracies),
        highest=max(accuracies),
        mean=mean(accuracies),
        standard_deviation=stdev(accuracies),
    )


def _mistakes(run: Predictions, texts: Mapping[str, str]) -> tuple[Mistake, ...]:
    """Return the wrong answers that the method was surest of."""
    wrong = [
        Mistake(
            id=row_id,
            text=texts[row_id],
            gold=gold,
            predicted=predicted,
            probability=float(np.max(probabilities)),
        )
        for row_id, gold, predicted, probabilities in zip(
            run.ids, run.gold or (), run.predicted, run.probabilities, strict=True
        )
        if predicted is not None and predicted != gold
    ]
    wrong.sort(key=lambda mistake: (-mistake.probability, mistake.id))
    return tuple(wrong[:_MISTAKES])
