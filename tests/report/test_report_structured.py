import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hostile_report import hostile_report
from pollice.judging.results import Report
from pollice.report import to_json, write_report
from report_samples import five_methods, method_report, predictions, report_of

METHOD = {
    *("method", "options", "labels_used", "accuracy", "accuracy_interval", "per_label"),
    *("macro_f1", "matthews", "log_loss", "expected_calibration_error", "coverage"),
    *("truncated_rows", "fit_seconds", "predict_seconds", "predict_rows_per_second"),
    *("peak_memory_mib", "peak_device_memory_mib", "predicted_memory_mib", "memory_changes"),
    *("parameters", "variants", "balanced_accuracy", "balanced_accuracy_interval"),
    *("scored_rows", "tied_rows", "majority_label", "ordinal"),
}
DATA = {
    *("source", "rows", "labels", "train_rows", "validation_rows", "test_rows"),
    *("test_ids_sha256", "exact_duplicates", "near_duplicates", "leaked_rows_removed"),
    "smallest_detectable_difference",
}
AGAINST = {
    *("pair", "label", "accuracy", "majority_accuracy", "balanced_accuracy", "guessing", "rows"),
    *("balanced_accuracy_interval", "beats_majority", "beats_guessing"),
}
PAIR = {"a", "b", "difference", "interval", "p_value", "p_adjusted", "verdict"}


def test_the_contract_of_report_json() -> None:
    """Names are added, never changed: others read them."""
    contents = to_json(five_methods())
    assert {"pollice", "data", "methods", "pairs", "ranking"} <= set(contents)
    assert set(contents["data"]) >= DATA
    assert list(contents["methods"]) == ["baseline", "features", "finetune", "prompt", "prompt-4"]
    for method in contents["methods"].values():
        assert set(method) >= METHOD
        assert set(method["per_label"]) == {"negative", "positive"}
        assert {"accuracy", "precision", "recall", "f1", "support"} == set(
            method["per_label"]["negative"]
        )
    assert set(contents["methods"]["prompt"]["variants"]["raw"]) >= {
        "accuracy",
        "accuracy_interval",
        "log_loss",
    }
    assert all(set(pair) >= PAIR for pair in contents["pairs"])
    assert contents["ranking"][0] == "finetune"
    assert list(contents["against_majority"]) == list(contents["methods"])
    assert all(set(each) >= AGAINST for each in contents["against_majority"].values())


def test_numbers_are_those_of_the_evaluation() -> None:
    report = five_methods()
    found = to_json(report)["methods"]["finetune"]
    assert found["accuracy"] == report.best.evaluation.accuracy
    assert found["accuracy_interval"] == list(report.best.evaluation.accuracy_interval)
    assert found["confusion"] == [list(row) for row in report.best.evaluation.confusion]


def test_a_number_that_is_not_finite_becomes_null() -> None:
    table = predictions(0.8)
    odd = {
        "nan": float("nan"),
        "infinite": np.float64("inf"),
        "numpy": np.int64(3),
        "folder": Path("a/b"),
        "pair": (1, 2),
    }
    report = report_of([method_report("m", table, options=odd)], {"m": table})
    contents = to_json(report)
    json.dumps(contents, allow_nan=False)
    assert contents["methods"]["m"]["options"] == {
        "nan": None,
        "infinite": None,
        "numpy": 3,
        "folder": "a/b",
        "pair": [1, 2],
    }


@pytest.mark.parametrize("make", [five_methods, hostile_report])
def test_write_report_leaves_three_whole_files(tmp_path: Path, make: Callable[[], Report]) -> None:
    write_report(make(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]
    for path in tmp_path.iterdir():
        path.read_text(encoding="utf-8")
    assert json.loads((tmp_path / "report.json").read_text("utf-8")) == to_json(make())


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    write_report(five_methods(), tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_report(five_methods(), tmp_path)
    assert first == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
