"""Predictors as folders."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pollice.data.dataset import Dataset
from pollice.errors import RunError
from pollice.methods import create_method
from pollice.predictions.predictor import Predictor
from pollice.runs import predictors
from pollice.system.folders import is_complete, read_manifest, write_manifest

TEXTS = ("good fine", "bad dull", "fine plot", "dull plot")


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    labels = ("pos", "neg", "pos", "neg")
    train = Dataset(ids=TEXTS, texts=TEXTS, labels=labels, label_names=("neg", "pos"))
    return create_method("baseline", {}).fit(train, train.take([]), workdir=tmp_path)


def fails(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        call()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_without_its_manifest_is_not_a_result(tmp_path: Path) -> None:
    fails(
        lambda: predictors.load_predictor(tmp_path),
        f"Expected a complete folder with a manifest.json, but {tmp_path} has none. "
        "Name a folder that pollice saved, such as runs/NAME/METHOD/predictor.",
    )
    assert not is_complete(tmp_path)


@pytest.mark.parametrize("content", ["{", '{"version": 3}', "[]", '"a"'])
def test_a_manifest_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    fails(
        lambda: predictors.load_predictor(tmp_path),
        f"Expected a manifest that pollice wrote, but {tmp_path}/manifest.json is damaged or of "
        "something else. Name a folder that pollice saved, such as runs/NAME/METHOD/predictor.",
    )


def test_a_folder_of_a_run_is_not_a_predictor(tmp_path: Path) -> None:
    write_manifest(tmp_path, {"name": "baseline", "method": "baseline"})
    fails(
        lambda: predictors.load_predictor(tmp_path),
        f"Expected a predictor's folder, but {tmp_path} is another folder of pollice. "
        "Name a folder such as runs/NAME/METHOD/predictor.",
    )


def test_a_saved_predictor_gives_the_same_numbers(tmp_path: Path, predictor: Predictor) -> None:
    folder = tmp_path / "saved"
    predictors.save_predictor(predictor, folder, method="baseline", options={"ngrams": 2})
    again = predictors.load_predictor(folder)
    assert again.label_names == ("neg", "pos")
    assert np.array_equal(again.predict_proba(TEXTS), predictor.predict_proba(TEXTS))
    manifest = read_manifest(folder)
    assert manifest["method"] == "baseline"
    assert manifest["options"] == {"ngrams": 2}
    assert manifest["label_names"] == ["neg", "pos"]


def test_a_predictor_is_saved_wholly_or_not_at_all(tmp_path: Path, predictor: Predictor) -> None:
    folder = tmp_path / "saved"
    with pytest.raises(TypeError):
        predictors.save_predictor(predictor, folder, method="baseline", options={"a": object()})
    assert not folder.exists()
    assert names(tmp_path) == []
