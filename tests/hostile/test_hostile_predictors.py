"""Predictors that were changed since they were saved: refused in one sentence, by file."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from conftest import Invoke
from foreign_code import change
from pollice.errors import UserError
from pollice.methods import create_method
from pollice.runs.experiment import DataSource, Experiment
from pollice.runs.predictors import load_predictor, save_predictor
from pollice.runs.run import run_experiment
from pollice.system.folders import keep_folder, write_manifest
from tiny import opinions as drawn_opinions
from tiny import tiny_encoder

SAVED = Path(__file__).parent.parent / "saved" / "run"
METHODS = ("baseline", "features", "finetune", "lora", "nli", "prompt", "trainer")
MANIFEST = "manifest.json"
DAMAGED = "^Expected a manifest that pollice wrote, but .*manifest.json is damaged or of something"


def files_of(method: str) -> list[str]:
    """Return the files of a saved predictor that it is read from."""
    folder = SAVED / method / "predictor"
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    )


FILES = [(method, name) for method in METHODS for name in files_of(method)]


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], Path]:
    """Copy a predictor that was saved before, to be spoiled."""

    def copy(method: str) -> Path:
        source = SAVED / method / "predictor"
        return Path(shutil.copytree(source, tmp_path / "predictor"))

    return copy


def reseal(folder: Path) -> None:
    """Write a manifest that fits what was changed, as somebody who wishes us ill would."""
    told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    write_manifest(folder, {key: value for key, value in told.items() if key != "files"})


def refused(folder: Path, said: str) -> None:
    """Expect an error of one line that exits with 2 and says so."""
    with pytest.raises(UserError) as caught:
        load_predictor(folder)
    sentence = str(caught.value)
    assert re.search(said, sentence), sentence
    assert len(sentence.splitlines()) == 1
    assert sentence.endswith(".")
    assert len(sentence) < 1_000 + 2 * len(str(folder))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("method", "name"), FILES)
def test_a_flipped_bit_is_said_by_file(
    saved: Callable[[str], Path], method: str, name: str
) -> None:
    """Of every file that any predictor is read from, at equal size."""
    folder = saved(method)
    path = folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x80
    path.write_bytes(content)
    refused(folder, f"^{re.escape(str(path))} was changed since it was saved: its sha256 should")


def test_a_file_that_is_changed_after_it_was_checked_is_checked_again(
    saved: Callable[[str], Path],
) -> None:
    folder = saved("baseline")
    assert load_predictor(folder)
    path = folder / "vocabulary.json"
    path.write_bytes(path.read_bytes().replace(b'"great', b'"grumm', 1))
    refused(folder, "vocabulary.json was changed since it was saved")


def with_manifest(folder: Path, **entries: Any) -> None:
    change(folder / MANIFEST, **entries)


def deep_json() -> str:
    return '{"files": ' + "[" * 150_000 + "]" * 150_000 + "}"


def listed(folder: Path, name: str) -> None:
    files = json.loads((folder / MANIFEST).read_text())["files"]
    with_manifest(folder, files={**files, name: {"bytes": 1, "sha256": "0" * 64}})


MANIFESTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "files as a list": (lambda folder: with_manifest(folder, files=[]), DAMAGED),
    "files as a number": (lambda folder: with_manifest(folder, files=3), DAMAGED),
    "no files": (lambda folder: with_manifest(folder, files={}), "was added since"),
    "sizes without hashes": (
        lambda folder: with_manifest(folder, files={"vocabulary.json": {"bytes": 2098}}),
        f"{DAMAGED}|should have 2098 bytes",
    ),
    "no method": (lambda folder: with_manifest(folder, method=None), "was saved by None"),
    "a method as a list": (
        lambda folder: with_manifest(folder, method=["baseline"]),
        r"was saved by \['baseline'\]",
    ),
    "a method of 5,000 letters": (
        lambda folder: with_manifest(folder, method="m" * 5_000),
        r"was saved by 'm{59}\.\.\.",
    ),
    "a method that is a path": (
        lambda folder: with_manifest(folder, method="../../os"),
        "was saved by '../../os'",
    ),
    "another method": (
        lambda folder: with_manifest(folder, method="features"),
        "^Expected a table of JSON that pollice saved in .*classifier.json, but there is no such",
    ),
    "JSON too deep": (lambda folder: (folder / MANIFEST).write_text(deep_json()), DAMAGED),
    "random bytes": (
        lambda folder: (folder / MANIFEST).write_bytes(bytes(range(256))),
        DAMAGED,
    ),
    "a file of 5,000 letters": (lambda folder: listed(folder, "n" * 5_000), DAMAGED),
    "a file outside": (lambda folder: listed(folder, "../x"), "which leads out of it"),
    "no labels": (
        lambda folder: with_manifest(folder, label_names=[]),
        r"^Expected the labels that .*manifest.json names \(\[\]\)",
    ),
    "labels as a number": (
        lambda folder: with_manifest(folder, label_names=3),
        r"^Expected the labels that .*manifest.json names \(3\)",
    ),
    "other labels": (
        lambda folder: with_manifest(folder, label_names=["positive", "negative"]),
        r"^Expected the labels that .*manifest.json names \(\['positive', 'negative'\]\)",
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_broken_manifest_is_refused(saved: Callable[[str], Path], case: str) -> None:
    folder = saved("baseline")
    spoil, said = MANIFESTS[case]
    spoil(folder)
    refused(folder, said)


@pytest.mark.parametrize("case", ["files as a list", "JSON too deep", "a file of 5,000 letters"])
def test_predict_says_a_broken_manifest(
    saved: Callable[[str], Path], invoke: Invoke, opinions: Path, case: str
) -> None:
    folder = saved("baseline")
    MANIFESTS[case][0](folder)
    code, output, error = invoke("predict", str(folder), str(opinions), "-o", "out.csv")
    assert (code, output) == (2, "")
    assert "Traceback" not in error
    assert not Path("out.csv").exists()


def swapped(path: Path) -> None:
    """Swap the label names of a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(path, label_names=content["label_names"][::-1])


