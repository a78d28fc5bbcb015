"""Tables of a run, and of any origin, are judged without a model."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pollice.errors import PredictionsError
from pollice.judging.judge import judge_tables
from pollice.judging.results import JudgingOptions
from pollice.predictions.table import Predictions
from pollice.report import show, to_html, to_json, to_markdown


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


def bare(finished: Path, folder: Path) -> Path:
    """Return a table that says nothing but ids, gold labels and probabilities."""
    table = pq.read_table(finished / "baseline" / "predictions.parquet")
    kept = [name for name in table.column_names if name not in {"tokens", "truncated"}]
    pq.write_table(table.select(kept), folder / "theirs.parquet")
    return folder / "theirs.parquet"


def test_what_tables_do_not_say_is_unknown_in_every_form(finished: Path, tmp_path: Path) -> None:
    """Never 0 and never a number that was made up: labels, speed, cut rows, rows of other parts."""
    report = judge_tables({"theirs": bare(finished, tmp_path)}, JudgingOptions(seed=0))
    output = io.StringIO()
    show(report, Console(file=output, width=80, color_system=None))
    on_a_terminal = " ".join(output.getvalue().split())
    page, document = " ".join(to_html(report).split()), to_markdown(report)
    assert "24 test rows; training and validation rows are unknown, seed 0" in on_a_terminal
    assert on_a_terminal.count("unknown") >= 5, "labels used, fit s, rows/s, peak MiB, cut rows"
    assert "| unknown | unknown | unknown | unknown |" in document
    assert page.count("<bdi>unknown</bdi>") >= 5
    for form in (on_a_terminal, page, document):
        assert "Whether test rows were cut is unknown of theirs" in form
        assert "answers fastest" not in form
        assert "nan" not in form.lower().split()
    contents = to_json(report)
    method = contents["methods"]["theirs"]
    for name in [
        "labels_used",
        "fit_seconds",
        "predict_rows_per_second",
        "peak_memory_mib",
        "parameters",
        "truncated_rows",
    ]:
        assert method[name] is None, name
    for name in ["train_rows", "validation_rows", "exact_duplicates", "leaked_rows_removed"]:
        assert contents["data"][name] is None, name
    assert contents["data"]["test_rows"] == 24


def test_equal_tables_with_columns_in_another_order_are_equal(
    finished: Path, tmp_path: Path
) -> None:
    """All labels tied: the same answers, in either order of the columns."""
    gold = pq.read_table(finished / "baseline" / "predictions.parquet")["gold"]
    ids = [str(row) for row in range(len(gold))]
    half = [0.5] * len(ids)
    for name, labels in {"a": ("neg", "pos"), "b": ("pos", "neg")}.items():
        columns = {f"probability:{label}": half for label in labels}
        pq.write_table(pa.table({"id": ids, "gold": gold, **columns}), tmp_path / f"{name}.parquet")
    report = judge_tables(
        {name: tmp_path / f"{name}.parquet" for name in "ab"}, JudgingOptions(seed=0)
    )
    first, second = (method.evaluation for method in report.methods)
    assert first.accuracy == second.accuracy
    assert first.tied_rows == second.tied_rows == len(ids)
    assert report.comparison.pairs[0].verdict == "not distinguishable"


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


def test_labels_that_name_a_scale_are_judged_on_it(tmp_path: Path) -> None:
    """Whatever the order of the columns; two labels have no steps between them."""
    labels = ("neutral", "positive", "negative")
    columns = {f"probability:{label}": [0.2, 0.2, 0.2] for label in labels}
    columns["probability:positive"] = [0.6, 0.6, 0.6]
    table = {"id": ["a", "b", "c"], "gold": ["negative", "neutral", "positive"], **columns}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    report = judge_tables({"a": tmp_path / "a.parquet"}, JudgingOptions())
    ordinal = report.methods[0].evaluation.ordinal
    assert ordinal is not None
    assert ordinal.scale == ("negative", "neutral", "positive")
    assert ordinal.mean_absolute_error == 1.0
