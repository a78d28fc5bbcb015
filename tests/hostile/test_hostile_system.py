"""What the system refuses is one sentence and exit code 2, and is said before hours of work."""

import errno
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections import namedtuple
from pathlib import Path

import pytest
from safetensors import SafetensorError

from conftest import InstallMethod, Invoke
from pollice.errors import MachineError
from pollice.system.folders import probe_file, probe_space, write_atomically
from pollice.system.refusals import explain_refusal

PLACE = "/data/out.csv"
FULL = "its disk is full: make room, or name a place on another disk"
REFUSED = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: "your quota on its disk is used up: make room, or name a place on another disk",
    errno.EFBIG: "it would be larger than the system allows: write to another disk, or raise the "
    "limit of file sizes",
    errno.EACCES: "you have no permission: name another place, or change its permissions",
    errno.EPERM: "the system forbids it: name another place, or change its permissions",
    errno.EROFS: "its disk can only be read: name a place on another disk",
    errno.ENAMETOOLONG: "its name is too long for the system: name it more shortly",
    errno.EISDIR: "it is a folder: name a file",
    errno.ENOTDIR: "a part of its path is a file and no folder: check the path",
    errno.ENOENT: "it is not there: check the path",
    errno.ELOOP: "its links lead in a circle: name the file itself",
    errno.EMFILE: "too many files are open: raise the limit with `ulimit -n`, or end some",
    errno.EIO: "its disk reports an error: name a place on another disk",
    errno.ENXIO: "the system says “No such device or address”: check it, or name another place",
}
NO_MEMORY = (
    "Expected more memory, but the system gives none: end other programs, name fewer or shorter "
    "texts, or limit the method with --memory."
)
TOO_DEEP = (
    "Expected values that are nested a few times, but something that was read is nested too deeply "
    "to follow: check the JSON and TOML files that the command names."
)


@pytest.mark.parametrize(
    ("number", "reason"), REFUSED.items(), ids=[errno.errorcode[number] for number in REFUSED]
)
def test_every_refusal_of_the_system_is_a_sentence(number: int, reason: str) -> None:
    said = explain_refusal(OSError(number, os.strerror(number), PLACE))
    assert str(said) == f"Expected to use {PLACE}, but {reason}."


def test_a_renaming_names_where_it_leads() -> None:
    said = explain_refusal(OSError(errno.ENOSPC, "full", "/data/.tmp", None, PLACE))
    assert str(said) == f"Expected to use {PLACE}, but {FULL}."


def damaged(said: str) -> str:
    return (
        f"Expected files as they were written, but one is damaged ({said}): copy, save or download "
        "it again."
    )


def json_error() -> Exception:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    return caught.value


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        pytest.param(MemoryError(), NO_MEMORY, id="memory"),
        pytest.param(OSError(errno.ENOMEM, "no memory"), NO_MEMORY, id="memory-of-the-system"),
        pytest.param(RecursionError(), TOO_DEEP, id="json-150000-deep"),
        pytest.param(zlib.error("bad data"), damaged("bad data"), id="deflate"),
        pytest.param(zipfile.BadZipFile("no zip"), damaged("no zip"), id="zip"),
        pytest.param(EOFError(), damaged("EOFError"), id="cut-short"),
        pytest.param(SafetensorError("header"), damaged("header"), id="safetensors"),
        pytest.param(
            json_error(),
            damaged(
                "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
            ),
            id="json",
        ),
    ],
)  # fmt: skip
def test_memory_depth_and_damage_are_sentences(error: Exception, sentence: str) -> None:
    assert str(explain_refusal(error)) == sentence


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), TypeError("x")])
def test_a_fault_of_ours_is_not_blamed_on_the_system(error: Exception) -> None:
    assert explain_refusal(error) is None


# --- in every command ---

FAILING = """
from pollice.methods.baseline import Baseline
from pydantic.dataclasses import dataclass
from pollice.method import OPTIONS

@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Baseline):
    \"\"\"It fails.\"\"\"

    def fit(self, train, validation, *, workdir):
        raise {error}
"""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        pytest.param("MemoryError()", NO_MEMORY, id="memory"),
        pytest.param("RecursionError()", TOO_DEEP, id="depth"),
        pytest.param(
            f"OSError({errno.ENOSPC}, 'full', {PLACE!r})",
            f"Expected to use {PLACE}, but {FULL}.",
            id="full-disk",
        ),
    ],
)
def test_what_a_method_meets_is_one_sentence(
    invoke: Invoke, install_method: InstallMethod, opinions: Path, error: str, sentence: str
) -> None:
    install_method("failing", FAILING.format(error=error))
    code, _, said = invoke("compare", "--data", str(opinions), "--method", "failing", "-o", "run")
    assert code == 2
    assert said.splitlines()[-1] == f"Error: {sentence}"
    assert "Traceback" not in said


