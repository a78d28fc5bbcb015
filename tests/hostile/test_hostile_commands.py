"""A file that can hurt is refused alike by every command that takes one: one sentence, code 2."""

import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from conftest import Invoke

ROWS = b"text,label\n" + b"warm soup,pos\ncold soup,neg\n" * 30


def locked_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", ROWS)
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)


def content(held: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(held)


HOSTILE: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "pipe.csv": (
        os.mkfifo,
        "Expected a file, but pipe.csv is a pipe. Save what it gives as a file, and name that.",
    ),
    "zero.csv": (
        lambda path: path.symlink_to("/dev/zero"),
        "Expected a file, but zero.csv is a device. Save what it gives as a file, and name that.",
    ),
    "loop.csv": (
        lambda path: path.symlink_to("loop.csv"),
        "Expected a file, a folder, hub:owner/name@revision or a data set of the catalogue, but "
        "there is no 'loop.csv'. Check the name.",
    ),
    "pickle.csv": (
        content(pickle.dumps(["warm"])),
        "Expected a .csv file, but pickle.csv is a pickle, which is never read since it can hold "
        "code. Save its table as CSV.",
    ),
    "locked.zip": (
        locked_zip,
        "Expected a zip file without a password, but locked.zip has one. Unpack it, and name the "
        "file.",
    ),
    "nul.csv": (
        content(ROWS + b"\0" * 9),
        "Expected text, but line 62 of nul.csv holds a NUL byte. Save it again as UTF-8 text.",
    ),
    "cut.parquet": (
        content(b"PAR1"),
        "Expected a whole Parquet file, but cut.parquet cannot be read as one (ArrowInvalid). "
        "Copy or download it again.",
    ),
    "deep.json": (
        content(b'{"a":' * 150_000),
        "Expected JSON, but deep.json is nested too deeply. Write an array of rows, such as "
        '[{"text": ..., "label": ...}], or JSON Lines.',
    ),
}
COMMANDS = (
    "data {}",
    "compare --data {} --method baseline -o run",
    "train baseline --data {} -o run",
    "label {} --labels pos,neg -o labelled.csv",
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split()[0])
@pytest.mark.parametrize("name", HOSTILE)
def test_every_command_refuses_it_in_one_sentence(
    invoke: Invoke, tmp_path: Path, name: str, command: str
) -> None:
    make, sentence = HOSTILE[name]
    make(tmp_path / name)
    code, output, error = invoke(*command.format(name).split())
    assert (code, output) == (2, "")
    assert error.splitlines()[-1] == f"Error: {sentence}"
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", HOSTILE)
def test_inspect_takes_no_such_file_for_a_checkpoint(
    invoke: Invoke, tmp_path: Path, name: str
) -> None:
    HOSTILE[name][0](tmp_path / name)
    code, output, error = invoke("inspect", name)
    assert (code, output, error.count("\n")) == (2, "", 1)
    expected = (
        f"Error: Expected a checkpoint, but {name} is a file that does not end in .gguf. Name the "
        "folder that transformers saved, with its config.json.\n"
        if (tmp_path / name).is_file()
        else f"Error: There is no checkpoint {name!r}: give a name of the catalogue ("
    )
    assert error.startswith(expected)


def test_data_shows_no_texts_where_labels_are_refused(invoke: Invoke, tmp_path: Path) -> None:
    """Only a table without labels counts as texts to label."""
    (tmp_path / "a.csv").write_text('text,label\na,"food,staff"\nb,food\nc,staff\n')
    code, output, error = invoke("data", "a.csv")
    assert (code, output) == (2, "")
    assert error.splitlines()[-1].startswith(
        "Error: Expected one label for each text, but 1 row of a.csv has several labels"
    )
    (tmp_path / "a.csv").write_text("text,label\na,\nb,\n")
    code, output, error = invoke("data", "a.csv")
    assert code == 0
    assert "a.csv: 2 texts without labels" in output