def arrays(path: Path, **changed: Callable[[Any], Any]) -> None:
    content = load_file(path)
    changes = {name: np.ascontiguousarray(turn(content[name])) for name, turn in changed.items()}
    save_file({**content, **changes}, path)


def nan_in(array: Any) -> Any:
    return np.full_like(array, np.nan)


def swapped_ids(folder: Path) -> None:
    path = folder / "checkpoint" / "config.json"
    names = json.loads(path.read_text())["id2label"]
    change(path, id2label=dict(zip(names, reversed(list(names.values())), strict=True)))


def set_answers(folder: Path, name: str, value: Any) -> None:
    path = folder / "prompt.json"
    content = json.loads(path.read_text())
    content["pieces"][name] = value
    path.write_text(json.dumps(content))


RESEALED: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "names swapped in the vocabulary": (
        "baseline",
        lambda folder: swapped(folder / "vocabulary.json"),
        "^Expected the labels that .*manifest.json names",
    ),
    "names swapped beside vectors": (
        "features",
        lambda folder: swapped(folder / "classifier.json"),
        "^Expected the labels that .*manifest.json names",
    ),
    "names swapped beside a head": (
        "finetune",
        lambda folder: swapped(folder / "classifier.json"),
        "^Expected the labels .* in the order of classifier.json in .*config.json, but id2label",
    ),
    "names swapped in a head": (
        "trainer",
        swapped_ids,
        "^Expected the labels .* in the order of classifier.json in .*config.json, but id2label",
    ),
    "names swapped in a prompt": (
        "prompt",
        lambda folder: swapped(folder / "prompt.json"),
        "^Expected the labels that .*manifest.json names",
    ),
    "names swapped beside hypotheses": (
        "nli",
        lambda folder: swapped(folder / "entailment.json"),
        "^Expected the labels that .*manifest.json names",
    ),
    "names twice": (
        "baseline",
        lambda folder: change(folder / "vocabulary.json", label_names=["a", "a"]),
        "^Expected different label names in ",
    ),
    "one name less": (
        "baseline",
        lambda folder: change(folder / "vocabulary.json", label_names=["negative"]),
        r"^Expected weight of the shape \(\d+, 1\) in .*head.safetensors",
    ),
    "terms as text": (
        "baseline",
        lambda folder: change(folder / "vocabulary.json", terms="abc"),
        "^Expected a list of different terms in ",
    ),
    "one term less": (
        "baseline",
        lambda folder: change(folder / "vocabulary.json", terms=["great"]),
        "^Expected 1 numbers in idf, one for each term in ",
    ),
    "n-grams as text": (
        "baseline",
        lambda folder: change(folder / "vocabulary.json", ngrams="two"),
        "^Expected a predictor that can be used in ",
    ),
    "a vocabulary of random bytes": (
        "baseline",
        lambda folder: (folder / "vocabulary.json").write_bytes(bytes(range(256))),
        "^Expected a table of JSON that pollice saved in .*vocabulary.json, but it cannot be read",
    ),
    "a vocabulary too deep": (
        "baseline",
        lambda folder: (folder / "vocabulary.json").write_text(deep_json()),
        "^Expected a table of JSON that pollice saved in .*vocabulary.json, but it cannot be read",
    ),
    "a head of random bytes": (
        "baseline",
        lambda folder: (folder / "head.safetensors").write_bytes(bytes(range(256))),
        "^Expected arrays that pollice saved as safetensors in .*head.safetensors, but it cannot",
    ),
    "a head of NaN": (
        "baseline",
        lambda folder: arrays(folder / "head.safetensors", weight=nan_in),
        "^Expected finite numbers in .*head.safetensors, but weight holds NaN or infinity",
    ),
    "a head of infinity": (
        "features",
        lambda folder: arrays(folder / "head.safetensors", bias=lambda bias: bias + np.inf),
        "^Expected finite numbers in .*head.safetensors, but bias holds NaN or infinity",
    ),
    "a scale of 0": (
        "features",
        lambda folder: arrays(folder / "head.safetensors", scale=lambda scale: scale * 0),
        "^Expected scales other than 0 in .*head.safetensors",
    ),
    "a head of other vectors": (
        "features",
        lambda folder: arrays(folder / "head.safetensors", mean=lambda mean: mean[:-1]),
        r"^Expected mean of the shape \(32,\) in .*head.safetensors, but its shape is \(31,\)",
    ),
    "a head without its bias": (
        "features",
        lambda folder: save_file({"a": np.zeros(1)}, folder / "head.safetensors"),
        "^Expected arrays that pollice saved as safetensors in .*head.safetensors, but it has no",
    ),
    "unknown settings": (
        "features",
        lambda folder: change(folder / "classifier.json", settings={"a": 1}),
        "^Expected a predictor that can be used in ",
    ),
    "settings as a list": (
        "finetune",
        lambda folder: change(folder / "classifier.json", settings=[1]),
        "^Expected a predictor that can be used in ",
    ),
    "another prompt": (
        "prompt",
        lambda folder: set_answers(folder, "prefix", [1, 2, 3]),
        "^Expected the prompt of its sha256 in .*prompt.json, but another one stands there",
    ),
    "a prompt without questions": (
        "prompt",
        lambda folder: set_answers(folder, "endings", 3),
        "^Expected a prompt as tokens in .*prompt.json",
    ),
    "a calibration of NaN": (
        "prompt",
        lambda folder: arrays(folder / "calibration.safetensors", shift=nan_in),
        "^Expected finite numbers in .*calibration.safetensors, but shift holds NaN",
    ),
    "a calibration of other labels": (
        "prompt",
        lambda folder: arrays(folder / "calibration.safetensors", shift=lambda s: s[:, :1].T),
        "^Expected a calibration of 2 labels and ",
    ),
    "a step that is not there": (
        "nli",
        lambda folder: change(folder / "calibration.json", step="nothing"),
        "^Expected a calibration of 2 labels and 1 questions in .*calibration.safetensors",
    ),
    "one hypothesis less": (
        "nli",
        lambda folder: change(folder / "entailment.json", hypotheses=["It is good."]),
        "^Expected a calibration of 2 labels and 1 questions in ",
    ),
    "a base of another hash": (
        "lora",
        lambda folder: change(folder / "adapter" / "base.json", sha256="0"),
        "^The adapter in .* was trained on weights with sha256 0, but ",
    ),
    "an adapter without its base's hash": (
        "lora",
        lambda folder: (folder / "adapter" / "base.json").write_text("{"),
        "^Expected a table of JSON that pollice saved in .*base.json, but it cannot be read as one",
    ),
    "no facts": (
        "lora",
        lambda folder: (folder / "tuned.json").write_text("[]"),
        "^Expected a table of JSON that pollice saved in .*tuned.json, but it holds a list",
    ),
    "fewer layers": (
        "finetune",
        lambda folder: change(folder / "checkpoint" / "config.json", num_hidden_layers=1),
        "^Expected a model of all the layers that the checkpoint ",
    ),
}


