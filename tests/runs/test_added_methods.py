"""A finished run takes further methods: they alone are fitted, and all are reported."""

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import InstallMethod
from pollice.errors import RunError, UserError
from pollice.runs.experiment import DataSource, Experiment, read_experiment
from pollice.runs.folder import read_toml
from pollice.runs.run import run_experiment

REFUSING = '''
from pydantic.dataclasses import dataclass

from pollice.errors import CheckpointError
from pollice.method import OPTIONS, Method
from pollice.methods.baseline import BagOfWords, Baseline


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Method):
    """Takes one word alone."""

    predictor_type = BagOfWords

    word: str
    """The word."""
    seed: int = 0
    """Draws nothing."""

    def fit(self, train, validation, *, workdir):
        if self.word != "right":
            raise CheckpointError("Expected the right word.")
        return Baseline(ngrams=1).fit(train, validation, workdir=workdir)
'''


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of a finished run with the methods baseline and words."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def asked(run: Path, seed: int = 0, **methods: Any) -> Experiment:
    source = read_toml(run / "experiment.toml")["data"]["source"]
    return Experiment(data=DataSource(source=source), methods=methods, seed=seed)


def times(run: Path) -> dict[str, int]:
    return {
        str(path): path.stat().st_mtime_ns
        for name in ("baseline", "words")
        for path in (run / name).rglob("*")
    }


def test_only_the_new_method_is_fitted_and_all_are_reported(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = times(run)
    with caplog.at_level(logging.INFO, logger="pollice"):
        report = run_experiment(asked(run, triples={"method": "baseline", "ngrams": 3}), run)
    assert times(run) == before
    assert sorted(method.name for method in report.methods) == ["baseline", "triples", "words"]
    assert len(report.pairs) == 3
    written = json.loads((run / "report.json").read_text())
    assert sorted(written["ranking"]) == ["baseline", "triples", "words"]
    kept = [line.message for line in caplog.records if "kept" in line.message]
    assert kept == [
        f"{name} is not asked for now: it is kept, and reported too."
        for name in ("baseline", "words")
    ]


def test_the_experiment_file_runs_all_of_them_again(run: Path, tmp_path: Path) -> None:
    report = run_experiment(asked(run, triples={"method": "baseline", "ngrams": 3}), run)
    whole = read_experiment(read_toml(run / "experiment.toml"), "it")
    assert list(whole.methods) == ["baseline", "words", "triples"]
    again = run_experiment(whole, tmp_path / "again")
    assert [pair.difference for pair in again.pairs] == [pair.difference for pair in report.pairs]


def test_a_method_of_the_run_with_other_options_is_refused(run: Path) -> None:
    sentence = (
        f"{run} holds another experiment: methods.words.ngrams is 1 there and 2 here. Name another "
        "folder with --out, or delete it."
    )
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        run_experiment(asked(run, words={"method": "baseline", "ngrams": 2}), run)


def test_a_new_method_on_other_rows_is_refused(run: Path) -> None:
    sentence = (
        f"{run} holds another experiment: seed is 0 there and 1 here. Name another folder with "
        "--out, or delete it."
    )
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        run_experiment(asked(run, 1, triples={"method": "baseline", "ngrams": 3}), run)


def test_a_method_that_is_refused_can_be_added_with_other_options(
    run: Path, install_method: InstallMethod
) -> None:
    """What left nothing behind is no part of the experiment."""
    install_method("theirs", REFUSING)
    with pytest.raises(UserError, match=r"^Expected the right word\.$"):
        run_experiment(asked(run, theirs={"word": "wrong"}), run)
    assert list(read_toml(run / "experiment.toml")["methods"]) == ["baseline", "words"]
    report = run_experiment(asked(run, theirs={"word": "right"}), run)
    assert {method.name for method in report.methods} == {"baseline", "words", "theirs"}


def test_a_damaged_method_that_is_kept_is_refused(run: Path) -> None:
    """It would be judged: so it is looked at as one that is asked for."""
    path = run / "words" / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(RunError, match=r"predictions\.parquet should have"):
        run_experiment(asked(run, triples={"method": "baseline", "ngrams": 3}), run)


def test_a_method_that_has_not_finished_is_left_as_it_is(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(run / "words")
    with caplog.at_level(logging.INFO, logger="pollice"):
        report = run_experiment(asked(run, triples={"method": "baseline", "ngrams": 3}), run)
    assert sorted(method.name for method in report.methods) == ["baseline", "triples"]
    assert "words has not finished and is not asked for now: it is left as it is." in caplog.text
    assert not (run / "words").exists()


def test_counts_of_an_older_run_were_balanced(run: Path) -> None:
    """Its experiment.toml does not name the option: to go on, the same way is asked for."""
    path = run / "experiment.toml"
    path.write_text(path.read_text().replace("balanced = false", "test_rows = 20"))
    content = read_toml(path)
    with pytest.raises(RunError, match=r"split\.balanced is True there and False here"):
        run_experiment(read_experiment(content, "it"), run)
