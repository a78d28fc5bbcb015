"""A name that is no checkpoint is refused with what lies there instead."""

import re
from pathlib import Path

import pytest

from pollice.errors import SourceError
from pollice.models.pretrained.names import bundled, check_checkpoint_name

USUAL = "name a folder that transformers saved, or a .gguf file"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ([], f"is empty: {USUAL}"),
        (["b.txt", "a.txt"], f"holds a.txt, b.txt: {USUAL}"),
        (list("abcdefg"), f"holds a, b, c, d, e and 2 more: {USUAL}"),
        (
            ["adapter_config.json", "adapter_model.safetensors"],
            "holds an adapter (adapter_config.json): name the checkpoint it was tuned from",
        ),
        (
            ["experiment.toml", "data.json"],
            "holds a run of pollice (experiment.toml): use its methods with pollice predict",
        ),
        (["model.gguf"], "holds the file model.gguf: name that file itself"),
        (["inner/config.json"], "its folder inner has one: name that folder"),
    ],
)
def test_a_folder_that_is_no_checkpoint_says_what_it_holds(
    tmp_path: Path, files: list[str], found: str
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    sentence = f"The folder {tmp_path} has no config.json, but {found}."
    with pytest.raises(SourceError, match=f"^{re.escape(sentence)}$"):
        check_checkpoint_name(str(tmp_path))


def test_a_file_is_no_checkpoint_unless_it_is_gguf(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    check_checkpoint_name(str(tmp_path / "model.gguf"))
    path = tmp_path / "model.safetensors"
    path.touch()
    sentence = (
        f"Expected a checkpoint, but {path} is a file that does not end in .gguf. Name the folder "
        "that transformers saved, with its config.json."
    )
    with pytest.raises(SourceError, match=f"^{re.escape(sentence)}$"):
        check_checkpoint_name(str(path))


def test_names_of_the_catalogue_and_the_hub_are_right(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    for name in ("minilm", "hub:owner/name@main", str(tmp_path)):
        check_checkpoint_name(name)
    assert "mistral-7b-instruct" in bundled()
