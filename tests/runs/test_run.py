"""The main flow with methods that need no model: what is written, kept, refused and repeated."""

import json
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import InstallMethod, opinion_rows
from pollice.data.splits import SplitOptions
from pollice.errors import OptionError, PolliceError, RunError, SplitError
from pollice.predictions.table import Predictions
from pollice.runs.experiment import DataSource, Experiment, default_folder, read_experiment
from pollice.runs.folder import read_toml
from pollice.runs.predictors import load_predictor
from pollice.runs.run import run_experiment
from pollice.system.folders import is_complete

RUN_FILES = [
    "baseline/cost.json",
    "baseline/explained.json",
    "baseline/facts.json",
    "baseline/manifest.json",
    "baseline/predictions.parquet",
    "baseline/predictor/head.safetensors",
    "baseline/predictor/manifest.json",
    "baseline/predictor/vocabulary.json",
    "data.json",
    "experiment.toml",
    "report.html",
    "report.json",
    "report.md",
]
CRASH = '''
from pydantic.dataclasses import dataclass

from pollice.system.folders import is_complete
from pollice.method import OPTIONS, Method
from pollice.methods.baseline import BagOfWords, Baseline


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Method):
    """Learns once a file called ready is there."""

    predictor_type = BagOfWords

    ready: str
    """The file."""
    started: bool = True
    """Whether something is written before the crash."""
    seed: int = 0
    """Draws nothing."""

    def fit(self, train, validation, *, workdir):
        from pathlib import Path
        if not Path(self.ready).exists():
            if self.started:
                (workdir / "training.jsonl").write_text('{"step": 1, "loss": 0.5}\\n')
            raise RuntimeError("out of luck")
        return Baseline(ngrams=1).fit(train, validation, workdir=workdir)
'''


def experiment(source: Path, **given: Any) -> Experiment:
    seed = given.pop("seed", 0)
    return Experiment(
        data=DataSource(source=str(source)), methods=given or {"baseline": {}}, seed=seed
    )


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def fails(error: type[PolliceError], call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(sentence)}$"):
        call()


def inode(folder: Path) -> tuple[int, int]:
    facts = (folder / "baseline" / "predictions.parquet").stat()
    return facts.st_ino, facts.st_mtime_ns


def test_a_run_folder_holds_this_and_no_more(opinions: Path, tmp_path: Path) -> None:
    run_experiment(experiment(opinions), tmp_path / "run")
    assert files(tmp_path / "run") == RUN_FILES
    assert is_complete(tmp_path / "run" / "baseline")
    assert not (tmp_path / "run" / ".work").exists()


def test_the_experiment_file_has_every_default(finished: Path) -> None:
    content = tomllib.loads((finished / "experiment.toml").read_text())
    usual = {"characters": "auto", "max_features": 1_000_000, "seed": 0}
    assert content == {
        "seed": 0,
        "canary": False,
        "attack": False,
        "data": {"source": str(finished.parent / "data.csv"), "read": {"keep_html": False}},
        "split": {
            "train": 0.7,
            "validation": 0.1,
            "test": 0.2,
            "balanced": False,
            "near_duplicates": True,
        },
        "methods": {
            "baseline": {"method": "baseline", "ngrams": 3, **usual},
            "words": {"method": "baseline", "ngrams": 1, **usual},
        },
    }


def test_the_report_keeps_its_contract(finished: Path) -> None:
    """Names of report.json are added, never renamed."""
    report = json.loads((finished / "report.json").read_text())
    assert {"pollice", "data", "methods", "pairs", "ranking"} <= set(report)
    assert {
        "source", "rows", "labels", "train_rows", "validation_rows", "test_rows",
        "test_ids_sha256", "exact_duplicates", "near_duplicates", "leaked_rows_removed",
        "smallest_detectable_difference",
    } <= set(report["data"])  # fmt: skip
    for method in report["methods"].values():
        assert {
            "method", "options", "labels_used", "accuracy", "accuracy_interval", "per_label",
            "macro_f1", "matthews", "log_loss", "expected_calibration_error", "coverage",
            "truncated_rows", "fit_seconds", "predict_seconds", "predict_rows_per_second",
            "peak_memory_mib", "parameters", "variants", "facts", "spread", "canary", "attack",
            "abstain_below", "answered_accuracy", "answered_accuracy_interval",
        } <= set(method)  # fmt: skip
        for label in method["per_label"].values():
            assert set(label) == {"accuracy", "precision", "recall", "f1", "support"}
    assert report["data"]["labels"] == {"neg": 60, "pos": 60}
    assert report["data"]["train_rows"] + report["data"]["validation_rows"] == 96
    (pair,) = report["pairs"]
    assert set(pair) == {"a", "b", "difference", "interval", "p_value", "p_adjusted", "verdict"}
    assert sorted(report["ranking"]) == ["baseline", "words"]