@pytest.mark.parametrize("case", RESEALED)
def test_what_does_not_fit_together_is_refused(saved: Callable[[str], Path], case: str) -> None:
    """Also where the manifest was written anew, so that every hash is right."""
    method, spoil, said = RESEALED[case]
    folder = saved(method)
    spoil(folder)
    reseal(folder)
    refused(folder, said)


@pytest.mark.parametrize("name", ["theirs.py", "adapter_config.json", "checkpoint/x.safetensors"])
def test_a_file_that_was_added_is_said(saved: Callable[[str], Path], name: str) -> None:
    folder = saved("features")
    (folder / name).write_text("{}")
    refused(folder, f"^Expected the files that were saved in .*, but '{name}' was added since")


def test_what_a_file_browser_leaves_is_no_fault(saved: Callable[[str], Path]) -> None:
    folder = saved("baseline")
    for name in (".DS_Store", "Thumbs.db", "notes.md"):
        (folder / name).write_text("x")
    assert load_predictor(folder)


def test_a_saved_predictor_is_its_own(tmp_path: Path) -> None:
    """The checkpoint that it came from may be overwritten in place: no answer changes."""
    checkpoint = tiny_encoder(tmp_path / "encoder", "bert")
    (checkpoint / "theirs.py").write_text("x")
    rows = drawn_opinions(24)
    method = create_method("features", {"checkpoint": str(checkpoint), "device": "cpu"})
    predictor = method.fit(rows, rows.take([]), workdir=tmp_path)
    save_predictor(predictor, tmp_path / "saved", method="features", options={})
    expected = load_predictor(tmp_path / "saved").predict_proba(rows.texts)
    for path in sorted(checkpoint.iterdir()):
        path.write_bytes(bytes(path.stat().st_size))
    found = load_predictor(tmp_path / "saved").predict_proba(rows.texts)
    np.testing.assert_array_equal(found, expected)
    kept = {path.name for path in (tmp_path / "saved" / "checkpoint").iterdir()}
    assert kept == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    files = [path for path in (tmp_path / "saved").rglob("*") if path.is_file()]
    assert {path.stat().st_nlink for path in files} == {1}


