"""Tables of a run, and of any origin, are judged without a model."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pollice.errors import PredictionsError
from pollice.judging.judge import judge_tables
from pollice.judging.results import JudgingOptions
from pollice.predictions.table import Predictions


def test_tables_are_judged_again_to_the_same_numbers(finished: Path) -> None:
    paths = {name: finished / name / "predictions.parquet" for name in ("baseline", "words")}
    held = json.loads((finished / "report.json").read_text())
    report = judge_tables(paths, JudgingOptions(seed=0))
    for method in report.methods:
        assert method.evaluation.accuracy == held["methods"][method.name]["accuracy"]
        assert method.evaluation.log_loss == held["methods"][method.name]["log_loss"]
    assert list(report.comparison.ranking) == held["ranking"]
    assert report.comparison.pairs[0].p_value == held["pairs"][0]["p_value"]
    assert report.data.test_ids_sha256 == held["data"]["test_ids_sha256"]


def test_abstaining_holds_for_evaluations_and_paired_tests_alike(finished: Path) -> None:
    paths = {name: finished / name / "predictions.parquet" for name in ("baseline", "words")}
    held = [path.read_bytes() for path in paths.values()]
    report = judge_tables(paths, JudgingOptions(seed=0, abstain_below=0.6))
    first, second = (method.evaluation for method in report.methods)
    assert first.coverage < 1
    assert first.accuracy != second.accuracy
    assert report.comparison.pairs[0].difference == pytest.approx(first.accuracy - second.accuracy)
    assert [path.read_bytes() for path in paths.values()] == held


def test_an_outside_system_joins_by_its_table(finished: Path, tmp_path: Path) -> None:
    """Integer ids, float32, rows in another order, no tokens: all of it is allowed."""
    table = Predictions.read(finished / "baseline" / "predictions.parquet")
    positive = np.array([label == "pos" for label in table.gold or ()], np.float32)
    order = np.arange(len(table))[::-1]
    columns = {
        "id": pa.array([int(table.ids[row]) for row in order]),
        "gold": pa.array([(table.gold or ())[row] for row in order]),
        "probability:pos": pa.array(positive[order]),
        "probability:neg": pa.array(1 - positive[order]),
    }
    pq.write_table(pa.table(columns), tmp_path / "oracle.parquet")
    paths = {
        "ours": finished / "baseline" / "predictions.parquet",
        "oracle": tmp_path / "oracle.parquet",
    }
    report = judge_tables(paths, JudgingOptions(seed=0))
    assert report.comparison.ranking == ("oracle", "ours")
    assert report.methods[1].evaluation.accuracy == 1.0


def test_a_tuned_model_is_compared_with_what_it_was(finished: Path, tmp_path: Path) -> None:
    """Variants named before are the same rows judged before tuning; no other variant is."""
    table = Predictions.read(finished / "baseline" / "predictions.parquet")
    turned = 1 - table.probabilities
    variants = {"before": turned, "raw": turned}
    replace(table, variants=variants).write(tmp_path / "tuned.parquet")
    (method,) = judge_tables({"tuned": tmp_path / "tuned.parquet"}, JudgingOptions(seed=0)).methods
    (pair,) = method.tuning
    assert (pair.a, pair.b) == ("after", "before")
    before = 1 - method.evaluation.accuracy
    assert pair.difference == pytest.approx(method.evaluation.accuracy - before)


def test_tables_of_other_rows_are_refused(finished: Path, tmp_path: Path) -> None:
    table = pq.read_table(finished / "baseline" / "predictions.parquet")
    pq.write_table(table.slice(1), tmp_path / "short.parquet")
    paths = {"a": finished / "baseline" / "predictions.parquet", "b": tmp_path / "short.parquet"}
    missing = table["id"][0].as_py()
    sentence = (
        f"Expected the same test rows in every run, but 'a' and 'b' differ in 1 ids, such as "
        f"'{missing}'. Predict the same rows with each."
    )
    with pytest.raises(PredictionsError, match=f"^{re.escape(sentence)}$"):
        judge_tables(paths, JudgingOptions(seed=0))