def test_the_report_says_what_the_table_says(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    table = Predictions.read(finished / "baseline" / "predictions.parquet")
    right = [a == b for a, b in zip(table.predicted, table.gold or (), strict=True)]
    assert report["methods"]["baseline"]["accuracy"] == pytest.approx(np.mean(right))
    assert 0.5 < np.mean(right) < 1
    assert len(report["methods"]["baseline"]["mistakes"]) == right.count(False)


def test_the_saved_predictor_gives_the_judged_numbers(finished: Path) -> None:
    """What was evaluated is what is shipped."""
    table = Predictions.read(finished / "baseline" / "predictions.parquet")
    lines = (finished.parent / "data.csv").read_text().splitlines()[1:]
    texts = [lines[int(row_id)].rpartition(",")[0] for row_id in table.ids]
    again = load_predictor(finished / "baseline" / "predictor").predict_proba(texts)
    assert np.array_equal(again, table.probabilities)


def test_the_same_experiment_gives_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    """Also when it is read back from the run's own experiment.toml."""
    again = read_experiment(read_toml(finished / "experiment.toml"), "it")
    run_experiment(again, tmp_path / "again")
    for name in ("baseline", "words"):
        table = f"{name}/predictions.parquet"
        assert (tmp_path / "again" / table).read_bytes() == (finished / table).read_bytes()
    assert (tmp_path / "again" / "data.json").read_bytes() == (finished / "data.json").read_bytes()


def test_another_seed_draws_other_test_rows(finished: Path, tmp_path: Path) -> None:
    source = finished.parent / "data.csv"
    other = run_experiment(experiment(source, seed=1), tmp_path / "run")
    held = json.loads((finished / "data.json").read_text())
    assert other.data.test_ids_sha256 != held["test_ids_sha256"]
    assert other.methods[0].options["seed"] == 1


def test_finished_methods_are_not_run_again(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    before = inode(run)
    shutil.rmtree(run / "words")
    report = run_experiment(read_experiment(read_toml(run / "experiment.toml"), "it"), run)
    assert inode(run) == before
    assert [method.name for method in report.methods] == ["baseline", "words"]
    assert (run / "words" / "predictions.parquet").read_bytes() == (
        finished / "words" / "predictions.parquet"
    ).read_bytes()


def test_a_damaged_finished_method_is_named(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "words" / "cost.json").unlink()
    size = (finished / "words" / "cost.json").stat().st_size
    fails(
        RunError,
        lambda: run_experiment(read_experiment(read_toml(run / "experiment.toml"), "it"), run),
        f"{run}/words/cost.json should have {size} bytes by its manifest, but is missing. "
        "Save or copy it again.",
    )


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 2}, "methods.baseline.seed is 0 there and 2 here"),
        ({"baseline": {"ngrams": 2}}, "methods.baseline.ngrams is 3 there and 2 here"),
    ],
)
def test_another_experiment_in_the_folder_is_refused(
    finished: Path, changes: dict[str, Any], difference: str
) -> None:
    given = {"baseline": {}, "words": {"method": "baseline", "ngrams": 1}, **changes}
    before = files(finished)
    fails(
        RunError,
        lambda: run_experiment(experiment(finished.parent / "data.csv", **given), finished),
        f"{finished} holds another experiment: {difference}. "
        "Name another folder with --out, or delete it.",
    )
    assert files(finished) == before


