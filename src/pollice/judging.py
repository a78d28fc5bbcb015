"""Predictions tables, of a run or of any origin, become a report.

Knows nothing about models: everything comes from small files.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pollice.comparison import compare
from pollice.data import Dataset
from pollice.metrics import evaluate
from pollice.prediction import Predictions
from pollice.report import Cost, DataReport, MethodReport, Mistake, Report

_MISTAKES = 12


def judge(folder: Path, content: Mapping[str, Any], data: DataReport, test: Dataset) -> Report:
    """Judge the finished methods of a run from their predictions tables; no model is loaded."""
    runs = {
        name: Predictions.read(folder / name / "predictions.parquet") for name in content["methods"]
    }
    seed = content["seed"]
    texts = dict(zip(test.ids, test.texts, strict=True))
    methods = tuple(
        _method_report(folder / name, name, content["methods"][name], run, texts)
        for name, run in runs.items()
    )
    return Report(
        data=data,
        methods=methods,
        comparison=compare(runs, seed=seed),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
    )


def judge_tables(paths: Mapping[str, Path], seed: int) -> Report:
    """Judge predictions tables of any origin; costs that are not known are NaN.

    Raises:
        PredictionsError: a table cannot be read, or the tables hold different rows.
    """
    runs = {name: Predictions.read(path) for name, path in paths.items()}
    evaluations = {name: evaluate(run) for name, run in runs.items()}
    comparison = compare(runs, seed=seed)
    first = next(iter(evaluations.values()))
    unknown = Cost(
        fit_seconds=math.nan,
        predict_seconds=math.nan,
        predict_rows_per_second=math.nan,
        peak_memory_mib=math.nan,
        parameters=0,
    )
    return Report(
        data=DataReport(
            source=", ".join(str(path) for path in paths.values()),
            rows=first.rows,
            labels={label: facts.support for label, facts in first.per_label.items()},
            train_rows=0,
            validation_rows=0,
            test_rows=first.rows,
            test_ids_sha256=comparison.test_ids_sha256,
            exact_duplicates=0,
            near_duplicates=0,
            leaked_rows_removed=0,
            dropped={},
        ),
        methods=tuple(
            MethodReport(
                name=name,
                method=name,
                options={},
                labels_used=0,
                evaluation=evaluations[name],
                variants={v: evaluate(run.variant(v)) for v in run.variants},
                cost=unknown,
                training=(),
                mistakes=(),
            )
            for name, run in runs.items()
        ),
        comparison=comparison,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
    )


def _method_report(
    folder: Path,
    name: str,
    options: Mapping[str, Any],
    run: Predictions,
    texts: Mapping[str, str],
) -> MethodReport:
    cost = json.loads((folder / "cost.json").read_text(encoding="utf-8"))
    labels_used = cost.pop("labels_used")
    log = folder / "training.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return MethodReport(
        name=name,
        method=options["method"],
        options={key: value for key, value in options.items() if key != "method"},
        labels_used=labels_used,
        evaluation=evaluate(run),
        variants={variant: evaluate(run.variant(variant)) for variant in run.variants},
        cost=Cost(**cost),
        training=tuple(json.loads(line) for line in lines),
        mistakes=_mistakes(run, texts),
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
