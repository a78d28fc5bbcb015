"""A run folder of an earlier version: it loads, gives its numbers, and is the same experiment.

tests/saved/README.md says how it was made.
"""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pollice.cli.commands import main
from pollice.data.reading import ReadOptions, read_dataset
from pollice.predictions.predict import predict
from pollice.predictions.table import Predictions
from pollice.runs.experiment import read_experiment
from pollice.runs.folder import read_toml
from pollice.runs.predictors import load_predictor
from pollice.runs.run import run_experiment

SAVED = Path(__file__).parent.parent / "saved"
METHODS = ("baseline", "words", "features", "finetune", "trainer", "nli", "prompt", "lora")
REPORTS = ("report.html", "report.json", "report.md")
JUDGED = ("accuracy", "macro_f1", "matthews", "roc_auc", "log_loss", "majority_accuracy")
TOLD = (
    "method",
    "labels_used",
    "rows",
    "confusion",
    "fit_seconds",
    "parameters",
    "canary",
    "facts",
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of what was saved, as the current folder: its data are named from there."""
    home = tmp_path / "saved"
    shutil.copytree(SAVED, home)
    monkeypatch.chdir(home)
    return home


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file in a run's folder but its reports."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in REPORTS
    }


def report_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("name", METHODS)
def test_a_predictor_saved_before_gives_its_numbers(home: Path, name: str) -> None:
    expected = Predictions.read(home / "run" / name / "predictions.parquet")
    rows = read_dataset("opinions.csv", ReadOptions())
    texts = dict(zip(rows.ids, rows.texts, strict=True))
    predictor = load_predictor(home / "run" / name / "predictor")
    found = predict(predictor, [texts[row] for row in expected.ids], ids=expected.ids)
    assert found.label_names == expected.label_names
    assert np.allclose(found.probabilities, expected.probabilities, rtol=0, atol=1e-6)
    assert np.array_equal(found.tokens, expected.tokens)
    for variant, table in found.variants.items():
        assert np.allclose(table, expected.variants[variant], rtol=0, atol=1e-6), variant


def test_a_run_saved_before_is_the_same_experiment_and_nothing_runs_again(home: Path) -> None:
    """Its checkpoints are gone: whatever is fitted again would fail."""
    before, told = contents(home / "run"), report_of(home / "run")
    experiment = read_experiment(read_toml(home / "run" / "experiment.toml"), "experiment.toml")
    report = run_experiment(experiment, home / "run")
    after = contents(home / "run")
    assert {name: after[name] for name in before if name != "experiment.toml"} == {
        name: digest for name, digest in before.items() if name != "experiment.toml"
    }
    assert after.keys() == before.keys()
    assert [method.name for method in report.methods] == list(METHODS)
    again = report_of(home / "run")
    assert again["data"] == told["data"]
    for name in METHODS:
        new, old = again["methods"][name], told["methods"][name]
        for metric in JUDGED:
            assert new[metric] == pytest.approx(old[metric], abs=1e-9), (name, metric)
        assert {key: new[key] for key in TOLD} == {key: old[key] for key in TOLD}


def test_a_run_saved_before_can_be_judged_otherwise(home: Path) -> None:
    before = contents(home / "run")
    content = read_toml(home / "run" / "experiment.toml")
    experiment = read_experiment({**content, "abstain_below": 0.9}, "experiment.toml")
    run_experiment(experiment, home / "run")
    after = contents(home / "run")
    assert {name for name in after if after[name] != before.get(name)} == {"experiment.toml"}
    judged = report_of(home / "run")["methods"]
    assert min(judged[name]["coverage"] for name in METHODS) < 1


def test_tables_saved_before_are_judged_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = [f"run/{name}/predictions.parquet" for name in METHODS]
    monkeypatch.setattr("sys.argv", ["pollice", "evaluate", *tables, "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    judged = json.loads(capsys.readouterr().out)["methods"]
    told = report_of(home / "run")["methods"]
    for name in METHODS:
        assert judged[name]["confusion"] == told[name]["confusion"]
