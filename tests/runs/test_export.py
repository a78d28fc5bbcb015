"""An export is kept if it judges as the predictor does, and leaves nothing otherwise."""

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pollice.data.reading import ReadOptions
from pollice.errors import ExportError, RunError
from pollice.methods import create_method
from pollice.models.exported.classifier import ExportedClassifier
from pollice.models.exported.forms import FORMS
from pollice.models.exporting.convert import ways_to_write, write_form
from pollice.models.exporting.graph import open_exportable
from pollice.predictions.predictor import Predictor
from pollice.runs.export_texts import ExportTexts, texts_of_file, texts_of_run
from pollice.runs.exporting import check_format, check_place, export_predictor
from pollice.runs.gate import Figures, judge_neighbours, measure_rates, refusals
from pollice.runs.predictors import load_predictor, save_predictor
from pollice.runs.rejudging import check_afresh
from pollice.system.folders import read_manifest, write_manifest
from stand_in_hub import serving_hub
from tiny import opinions, tiny_causal, tiny_encoder
from tuning import tuned

ROWS = opinions(120)
TRAIN, VALIDATION = ROWS.take(range(80)), ROWS.take(range(80, 120))
TEXTS = ExportTexts(
    calibration=TRAIN.texts, validation=VALIDATION.texts, gold=VALIDATION.labels, said="40 rows"
)
FINE = Figures(
    rows=100,
    largest_difference=1e-6,
    same_labels=1.0,
    neighboured=64,
    moved_labels=0,
    largest_move=1e-7,
    accuracy_before=0.9,
    accuracy=0.9,
    ece_before=0.05,
    ece=0.05,
)
WITHOUT_TORCH = """
import sys
from importlib.abc import MetaPathFinder
class Blocked(MetaPathFinder):
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
from pollice.cli.commands import main
sys.argv = ["pollice", "predict", *sys.argv[1:]]
main()
"""
SIGNALLED = """
import os, signal, sys
from pathlib import Path
from pollice.runs.predictors import load_predictor
loaded = [load_predictor(Path(sys.argv[1])) for _ in range(2)]
while loaded:
    loaded.pop(0)
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGTERM)
"""


def fails(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ExportError, match=f"^{re.escape(sentence)}$"):
        call()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a tiny frozen encoder under a head, in float32."""
    home = tmp_path_factory.mktemp("saved")
    checkpoint = tiny_encoder(home / "checkpoint", "bert")
    options = {"checkpoint": str(checkpoint), "dtype": "float32", "max_tokens": 64}
    method = create_method("features", options)
    predictor = method.fit(TRAIN, VALIDATION, workdir=home)
    save_predictor(predictor, home / "predictor", method="features", options=options)
    return home / "predictor"


@pytest.fixture(scope="module")
def exported(saved: Path) -> Path:
    output = saved.parent / "exported"
    export_predictor(saved, output, TEXTS, format_name="openvino")
    return output


def test_an_export_is_a_predictor_with_the_same_answers(saved: Path, exported: Path) -> None:
    before, after = load_predictor(saved), load_predictor(exported)
    assert after.label_names == before.label_names
    assert after.parameters == before.parameters
    texts = (*VALIDATION.texts, "", "wonderful " * 200)
    expected, found = before.score(texts), after.score(texts)
    assert np.abs(found.probabilities - expected.probabilities).max() < 1e-4
    assert found.tokens.tolist() == expected.tokens.tolist()
    assert found.truncated.tolist() == expected.truncated.tolist()
    manifest = read_manifest(exported)
    assert (manifest["form"], manifest["method"]) == ("openvino", "features")
    assert manifest["gate"]["moved_labels"] == 0
    assert manifest["gate"]["largest_difference"] < 1e-4


def test_an_export_predicts_where_there_is_no_torch(exported: Path, tmp_path: Path) -> None:
    lines = "\n".join(
        f"{text},{label}" for text, label in zip(TRAIN.texts, TRAIN.labels, strict=True)
    )
    (tmp_path / "in.csv").write_text(f"text,label\n{lines}\n")
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(exported), "in.csv", "-o", "out.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    expected = load_predictor(exported).predict_proba(TRAIN.texts).argmax(axis=1)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        found = [row["label"] for row in csv.DictReader(file)]
    assert found == [TRAIN.label_names[column] for column in expected]


def test_a_signal_is_handled_after_forms_are_let_go(exported: Path) -> None:
    """Of OpenVINO's cores, each lends the thread a stack for signals where there is AMX."""
    ended = subprocess.run(
        [sys.executable, "-c", SIGNALLED, exported], check=True, capture_output=True, text=True
    )
    assert ended.stdout == "handled\n"


