"""Folders that are whole or not there."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pollice import storage
from pollice.data import Dataset
from pollice.errors import RunError
from pollice.method import create_method
from pollice.prediction import Predictor

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


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    with storage.new_folder(tmp_path / "deep" / "new") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "a").write_text("1")
        assert not (tmp_path / "deep" / "new").exists()
    assert (tmp_path / "deep" / "new" / "inner" / "a").read_text() == "1"
    assert names(tmp_path / "deep") == ["new"]


def interrupted(folder: Path) -> None:
    with storage.new_folder(folder) as temporary:
        (temporary / "a").write_text("1")
        raise KeyboardInterrupt


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "new")
    assert names(tmp_path) == []


def test_a_block_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    with storage.new_folder(tmp_path / "new") as temporary:
        (temporary / "old").write_text("1")
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "new")
    assert names(tmp_path) == ["new"]
    assert names(tmp_path / "new") == ["old"]


def test_a_new_folder_replaces_the_whole_old_one(tmp_path: Path) -> None:
    for name in ("old", "young"):
        with storage.new_folder(tmp_path / "new") as temporary:
            (temporary / name).write_text("1")
    assert names(tmp_path) == ["new"]
    assert names(tmp_path / "new") == ["young"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise ValueError("inside")

    with pytest.raises(ValueError, match=r"^inside$"):
        storage.write_atomically(path, fail)
    assert names(tmp_path / "deep") == []
    storage.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match=r"^inside$"):
        storage.write_atomically(path, fail)
    assert json.loads(path.read_text()) == {"a": 1}
    assert names(tmp_path / "deep") == ["a.json"]


def test_a_manifest_names_every_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(b"abc")
    storage.write_manifest(tmp_path, {"name": "x"})
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert storage.read_manifest(tmp_path) == {
        "name": "x",
        "files": {"inner/a": {"bytes": 3, "sha256": abc}},
    }
    assert storage.is_complete(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    storage.write_manifest(tmp_path, {})
    (tmp_path / "a").unlink()
    fails(
        lambda: storage.read_manifest(tmp_path),
        f"{tmp_path}/a should have 3 bytes by its manifest, but is missing. Save or copy it again.",
    )


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    storage.write_manifest(tmp_path, {})
    (tmp_path / "a").write_bytes(b"ab")
    fails(
        lambda: storage.read_manifest(tmp_path),
        f"{tmp_path}/a should have 3 bytes by its manifest, but has 2. Save or copy it again.",
    )


def test_a_folder_without_its_manifest_is_not_a_result(tmp_path: Path) -> None:
    fails(
        lambda: storage.load_predictor(tmp_path),
        f"Expected a complete folder with a manifest.json, but {tmp_path} has none. "
        "Name a folder that pollice saved, such as runs/NAME/METHOD/predictor.",
    )
    assert not storage.is_complete(tmp_path)


@pytest.mark.parametrize("content", ["{", '{"version": 3}', "[]", '"a"'])
def test_a_manifest_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    fails(
        lambda: storage.load_predictor(tmp_path),
        f"Expected a manifest that pollice wrote, but {tmp_path}/manifest.json is damaged or of "
        "something else. Name a folder that pollice saved, such as runs/NAME/METHOD/predictor.",
    )


def test_a_folder_of_a_run_is_not_a_predictor(tmp_path: Path) -> None:
    storage.write_manifest(tmp_path, {"name": "baseline", "method": "baseline"})
    fails(
        lambda: storage.load_predictor(tmp_path),
        f"Expected a predictor's folder, but {tmp_path} is another folder of pollice. "
        "Name a folder such as runs/NAME/METHOD/predictor.",
    )


def test_a_saved_predictor_gives_the_same_numbers(tmp_path: Path, predictor: Predictor) -> None:
    folder = tmp_path / "saved"
    storage.save_predictor(predictor, folder, method="baseline", options={"ngrams": 2})
    again = storage.load_predictor(folder)
    assert again.label_names == ("neg", "pos")
    assert np.array_equal(again.predict_proba(TEXTS), predictor.predict_proba(TEXTS))
    manifest = storage.read_manifest(folder)
    assert manifest["method"] == "baseline"
    assert manifest["options"] == {"ngrams": 2}
    assert manifest["label_names"] == ["neg", "pos"]


def test_a_predictor_is_saved_wholly_or_not_at_all(tmp_path: Path, predictor: Predictor) -> None:
    folder = tmp_path / "saved"
    with pytest.raises(TypeError):
        storage.save_predictor(predictor, folder, method="baseline", options={"a": object()})
    assert not folder.exists()
    assert names(tmp_path) == []