# --- outputs are tried before anything is judged ---

TOO_LONG = f"{'x' * 300}.csv"


def commands(output: str) -> list[list[str]]:
    """Return the commands that write one file; neither predictor nor model is there to be read."""
    return [
        ["predict", "nowhere", "texts.csv", "-o", output],
        ["label", "texts.csv", "--labels", "bad,good", "--model", "nowhere", "-o", output],
    ]


@pytest.mark.parametrize("number", [0, 1], ids=["predict", "label"])
@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        pytest.param(
            "folder.csv",
            "Expected a file as output, but folder.csv is a folder. Name a file in it.",
            id="a-folder",
        ),
        pytest.param(
            "missing/out.csv",
            "Expected a folder for the output 'out.csv', but there is no missing. Create it first.",
            id="no-parent",
        ),
        pytest.param(
            TOO_LONG,
            f"Expected to use {TOO_LONG}, but {REFUSED[errno.ENAMETOOLONG]}.",
            id="too-long-a-name",
        ),
        pytest.param(
            "/proc/out.csv",
            f"Expected to use /proc/out.csv, but {REFUSED[errno.EPERM]}.",
            id="not-writable",
            marks=pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here"),
        ),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_first(
    invoke: Invoke, tmp_path: Path, number: int, output: str, sentence: str
) -> None:
    (tmp_path / "texts.csv").write_text("text\na fine film\n")
    (tmp_path / "folder.csv").mkdir()
    code, _, said = invoke(*commands(output)[number])
    assert (code, said.splitlines()[-1]) == (2, f"Error: {sentence}")


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        pytest.param(
            "file",
            "Expected a folder that can be written for the run, but file is a file. Name another "
            "with --out.",
            id="a-file",
        ),
        pytest.param(
            "x" * 300,
            f"Expected to use {'x' * 300}/experiment.toml, but {REFUSED[errno.ENAMETOOLONG]}.",
            id="too-long-a-name",
        ),
        pytest.param(
            "/proc/run",
            f"Expected to use /proc/run, but {REFUSED[errno.EPERM]}.",
            id="not-writable",
            marks=pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here"),
        ),
    ],
)
def test_a_run_that_cannot_be_written_is_refused_before_the_data_are_read(
    invoke: Invoke, tmp_path: Path, out: str, sentence: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty.csv").touch()
    code, _, said = invoke("compare", "--data", "empty.csv", "--method", "baseline", "-o", out)
    assert (code, said.splitlines()[-1]) == (2, f"Error: {sentence}")


def test_a_disk_that_takes_no_more_is_refused_by_what_it_takes(tmp_path: Path) -> None:
    """A real limit of the system stands for the disk: the process may write 1,000 bytes a file."""
    (tmp_path / "texts.csv").write_text("text\na fine film\n")
    ended = subprocess.run(
        [sys.executable, "-m", "pollice", *commands("out.csv")[0]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    sentence = f"Error: Expected to use out.csv, but {REFUSED[errno.EFBIG]}.\n"
    assert (ended.returncode, ended.stderr) == (2, sentence)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.csv"]


def test_a_disk_without_room_for_the_rows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9_000, 8_000, 1_000))
    sentence = (
        f"Expected 2,000 bytes of room for {tmp_path}/out.csv, but its disk has 1,000: make room, "
        "or name a place on another disk."
    )
    with pytest.raises(MachineError, match=f"^{re.escape(sentence)}$"):
        probe_space(tmp_path / "out.csv", 2_000)
    probe_space(tmp_path / "out.csv", 500)


def test_a_probe_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("before")
    probe_file(tmp_path / "out.csv")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.csv", "before")]


def test_a_disk_that_fills_up_while_a_file_is_written_is_named(tmp_path: Path) -> None:
    """The error of a write names no file: the sentence does, and the old file stays."""
    (tmp_path / "out.csv").write_text("before")

    def fill(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    sentence = f"Expected to use {tmp_path}/out.csv, but {FULL}."
    with pytest.raises(MachineError, match=f"^{re.escape(sentence)}$"):
        write_atomically(tmp_path / "out.csv", fill)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.csv", "before")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_standard_output_on_a_full_disk_is_one_sentence(opinions: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "pollice", "data", str(opinions), "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == f"Error: Expected to use the output, but {FULL}."