def test_an_export_of_a_trained_classifier_by_onnx_runtime(tmp_path: Path) -> None:
    checkpoint = tiny_encoder(tmp_path / "checkpoint", "modernbert")
    options = {"checkpoint": str(checkpoint), "dtype": "float32", "max_tokens": 40, "epochs": 1}
    predictor = create_method("finetune", {**options, "long_text": "chunks"}).fit(
        TRAIN, VALIDATION, workdir=tmp_path
    )
    save_predictor(predictor, tmp_path / "p", method="finetune", options=options)
    found = export_predictor(tmp_path / "p", tmp_path / "new", TEXTS, format_name="onnx")
    assert found.figures is not None
    assert found.figures.largest_difference < 1e-4
    texts = ("bad film " * 60, *VALIDATION.texts)
    after = load_predictor(tmp_path / "new").predict_proba(texts)
    assert np.abs(after - predictor.predict_proba(texts)).max() < 1e-4


def test_an_exported_predictor_can_be_saved_again(exported: Path, tmp_path: Path) -> None:
    predictor = load_predictor(exported)
    predictor.save(tmp_path)
    write_manifest(
        tmp_path,
        {"method": "features", "form": "openvino", "label_names": list(predictor.label_names)},
    )
    again = load_predictor(tmp_path)
    assert np.array_equal(again.predict_proba(TRAIN.texts), predictor.predict_proba(TRAIN.texts))


