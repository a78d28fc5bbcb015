"""Hashes are those of the content, whatever was known of a file before."""

import hashlib
import os
from pathlib import Path

from pollice.system.hashing import file_sha256, hash_files

LONG_AGO = 1_000_000_000


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(20)]
    for path in paths:
        path.write_bytes(path.name.encode() * 1000)
    expected = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    assert hash_files(paths) == expected
    assert hash_files(paths) == expected
    assert hash_files([]) == {}


def test_a_change_is_seen_at_equal_size_and_time(tmp_path: Path) -> None:
    """Also where the time of writing was set back, and where no tick of the clock lies between."""
    path = tmp_path / "a"
    found = set()
    for content in (b"abc", b"abd", b"abe"):
        path.write_bytes(content)
        os.utime(path, (LONG_AGO, LONG_AGO))
        found |= {file_sha256(path), file_sha256(path)}
    assert len(found) == 3


def test_a_moved_file_has_its_own_hash(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"abc")
    second.write_bytes(b"abd")
    before = hash_files([first, second])
    first.replace(second)
    assert file_sha256(second) == before[first]
