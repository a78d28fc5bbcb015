"""Files and folders that are whole or not there."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pollice.errors import RunError
from pollice.system.folders import (
    is_complete,
    new_folder,
    read_manifest,
    write_atomically,
    write_json,
    write_manifest,
)


def fails(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        call()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "new") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "a").write_text("1")
        assert not (tmp_path / "deep" / "new").exists()
    assert (tmp_path / "deep" / "new" / "inner" / "a").read_text() == "1"
    assert names(tmp_path / "deep") == ["new"]


def interrupted(folder: Path) -> None:
    with new_folder(folder) as temporary:
        (temporary / "a").write_text("1")
        raise KeyboardInterrupt


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "new")
    assert names(tmp_path) == []


def test_a_block_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    with new_folder(tmp_path / "new") as temporary:
        (temporary / "old").write_text("1")
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "new")
    assert names(tmp_path) == ["new"]
    assert names(tmp_path / "new") == ["old"]


def test_a_new_folder_replaces_the_whole_old_one(tmp_path: Path) -> None:
    for name in ("old", "young"):
        with new_folder(tmp_path / "new") as temporary:
            (temporary / name).write_text("1")
    assert names(tmp_path) == ["new"]
    assert names(tmp_path / "new") == ["young"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise ValueError("inside")

    with pytest.raises(ValueError, match=r"^inside$"):
        write_atomically(path, fail)
    assert names(tmp_path / "deep") == []
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match=r"^inside$"):
        write_atomically(path, fail)
    assert json.loads(path.read_text()) == {"a": 1}
    assert names(tmp_path / "deep") == ["a.json"]


def test_a_manifest_names_every_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a").write_bytes(b"abc")
    write_manifest(tmp_path, {"name": "x"})
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert read_manifest(tmp_path) == {
        "name": "x",
        "files": {"inner/a": {"bytes": 3, "sha256": abc}},
    }
    assert is_complete(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    write_manifest(tmp_path, {})
    (tmp_path / "a").unlink()
    fails(
        lambda: read_manifest(tmp_path),
        f"{tmp_path}/a should have 3 bytes by its manifest, but is missing. Save or copy it again.",
    )


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    write_manifest(tmp_path, {})
    (tmp_path / "a").write_bytes(b"ab")
    fails(
        lambda: read_manifest(tmp_path),
        f"{tmp_path}/a should have 3 bytes by its manifest, but has 2. Save or copy it again.",
    )


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "inner/../../secret", "link", "a\0b"])
def test_a_manifest_names_no_file_outside_its_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_text("1")
    (folder / "link").symlink_to("../secret")
    write_json(folder / "manifest.json", {"files": {name: {"bytes": 1}}})
    fails(
        lambda: read_manifest(folder),
        f"Expected a manifest that names files of its own folder, but {folder}/manifest.json names "
        f"{name!r}, which leads out of it. Copy the folder again from where it was saved.",
    )


def test_a_folder_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("1")
    (tmp_path / "folder" / "b").symlink_to("a")
    write_manifest(tmp_path / "folder", {"made": "here"})
    (tmp_path / "link").symlink_to("folder")
    assert read_manifest(tmp_path / "link")["made"] == "here"


@pytest.mark.parametrize("files", [["a"], {"a": 1}, {"a": {"bytes": "many"}}, {"a": {}}, "a", None])
def test_a_damaged_list_of_files_is_said(tmp_path: Path, files: object) -> None:
    write_json(tmp_path / "manifest.json", {"files": files})
    fails(
        lambda: read_manifest(tmp_path),
        f"Expected a manifest that pollice wrote, but {tmp_path}/manifest.json is damaged or of "
        "something else. Name a folder that pollice saved, such as runs/NAME/METHOD/predictor.",
    )
