"""A copy has the content of its source, and nothing else in common with it."""

from pathlib import Path

from pollice.system.copying import copy_file


def test_a_copy_is_its_own(tmp_path: Path) -> None:
    """On file systems that let files share blocks, and on those that do not."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"abc" * 100_000)
    copy_file(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert not target.samefile(source)
    source.write_bytes(b"x")
    assert len(target.read_bytes()) == 300_000


def test_an_empty_file_is_copied(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b""
