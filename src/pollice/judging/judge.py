"""Predictions tables, of a run or of any origin, become a report.

Knows nothing about models, nor about where a run keeps its files.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, stdev
from types import MappingProxyType

import numpy as np

from pollice.data.dataset import Dataset
from pollice.data.scales import find_scale
from pollice.judging.comparison import compare
from pollice.judging.metrics import Evaluation, abstain, evaluate
from pollice.judging.results import (
    Comparison,
    Cost,
    DataReport,
    FinishedMethod,
    JudgingOptions,
    MethodReport,
    Mistake,
    Pair,
    Report,
    Spread,
)
from pollice.predictions.table import Predictions

_MISTAKES = 12
_NONE: Mapping[str, str] = MappingProxyType({})


def judge(
    finished: Sequence[FinishedMethod],
    data: DataReport,
    test: Dataset,
    options: JudgingOptions,
    failed: Mapping[str, str] = _NONE,
) -> Report:
    """Judge the finished methods of a run from their predictions tables; no model is loaded.

    ``failed``: why other methods of the run could not be fitted, by their names.
    """
    texts = dict(zip(test.ids, test.texts, strict=True))
    return Report(
        data=data,
        methods=tuple(_method_report(method, options, texts) for method in finished),
        comparison=_compare({method.name: method.predictions for method in finished}, options),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=options.seed,
        failed=failed,
    )


def _compare(runs: Mapping[str, Predictions], options: JudgingOptions) -> Comparison:
    return compare(runs, abstain_below=options.abstain_below, seed=options.seed)


def judge_tables(paths: Mapping[str, Path], options: JudgingOptions) -> Report:
    """Judge predictions tables of any origin; what is not known of them is None or NaN.

    Raises:
        PredictionsError: a table cannot be read, or the tables hold different rows.
        OptionError: ``options.abstain_below`` is not in [0, 1).
    """
    tables = {name: Predictions.read(path) for name, path in paths.items()}
    runs = {name: table.labelled for name, table in tables.items()}
    evaluations = {name: _evaluate(run, options) for name, run in runs.items()}
    comparison = _compare(runs, options)
    first = next(iter(evaluations.values()))
    unlabelled = max(len(table) - len(runs[name]) for name, table in tables.items())
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
            dropped={"no label": unlabelled} if unlabelled else {},
        ),
        methods=tuple(
            MethodReport(
                name=name,
                method=name,
                options={},
                labels_used=None,
                evaluation=evaluations[name],
                variants=_variants(run, options),
                cost=unknown,
                training=(),
                mistakes=(),
                tuning=_tuning(run, options),
            )
            for name, run in runs.items()
        ),
        comparison=comparison,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=options.seed,
    )


def _variants(run: Predictions, options: JudgingOptions) -> dict[str, Evaluation]:
    return {name: _evaluate(run.variant(name), options) for name in run.variants}


def _evaluate(run: Predictions, options: JudgingOptions) -> Evaluation:
    """Evaluate a table; where its labels name three steps of a scale or more, on that scale too."""
    found = find_scale(run.label_names)
    scale = found.names if found and len(found.names) > 2 else None
    return evaluate(run, abstain_below=options.abstain_below, scale=scale)


def _method_report(
    method: FinishedMethod, options: JudgingOptions, texts: Mapping[str, str]
) -> MethodReport:
    run, below = method.predictions, options.abstain_below
    evaluation = _evaluate(run, options)
    return MethodReport(
        name=method.name,
        method=method.method,
        options=method.options,
        labels_used=method.labels_used,
        evaluation=evaluation,
        variants=_variants(run, options),
        cost=method.cost,
        training=method.training,
        mistakes=_mistakes(abstain(run, below), texts),
        facts=method.facts,
        tuning=_tuning(run, options),
        spread=_spread(method.draws, evaluation, below),
        canary=method.canary,
        attack=method.attack,
    )


def _tuning(run: Predictions, options: JudgingOptions) -> tuple[Pair, ...]:
    """Compare a tuned model with what it was before: variants of that name on the same rows."""
    before = [name for name in run.variants if name.partition(" ")[0] == "before"]
    if not before:
        return ()
    runs = {"after": run, **{name: run.variant(name) for name in before}}
    # "after" is the first run, and pairs keep the order of the runs: it is always `a`.
    return tuple(pair for pair in _compare(runs, options).pairs if pair.a == "after")


def _spread(tables: Sequence[Predictions], first: Evaluation, below: float | None) -> Spread | None:
    """Return the spread of the accuracy over all draws; None where there is only the first."""
    if not tables:
        return None
    others = [evaluate(table, abstain_below=below).accuracy for table in tables]
    # At least two values, as `stdev` needs: the first draw, and one more.
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
            gold=str(gold),
            predicted=predicted,
            probability=float(np.max(probabilities)),
        )
        for row_id, gold, predicted, probabilities in zip(
            run.ids, run.gold or (), run.predicted, run.probabilities, strict=True
        )
        if predicted is not None and predicted != gold
    ]
    # The id decides between equals, so that the order of the rows does not change a report.
    wrong.sort(key=lambda mistake: (-mistake.probability, mistake.id))
    return tuple(wrong[:_MISTAKES])
