"""What was trained comes to the Hub, here a server of the test's own, or the reason why not."""

import base64
import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from huggingface_hub import close_session, constants

from pollice.catalogue.hub import reserve_repository, upload_folder
from pollice.errors import SourceError


class Hub(BaseHTTPRequestHandler):
    """The four answers that an upload of small files needs."""

    created: ClassVar[list[dict[str, Any]]] = []
    files: ClassVar[dict[str, bytes]] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        place = self.path.split("?")[0]
        if place == "/api/repos/create":
            self.created.append(json.loads(body))
            self.answer({"url": f"{constants.ENDPOINT}/someone/opinions"})
        elif place == "/api/models/someone/opinions/preupload/main":
            asked = [file["path"] for file in json.loads(body)["files"]]
            told = {"uploadMode": "regular", "shouldIgnore": False}
            self.answer({"files": [{"path": path, **told} for path in asked]})
        elif place == "/api/models/someone/opinions/commit/main":
            lines = [json.loads(line) for line in body.splitlines()]
            sent = [line["value"] for line in lines if line["key"] == "file"]
            self.files.update({one["path"]: base64.b64decode(one["content"]) for one in sent})
            url = f"{constants.ENDPOINT}/someone/opinions/commit/0"
            self.answer({"commitUrl": url, "commitOid": "0", "pullRequestUrl": None})
        else:
            self.send_error(404)

    def do_GET(self) -> None:
        self.send_error(404)

    def answer(self, content: Any) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    close_session()  # it was opened for no network
    yield Hub
    close_session()
    server.shutdown()
    thread.join()
    server.server_close()
    Hub.created.clear()
    Hub.files.clear()


def test_a_new_repository_is_private(hub: type[Hub]) -> None:
    reserve_repository("someone/opinions")
    (created,) = hub.created
    assert (created["organization"], created["name"]) == ("someone", "opinions")
    assert created.get("private") or created["visibility"] == "private"


def test_every_file_of_a_checkpoint_is_uploaded(hub: type[Hub], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    upload_folder(tmp_path, "someone/opinions")
    assert hub.files == {"config.json": b"{}", "model.safetensors": b"weights"}


def test_a_refusal_is_said_in_one_sentence(hub: type[Hub], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SourceError) as refused:
        upload_folder(tmp_path, "nobody/opinions")
    assert re.fullmatch(
        r"The Hub did not take push_to_hub nobody/opinions: .*404.*\. Name it owner/name, give a "
        r"token that may write there in HF_TOKEN, or leave push_to_hub out; what has been trained "
        r"is kept\.",
        str(refused.value),
    )
