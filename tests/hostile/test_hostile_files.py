"""Files that would take all memory or wait for ever: each is refused in one sentence, soon."""

import bz2
import gzip
import io
import lzma
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pollice.data.formats import lines
from pollice.data.reading import read_dataset, read_texts
from pollice.data.tables import read_columns
from pollice.errors import DataError
from pollice.system.measuring import measured, resident_bytes

TABLE = b"text,label\nwarm soup,pos\ncold soup,neg\n"
MOST_MIB = 700  # more than the reader may take for a line, a row or a cell of any size
MIBI = 2**20


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


def sentence(path: Path) -> str:
    with pytest.raises(DataError) as raised:
        read_columns(path, lambda names: names)
    return str(raised.value)


def pack_endless_line(path: Path, beginning: bytes, mebibytes: int) -> None:
    """Write a small file that unpacks to a very long line."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(beginning)
        for _ in range(mebibytes):
            file.write(b"a" * MIBI)


@pytest.mark.parametrize("beginning", [b"", b"text,label\n", b'text,label\n"'])
@pytest.mark.parametrize("name", ["a.csv.gz", "a.tsv.gz", "a.jsonl.gz"])
def test_one_endless_line(tmp_path: Path, name: str, beginning: bytes) -> None:
    """The limit is met long before the memory, whatever the format is."""
    path = tmp_path / name
    pack_endless_line(path, beginning, 60)  # within what a compressed file may unpack to
    before = resident_bytes() / MIBI
    with measured() as meter:
        found = sentence(path)
    number = beginning.count(b"\n") + 1
    if name.endswith(".jsonl.gz") and number == 2:
        assert found.startswith(f"Expected one JSON object a line, but line 1 of {path} is not")
        return
    assert found == (
        f"Expected lines of at most 16,777,216 characters, but line {number} of {path} is longer. "
        "Check that the file is a table."
    )
    assert meter.peak_memory_mib - before < MOST_MIB


@pytest.mark.parametrize("suffix", [".gz", ".zst"])  # the others are slow to write
def test_more_than_text_unpacks_to(tmp_path: Path, suffix: str) -> None:
    """Many rows, each harmless, of which a small file holds very many."""
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(PACKERS[suffix](b"text,label\n" + (b"warm " * 1000 + b",pos\n") * 15_000))
    assert sentence(path) == (
        "Expected a file that unpacks to 64 MiB at most, as text of its size does, but "
        f"{path} is larger. Unpack it, and check what it holds."
    )


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (suffix, damage)
        for suffix in PACKERS
        for damage in ("cut", "turned")
        if (suffix, damage) != (".zst", "turned")  # written here without a checksum
    ],
)
def test_damaged_compression(tmp_path: Path, suffix: str, damage: str) -> None:
    path = tmp_path / f"a.csv{suffix}"
    packed = bytearray(PACKERS[suffix](TABLE * 100))
    if damage == "turned":
        packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(bytes(packed[:-9]) if damage == "cut" else bytes(packed))
    assert sentence(path) == (
        f"Expected a whole {suffix} file, but {path} is damaged or cut short. "
        "Copy or download it again."
    )


@pytest.mark.parametrize(
    ("suffix", "program"), [(".gz", "gzip"), (".bz2", "bzip2"), (".xz", "xz"), (".zst", "zstd")]
)
def test_what_is_not_compressed_at_all(tmp_path: Path, suffix: str, program: str) -> None:
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(TABLE)
    assert sentence(path) == (
        f"Expected a {suffix} file, but {path} is not packed with {program}. Rename it to what it "
        "is."
    )


@pytest.mark.parametrize("suffix", PACKERS)
def test_whole_compression(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.csv{suffix}"
    path.write_bytes(PACKERS[suffix](TABLE))
    assert read_columns(path, lambda names: names).values["label"] == ["pos", "neg"]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Return a folder whose name is short enough for a socket's."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.csv.gz", "a.parquet"])
def test_what_is_no_file(short_folder: Path, kind: str, name: str) -> None:
    """A pipe without a writer would wait for ever, and /dev/zero never ends."""
    path = short_folder / name
    server = socket.socket(socket.AF_UNIX)
    with server:
        match kind:
            case "pipe":
                os.mkfifo(path)
            case "device":
                path.symlink_to("/dev/zero")
            case "socket":
                server.bind(str(path))
            case _:
                path.mkdir()
        assert sentence(path) == (
            f"Expected a file, but {path} is a {kind}. Save what it gives as a file, and name that."
        )


def test_a_pipe_in_a_folder_of_labels(tmp_path: Path) -> None:
    for label in ("pos", "neg"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.txt").write_text(label)
    os.mkfifo(tmp_path / "pos" / "2.txt")
    dataset = read_dataset(str(tmp_path))
    assert len(dataset) == 2
    assert dataset.notes[1] == (
        f"In {tmp_path}, 1 entry is no ordinary file, so not opened: pos/2.txt."
    )


def test_an_endless_text_in_a_folder_of_labels(tmp_path: Path) -> None:
    """Of short lines, each within the limit."""
    (tmp_path / "pos").mkdir()
    path = tmp_path / "pos" / "1.txt"
    path.write_bytes(b"warm soup\n" * (2 * MIBI))
    with pytest.raises(DataError) as raised:
        read_texts(str(tmp_path))
    assert str(raised.value) == (
        f"Expected a text of at most 16,777,216 characters, but {path} is longer. Split it."
    )


@pytest.mark.parametrize("line", [b"a\n", b"good,pos\n", b'""\n'])
def test_a_quote_that_is_never_closed(tmp_path: Path, line: bytes) -> None:
    """It would take in the rest of the file as one text."""
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,label\n"warm,pos\n' + line * 150_000)
    assert sentence(path).startswith("Expected ")
    assert f"on line 2 of {path} " in sentence(path)


def test_more_rows_than_memory_holds(tmp_path: Path) -> None:
    """What the kept columns take is counted while they are read."""
    with pytest.raises(DataError) as raised:
        lines.check_memory(tmp_path / "a.csv", 3 * 2**30, 2**30, 4096)
    assert str(raised.value) == (
        f"Expected a table that fits into the 1.0 GiB of free memory, but {tmp_path / 'a.csv'} "
        "needs more for its first 4,096 lines. Free some, or split the file."
    )


@pytest.mark.parametrize(
    "content",
    [
        b"," * (4 * MIBI),
        b"text,label\n" + b"," * (4 * MIBI),
        b"sep=" + b"\t" * (2 * MIBI),
        b'"' * (2 * MIBI + 1),
        b"text,label\n" + b"\r" * (2 * MIBI),
        b"text,label\n" + b"\\" * (2 * MIBI) + b'"',
        b"\n" * (4 * MIBI),
        b'{"a":' * 100_000,
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_no_content_takes_more_than_its_size_asks_for(
    tmp_path: Path, name: str, content: bytes
) -> None:
    """One sentence, or a table: nothing quadratic, and no error without a type of ours."""
    path = tmp_path / name
    path.write_bytes(content)

    def choose(names: list[str]) -> list[str]:
        return names[:2]

    with measured() as meter:
        try:
            read_columns(path, choose)  # type: ignore[arg-type]
        except DataError as error:
            said = str(error)
        else:
            said = ""
    assert len(said) < 1000
    assert meter.seconds < 60


def test_a_text_as_long_as_allowed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = "word " * (3 * MIBI)
    buffer = io.StringIO()
    buffer.write(f"text,label\n{text},pos\nshort,neg\n")
    path.write_text(buffer.getvalue())
    assert [len(cell) for cell in read_columns(path, lambda names: names).values["text"]] == [
        len(text),
        5,
    ]