def test_changed_data_are_refused(opinions: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_experiment(experiment(opinions), run)
    before = inode(run)
    opinions.write_text(opinions.read_text().replace("film", "movie"))
    fails(
        RunError,
        lambda: run_experiment(experiment(opinions), run),
        f"The data have changed since {run} was begun (test_ids_sha256, train_sha256, "
        "validation_sha256, test_sha256), so its finished methods cannot be compared with new "
        "ones. Name another folder with --out.",
    )
    assert inode(run) == before


def test_what_another_drawing_began_is_judged_but_not_fitted(
    opinions: Path, tmp_path: Path
) -> None:
    """The data are as they were, and so the sentence does not say that they have changed."""
    run = tmp_path / "run"
    run_experiment(experiment(opinions), run)
    facts = json.loads((run / "data.json").read_text())
    del facts["drawing"], facts["copies_left_out"]
    facts |= {"train_sha256": "0", "test_sha256": "0", "near_duplicates": 7}
    (run / "data.json").write_text(json.dumps(facts))
    before = inode(run)
    assert run_experiment(experiment(opinions), run).data.near_duplicates == 7
    assert inode(run) == before
    shutil.rmtree(run / "baseline")
    fails(
        RunError,
        lambda: run_experiment(experiment(opinions), run),
        f"{run} was begun by a version of pollice that drew the rows of a split in another way, so "
        "its finished methods cannot be compared with new ones. Name another folder with --out, or "
        "go on in this one with that version.",
    )


@pytest.mark.parametrize("share", [0.3, 0.45, 0.6, 0.9])
def test_copies_of_one_answer_take_no_accuracy(tmp_path: Path, share: float) -> None:
    """The rows of one answer are judged as one: of the other texts as many are right as without."""
    rows = opinion_rows(400)
    copies = [("Nothing to add.", "pos"), ("nothing to add", "pos")] * round(
        200 * share / (1 - share)
    )
    right = []
    for number, pairs in enumerate([rows, rows + copies]):
        source = tmp_path / f"{number}.csv"
        source.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in pairs))
        run_experiment(experiment(source), tmp_path / f"run-{number}")
        table = Predictions.read(tmp_path / f"run-{number}" / "baseline" / "predictions.parquet")
        others = {
            row_id: gold == predicted
            for row_id, gold, predicted in zip(
                table.ids, table.gold or (), table.predicted, strict=True
            )
            if int(row_id) < len(rows)
        }
        assert len(table) - len(others) <= 1
        right.append(np.mean(list(others.values())))
    assert 0.7 < right[0] < 1
    assert abs(right[1] - right[0]) <= 0.02