def test_a_form_of_a_newer_version_is_refused(exported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(exported, tmp_path / "copy")
    manifest = {**read_manifest(folder), "form": "brain"}
    write_manifest(folder, {name: value for name, value in manifest.items() if name != "files"})
    sentence = (
        f"Expected a predictor of a method that is installed, but {folder} was saved by "
        f"{manifest['method']!r} in the form 'brain'. Install the package that has it, or name "
        "another folder."
    )
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        load_predictor(folder)


def test_labels_that_depend_on_neighbours_are_found() -> None:
    def honest(tokens: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        first = np.array([row[0] / 100 for row in tokens])
        return np.stack([first, 1 - first], axis=1)

    def scaled_together(tokens: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        values = np.array([row[0] for row in tokens], np.float64)
        first = np.where(values > values.mean(), 0.9, 0.1)
        return np.stack([first, 1 - first], axis=1)

    rows = [[number] for number in range(1, 60)]
    assert judge_neighbours(honest, rows) == (0, 0.0)
    moved, largest = judge_neighbours(scaled_together, rows)
    assert moved > 0
    assert largest > 0.01


def test_a_good_form_is_accepted() -> None:
    assert refusals(FINE, quantized=True) == []
    assert refusals(FINE, quantized=False) == []


@pytest.mark.parametrize(
    ("changed", "quantized", "clause"),
    [
        ({"largest_difference": 2e-4}, False, "a probability differs by 0.0002 (at most 0.0001)"),
        (
            {"largest_difference": float("nan")},
            False,
            "a probability differs by nan (at most 0.0001)",
        ),
        ({"same_labels": 0.98}, True, "98.0% of 100 labels are the same (at least 99%)"),
        (
            {"moved_labels": 2, "largest_move": 0.25},
            True,
            "2 of 64 texts get another label in a batch than alone (none may; a probability moves "
            "by up to 0.25)",
        ),
        (
            {"accuracy": 0.89},
            True,
            "the accuracy falls from 0.900 to 0.890 (by at most 0.005)",
        ),
        ({"ece": 0.07}, True, "the calibration error rises from 0.050 to 0.070 (by at most 0.01)"),
    ],
)
def test_each_fault_refuses_with_its_figure(
    changed: dict[str, Any], quantized: bool, clause: str
) -> None:
    assert refusals(replace(FINE, **changed), quantized=quantized) == [clause]


def test_a_form_in_8_bits_may_differ_from_float32() -> None:
    assert refusals(replace(FINE, largest_difference=0.1), quantized=True) == []


def test_a_refused_form_leaves_nothing(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here every form is refused, since no share of labels can be so high."""
    monkeypatch.setattr("pollice.runs.gate.LEAST_SAME_LABELS", 1.1)
    with pytest.raises(ExportError) as refused:
        export_predictor(saved, tmp_path / "new", TEXTS, format_name="onnx-int8")
    assert re.fullmatch(
        r"Expected onnx-int8 to judge as the predictor does, but [\d.]+% of 40 labels are the same "
        r"\(at least 110%\).*\. Name another form\.",
        str(refused.value),
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", [0, 1])
def test_a_row_in_8_bits_by_openvino_does_not_depend_on_its_batch(
    saved: Path, tmp_path: Path, way: int
) -> None:
    form = FORMS["openvino-int8"]
    assert ways_to_write(form) == 2
    write_form(open_exportable(saved, load_predictor(saved)), form, tmp_path, TRAIN.texts, way=way)
    loaded = ExportedClassifier.load(tmp_path)
    moved, largest = judge_neighbours(loaded.judge_batch, loaded.read(VALIDATION.texts).tokens)
    assert moved == 0
    assert largest < 1e-3


def test_a_predictor_that_changes_on_the_way_is_refused(exported: Path) -> None:
    shown = VALIDATION.texts[:8]
    expected = load_predictor(exported).predict_proba(shown)
    check_afresh(exported, shown, expected, tolerance=1e-6, without_torch=True)
    sentence = (
        r"Expected the saved predictor to give the same answers in a new process, but 8 of 8 "
        r"labels differ, and a probability by [\d.]+ \(at most 1e-06\)\. Save it again, or in "
        r"another form\."
    )
    with pytest.raises(RunError, match=f"^{sentence}$"):
        check_afresh(exported, shown, expected[:, ::-1], tolerance=1e-6)


def test_a_predictor_that_needs_torch_is_refused_where_it_may_not(saved: Path) -> None:
    with pytest.raises(
        RunError,
        match=r"^Expected the saved predictor to judge in a new process, but it cannot \(.*torch",
    ):
        check_afresh(saved, ("a",), np.ones((1, 2)), tolerance=1.0, without_torch=True)


def test_a_method_says_which_forms_it_has(saved: Path, tmp_path: Path) -> None:
    fails(
        lambda: check_format(saved, "merged"),
        "Expected a form that the method features has, but it has no merged. Its forms are: auto, "
        "onnx, onnx-int8, openvino, openvino-int8, same.",
    )
    write_manifest(tmp_path, {"method": "lora", "label_names": []})
    fails(
        lambda: check_format(tmp_path, "onnx"),
        "Expected a form that the method lora has, but it has no onnx. Its forms are: auto, "
        "merged, same.",
    )


def test_an_output_that_exists_is_kept(saved: Path, tmp_path: Path) -> None:
    fails(
        lambda: check_place(saved, tmp_path, overwrite=False),
        f"Expected a new folder for the export, but {tmp_path} exists. Name another folder, or add "
        "--overwrite.",
    )
    fails(
        lambda: check_place(saved, tmp_path, overwrite=True),
        f"Expected a new folder for the export, but {tmp_path} is no predictor. Name another "
        "folder.",
    )
    fails(
        lambda: check_place(saved, saved / "new", overwrite=True),
        f"Expected an output besides the predictor, but {saved / 'new'} lies in {saved}. Name "
        "another folder.",
    )
    write_manifest(tmp_path, {})
    check_place(saved, tmp_path, overwrite=True)


def test_merged_weights_of_a_tuned_model_answer_alike(tmp_path: Path) -> None:
    scorer = tuned(tiny_causal(tmp_path / "base", "llama"), tmp_path / "work", epochs=1)
    save_predictor(scorer, tmp_path / "p", method="lora", options={"checkpoint": "base"})
    found = export_predictor(tmp_path / "p", tmp_path / "new", TEXTS, format_name="auto")
    assert found.form == "merged"
    assert not (tmp_path / "new" / "adapter").exists()
    after = load_predictor(tmp_path / "new").predict_proba(VALIDATION.texts)
    assert np.abs(after - scorer.predict_proba(VALIDATION.texts)).max() < 1e-4


def test_rates_are_of_predictors_that_take_turns() -> None:
    turns: list[str] = []

    class Noted(Predictor):
        label_names = ("a", "b")

        def __init__(self, name: str) -> None:
            self.name = name

        def score(self, texts: Sequence[str]):  # type: ignore[no-untyped-def]
            turns.append(self.name)

        def save(self, folder: Path) -> None: ...

        @classmethod
        def load(cls, folder: Path) -> "Noted":
            return cls("")

    rates = measure_rates({"x": Noted("x"), "y": Noted("y")}, ("a",) * 40, rounds=3)
    assert turns == ["x", "y"] * 4
    assert set(rates) == {"x", "y"}


def test_texts_of_a_file_are_halved(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    rows = [*zip(ROWS.texts, ROWS.labels, strict=True)]
    path.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    found = texts_of_file(str(path), options=ReadOptions(), label_names=ROWS.label_names)
    assert (len(found.calibration), len(found.validation)) == (60, 60)
    assert found.gold is not None
    assert set(zip(found.validation, found.gold, strict=True)) <= set(rows)
    path.write_text("text\n" + "".join(f"a{row}\n" for row in range(12)))
    fails(
        lambda: texts_of_file(str(path), options=ReadOptions(), label_names=()),
        f"Expected at least 20 texts to judge an export by, but {path} has 12. Name a larger file "
        "with --texts.",
    )


def test_a_predictor_outside_a_run_needs_texts(saved: Path) -> None:
    fails(
        lambda: texts_of_run(saved),
        f"Expected texts to judge an export by, but {saved} lies in no run whose data could be "
        "read again. Name a file with --texts.",
    )


def test_the_texts_of_a_run_are_its_own(finished: Path) -> None:
    found = texts_of_run(finished / "baseline" / "predictor")
    assert found.gold is not None
    assert len(found.gold) == len(found.validation) >= 10
    assert not set(found.calibration) & set(found.validation)


def test_any_predictor_is_uploaded_with_its_card(
    finished: Path, invoke: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_hub(monkeypatch) as hub:
        code, output, error = invoke(
            "export",
            str(finished / "baseline"),
            "--format",
            "same",
            "-o",
            "copy",
            "--push-to-hub",
            "someone/opinions",
        )
        assert code == 0, error
        assert {"README.md", "manifest.json"} <= set(hub.files)
        card = hub.files["README.md"].decode()
    assert output.endswith("Uploaded: someone/opinions\n")
    assert "method `baseline`, form: as it was saved" in card
    assert "Source: data.csv. Training rows" in card
    assert re.search(r"accuracy 0\.\d{3}, 95 % interval \[0\.\d{3}, [01]\.\d{3}\]", card)
    assert str(finished.parent) not in card
    assert set(hub.files) == set()


def test_a_refusal_on_the_command_line_ends_in_2(
    finished: Path, invoke: Callable[..., tuple[int, str, str]]
) -> None:
    code, output, error = invoke("export", str(finished / "baseline"), "-o", "new")
    assert (code, output) == (2, "")
    assert error == (
        "Error: Expected a form that the method baseline has, but it has no auto. Its forms are: "
        "same.\n"
    )
