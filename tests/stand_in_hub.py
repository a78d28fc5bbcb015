"""A stand-in for the Hugging Face Hub: a server of the test's own that takes uploads."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest
from huggingface_hub import close_session, constants


class Hub(BaseHTTPRequestHandler):
    """The answers that an upload of small files needs."""

    created: ClassVar[list[dict[str, Any]]] = []
    files: ClassVar[dict[str, bytes]] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        place = self.path.split("?")[0]
        if place == "/api/repos/create":
            self.created.append(json.loads(body))
            self.answer({"url": f"{constants.ENDPOINT}/someone/opinions"})
        elif place == "/api/validate-yaml":  # the head of a model card
            self.answer({"errors": [], "warnings": []})
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


@contextmanager
def serving_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """Serve the stand-in at the address that the client asks."""
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