def test_a_folder_of_something_else_is_refused(opinions: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("1")
    fails(
        RunError,
        lambda: run_experiment(experiment(opinions), tmp_path / "thesis"),
        f"Expected a new or empty folder for the run, but {tmp_path}/thesis holds something else. "
        "Name another with --out.",
    )
    assert files(tmp_path / "thesis") == ["chapter.txt"]


@pytest.mark.parametrize("inner", ["", "inner/run"])
def test_a_file_is_no_place_for_a_run(opinions: Path, inner: str) -> None:
    fails(
        RunError,
        lambda: run_experiment(experiment(opinions), opinions / inner),
        f"Expected a folder that can be written for the run, but {opinions} is a file. "
        "Name another with --out.",
    )


def test_a_crash_leaves_finished_methods_and_no_half_of_one(
    opinions: Path, tmp_path: Path, install_method: InstallMethod
) -> None:
    install_method("crash", CRASH)
    run = tmp_path / "run"
    plan = experiment(opinions, baseline={}, crash={"ready": str(tmp_path / "ready")})
    with pytest.raises(RuntimeError, match=r"^out of luck$"):
        run_experiment(plan, run)
    assert is_complete(run / "baseline")
    assert not (run / "crash").exists()
    held = json.loads((run / "report.json").read_text())
    assert list(held["methods"]) == ["baseline"]
    before = inode(run)
    (tmp_path / "ready").touch()
    report = run_experiment(plan, run)
    assert inode(run) == before
    assert [method.name for method in report.methods] == ["baseline", "crash"]
    assert report.methods[1].training == ({"step": 1, "loss": 0.5},)
    assert not (run / ".work").exists()


def test_a_run_that_came_to_nothing_leaves_no_folder(
    opinions: Path, tmp_path: Path, install_method: InstallMethod
) -> None:
    """So that the same command with its mistake mended is not refused."""
    install_method("crash", CRASH)
    plan = experiment(opinions, crash={"ready": str(tmp_path / "ready"), "started": False})
    with pytest.raises(RuntimeError, match=r"^out of luck$"):
        run_experiment(plan, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_an_interrupted_method_wrote_is_kept(
    opinions: Path, tmp_path: Path, install_method: InstallMethod
) -> None:
    install_method("crash", CRASH)
    plan = experiment(opinions, crash={"ready": str(tmp_path / "ready")})
    with pytest.raises(RuntimeError, match=r"^out of luck$"):
        run_experiment(plan, tmp_path / "run")
    assert files(tmp_path / "run") == [
        ".work/crash/plan.json",
        ".work/crash/sessions.json",
        ".work/crash/training.jsonl",
        "data.json",
        "experiment.toml",
    ]


def test_a_label_that_training_never_saw_is_refused(opinions: Path, tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    test.write_text("text,label\nso and so,mixed\nfine,pos\n")
    source = DataSource(source=str(opinions), test=str(test))
    fails(
        SplitError,
        lambda: run_experiment(Experiment(data=source, methods={"baseline": {}}), tmp_path / "run"),
        "Expected training rows of every label, but only the test part has the label 'mixed'. "
        "Add such rows, or leave the label out with --drop-label.",
    )
    assert not (tmp_path / "run").exists()


def test_a_source_of_test_rows_may_lack_a_label(opinions: Path, tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    test.write_text("text,label\nfine,pos\ndull,neg\nsuperb lovely,pos\n")
    source = DataSource(source=str(opinions), test=str(test))
    report = run_experiment(Experiment(data=source, methods={"baseline": {}}), tmp_path / "run")
    assert report.data.test_rows == 3
    assert report.data.rows == 123


def test_an_experiment_without_test_rows_is_refused(opinions: Path, tmp_path: Path) -> None:
    plan = Experiment(
        data=DataSource(source=str(opinions)),
        methods={"baseline": {}},
        split=SplitOptions(train=0.9, validation=0.1, test=0),
    )
    fails(
        OptionError,
        lambda: run_experiment(plan, tmp_path / "run"),
        "Expected test rows to judge on, but split.test is 0 and the source gives none. "
        "Raise split.test, or name a source of test rows.",
    )


@pytest.mark.parametrize("name", ["", "a/b", "..", ".x", "report.json", "data.json", "a b", "a\0"])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str) -> None:
    fails(
        OptionError,
        lambda: Experiment(data=DataSource(source="x"), methods={name: {}}),
        f"A method's name becomes a folder, and {name!r} cannot be one. "
        "Use letters, digits, - and _.",
    )


def test_the_seed_of_the_split_is_the_experiments() -> None:
    fails(
        OptionError,
        lambda: Experiment(
            data=DataSource(source="x"), methods={"a": {}}, split=SplitOptions(seed=3)
        ),
        "The experiment's seed draws the split: it is 0, but split.seed is 3. Set seed alone.",
    )


def test_the_same_experiment_has_the_same_folder() -> None:
    plain = default_folder(experiment(Path("a/re views.csv.gz")))
    assert plain == default_folder(experiment(Path("a/re views.csv.gz"), baseline={"ngrams": 3}))
    assert plain != default_folder(experiment(Path("a/re views.csv.gz"), baseline={"ngrams": 2}))
    assert re.fullmatch(r"runs/re views-[0-9a-f]{8}", str(plain))


PICKY = '''
from pydantic.dataclasses import dataclass

from pollice.errors import OptionError
from pollice.method import OPTIONS, Method
from pollice.methods.baseline import BagOfWords, Baseline


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Method):
    """Refuses in its check, or only when it is fitted."""

    predictor_type = BagOfWords

    checked: bool = True
    """Whether the check finds the mistake."""
    seed: int = 0
    """Draws nothing."""

    def check(self, train):
        if self.checked:
            raise OptionError("Expected a better option. Mend it.")

    def fit(self, train, validation, *, workdir):
        raise OptionError("Expected a better option. Mend it.")
'''


def test_a_mistake_in_the_last_method_costs_nothing(
    opinions: Path, tmp_path: Path, install_method: InstallMethod
) -> None:
    """All methods are checked before the first is fitted."""
    install_method("picky", PICKY)
    fails(
        OptionError,
        lambda: run_experiment(experiment(opinions, baseline={}, picky={}), tmp_path / "run"),
        "Expected a better option. Mend it.",
    )
    assert not (tmp_path / "run").exists()


def test_a_method_that_fails_later_does_not_keep_the_others_from_their_report(
    opinions: Path,
    tmp_path: Path,
    install_method: InstallMethod,
    caplog: pytest.LogCaptureFixture,
) -> None:
    install_method("picky", PICKY)
    plan = experiment(opinions, picky={"checked": False}, baseline={}, seed=3)
    fails(
        OptionError,
        lambda: run_experiment(plan, tmp_path / "run"),
        "Expected a better option. Mend it.",
    )
    assert caplog.messages[-1] == (
        "picky failed, the others go on: Expected a better option. Mend it."
    )
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert list(report["methods"]) == ["baseline"]
    assert report["failed"] == {"picky": "Expected a better option. Mend it."}
    told = (tmp_path / "run" / "report.md").read_text()
    assert "picky could not be fitted: Expected a better option. Mend it." in told


def test_an_older_experiment_file_without_a_newer_option_is_the_same_experiment(
    finished: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    held = (run / "experiment.toml").read_text()
    assert "canary = false\n" in held
    assert "ngrams = 3\n" in held
    (run / "experiment.toml").write_text(held.replace("ngrams = 3\n", ""))
    before = inode(run)
    run_experiment(read_experiment(tomllib.loads(held), "it"), run)
    assert inode(run) == before


FREE = '''
from pydantic import Field
from pydantic.dataclasses import dataclass

from pollice.method import NO_EFFECT, OPTIONS, Method
from pollice.methods.baseline import BagOfWords, Baseline


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Method):
    """Learns words."""

    predictor_type = BagOfWords

    batch: int = Field(default=8, json_schema_extra=NO_EFFECT)
    """Changes no result."""
    ngrams: int = 1
    """Changes the results."""
    seed: int = 0
    """Draws nothing."""

    def fit(self, train, validation, *, workdir):
        return Baseline(ngrams=self.ngrams).fit(train, validation, workdir=workdir)
'''


def test_an_option_that_changes_no_result_may_differ_in_a_folder(
    opinions: Path, tmp_path: Path, install_method: InstallMethod
) -> None:
    """The option says so itself; one that does not is another experiment."""
    install_method("free", FREE)
    run = tmp_path / "run"
    run_experiment(experiment(opinions, free={"batch": 8}), run)
    before = (run / "free" / "predictions.parquet").stat().st_mtime_ns
    run_experiment(experiment(opinions, free={"batch": 2}), run)
    assert (run / "free" / "predictions.parquet").stat().st_mtime_ns == before
    fails(
        RunError,
        lambda: run_experiment(experiment(opinions, free={"ngrams": 2}), run),
        f"{run} holds another experiment: methods.free.ngrams is 1 there and 2 here. "
        "Name another folder with --out, or delete it.",
    )


def test_what_was_read_stands_in_every_report(opinions: Path, tmp_path: Path) -> None:
    """Files, columns and rows left out, those of the test source too."""
    opinions.write_text(opinions.read_text() + "a text without a label,\n")
    test = tmp_path / "test.csv"
    test.write_text(opinions.read_text().replace("film", "movie"))
    source = DataSource(source=str(opinions), test=str(test))
    run = tmp_path / "run"
    report = run_experiment(Experiment(data=source, methods={"baseline": {}}), run)
    notes = (
        "opinions.csv: texts from the column 'text', labels from the column 'label'.",
        "test.csv: texts from the column 'text', labels from the column 'label'.",
    )
    assert (report.data.notes, report.data.dropped) == (notes, {"no label": 2})
    held = json.loads((run / "report.json").read_text())["data"]
    assert (held["notes"], held["dropped"]) == ([*notes], {"no label": 2})
    for name in ("report.html", "report.md"):
        assert "How the data were read" in (run / name).read_text()


def test_a_folder_of_a_version_that_kept_no_notes_goes_on(opinions: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run_experiment(experiment(opinions), run)
    facts = json.loads((run / "data.json").read_text())
    del facts["notes"]
    (run / "data.json").write_text(json.dumps(facts | {"dropped": {"no label": 5}}))
    assert run_experiment(experiment(opinions), run).data.dropped == {}
