import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from conftest import Invoke
from tiny import tiny_causal


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_causal(tmp_path_factory.mktemp("served") / "tiny", "gemma3")


def test_a_port_in_use_is_said(invoke: Invoke, finished: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, said = invoke("serve", str(finished / "baseline"), "--port", str(port))
    assert code == 2
    assert said == (
        f"Error: Expected to listen on 127.0.0.1, port {port}, but the system says: address "
        "already in use. Name another one with --port or --host, or end what uses it.\n"
    )


def test_other_machines_need_a_key(invoke: Invoke, finished: Path) -> None:
    code, _, said = invoke("serve", str(finished / "baseline"), "--host", "0.0.0.0")
    assert code == 2
    assert said == (
        "Error: Expected a key for --host 0.0.0.0, where other machines can call, but there is "
        "none. Give --key-file FILE or set POLLICE_KEYS, or listen on 127.0.0.1.\n"
    )


def test_a_short_key_is_refused(invoke: Invoke, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("short\n")
    code, _, said = invoke("serve", str(finished), "--key-file", str(tmp_path / "keys"))
    assert code == 2
    assert said == (
        "Error: Expected keys of 16 characters or more, but one has fewer. Take the output of "
        "`openssl rand -hex 32`.\n"
    )


def test_a_missing_extra_is_said(
    invoke: Invoke, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pollice.cli.serving.find_spec", lambda name: None)
    code, _, said = invoke("serve", str(finished / "baseline"))
    assert code == 2
    assert said == (
        "Error: pollice serve needs fastapi, which is not installed. Install it with: pip install "
        "'pollice[serve]'.\n"
    )


def test_nothing_that_can_be_loaded_is_an_error(invoke: Invoke, tmp_path: Path) -> None:
    code, _, said = invoke("serve", str(tmp_path / "absent"), "--port", "0")
    assert code == 2
    assert "Expected a model that can be loaded, but there is none. absent: " in said


def test_it_serves_what_can_be_loaded_until_a_signal(
    finished: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """A predictor, a checkpoint, and one that is not there: two are served, and one is said."""
    texts = tmp_path / "texts.csv"
    texts.write_text("text\n" + "".join(f"a text of number {row}\n" for row in range(10)))
    arguments = [str(finished / "baseline"), f"asked={checkpoint}", "absent=nowhere"]
    options = ["--port", "0", "--threads", "1", "--calibrate", str(texts)]
    command = [sys.executable, "-m", "pollice", "serve", *arguments, *options]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("Serving baseline, asked on http://127.0.0.1:"), (
                line or process.stderr.read()
            )
            url = line.split()[4]
            health = httpx.get(f"{url}/health", timeout=30).json()
            assert health["models"] == ["baseline", "asked"]
            assert health["not_loaded"] == ["absent"]
            found = httpx.post(f"{url}/predict", json={"inputs": "a superb film"}, timeout=30)
            assert {row["label"] for row in found.json()} == {"neg", "pos"}
            asked = {"mood": {"type": "choice", "criteria": {"good": None, "bad": None}}}
            body = {"model": "asked", "state": "a superb film", "questions": asked}
            answer = httpx.post(f"{url}/v1/systemone", json=body, timeout=60).json()
            assert set(answer["answers"]["mood"]["probabilities"]) == {"good", "bad"}
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
            assert time.monotonic() - begun < 25
        finally:
            process.kill()
    assert process.returncode == 0
    assert out == "Stopped; what was in flight was answered.\n"
    assert "Not served: absent." in err