@pytest.mark.parametrize("name", ["predictions.parquet", "cost.json", "predictor/vocabulary.json"])
def test_a_finished_run_is_checked_before_it_is_taken(
    finished: Path, tmp_path: Path, name: str
) -> None:
    home = Path(shutil.copytree(finished.parent, tmp_path / "home"))
    path = home / "run" / "words" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    methods = {"baseline": {}, "words": {"method": "baseline", "ngrams": 1}}
    # By the name that the run was begun with: its data are the same.
    data = DataSource(source=str(finished.parent / "data.csv"))
    with pytest.raises(UserError, match=f"^{re.escape(str(path))} was changed since it was saved"):
        run_experiment(Experiment(data=data, methods=methods), home / "run")


def test_what_is_kept_in_the_cache_is_checked(tmp_path: Path) -> None:
    def fill(folder: Path) -> dict[str, Any]:
        (folder / "weights").write_bytes(b"abc")
        return {"name": "x"}

    folder = keep_folder(tmp_path / "kept", fill)
    assert keep_folder(folder, fill) == folder
    (folder / "weights").write_bytes(b"abd")
    sentence = (
        f"Expected the file that was fetched or converted, but {folder / 'weights'} in the cache "
        f"was changed or damaged since. Delete the folder {folder}, and it is made again."
    )
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        keep_folder(folder, fill)
    (folder / "weights").unlink()
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        keep_folder(folder, fill)


@pytest.mark.parametrize("content", ["{", "[]", '{"sha256": 3}', '{"files": {"weights": 3}}'])
def test_a_kept_folder_of_before_has_no_hashes(tmp_path: Path, content: str) -> None:
    """A manifest without hashes is one of an older version; a damaged one is said."""
    (tmp_path / "weights").write_bytes(b"abc")
    (tmp_path / MANIFEST).write_text(content)
    if "files" in content:
        assert keep_folder(tmp_path, lambda folder: {}) == tmp_path
        return
    with pytest.raises(UserError, match=r"manifest.json in the cache was changed or damaged"):
        keep_folder(tmp_path, lambda folder: {})
