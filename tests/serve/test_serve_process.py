"""A real process over real sockets: many clients, too many, signals, failures, and what is said."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from pollice.methods import create_method
from pollice.runs.predictors import load_predictor, save_predictor
from scripted_method import SLOW
from served_process import Served, scripted, serving
from serving import until
from tiny import opinions, tiny_causal, tiny_encoder

CLIENTS = 64
IN_FLIGHT = 50


@pytest.fixture(scope="module")
def predictors(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Mapping[str, Path]:
    """Save one predictor of each kind: asked, fine-tuned, and without a model."""
    home = tmp_path_factory.mktemp("predictors")
    options = {
        "prompt": {"checkpoint": str(tiny_causal(home / "causal", "gemma3")), "max_tokens": 64},
        "finetune": {
            "checkpoint": str(tiny_encoder(home / "encoder", "bert")),
            "max_tokens": 64,
            "epochs": 1,
        },
    }
    rows = opinions(24)
    for name, given in options.items():
        (home / f"{name}-work").mkdir()
        fitted = create_method(name, given).fit(rows, rows, workdir=home / f"{name}-work")
        save_predictor(fitted, home / name, method=name, options=given)
    return {name: home / name for name in options} | {"baseline": finished / "baseline/predictor"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the gate of the scripted predictor is."""
    return tmp_path_factory.mktemp("scripted")


@pytest.fixture(scope="module")
def command(home: Path) -> tuple[str, Mapping[str, str]]:
    return scripted(home)


@pytest.fixture(scope="module")
def served(command: tuple[str, Mapping[str, str]]) -> Iterator[Served]:
    """Serve a scripted predictor in one process for all tests that do not end it."""
    with serving(command[0], environment=command[1]) as process:
        yield process


@pytest.fixture
def ending(command: tuple[str, Mapping[str, str]]) -> Iterator[Served]:
    """Serve it in a process that the test ends."""
    with serving(command[0], environment=command[1]) as process:
        yield process


@pytest.fixture(autouse=True)
def close_gate(home: Path) -> None:
    for name in ("gate", "waiting"):
        (home / name).unlink(missing_ok=True)


def judge(served: Served, text: str, model: str = "scripted") -> httpx.Response:
    return httpx.post(f"{served.url}/models/{model}", json={"inputs": text}, timeout=60)


def held(
    served: Served, home: Path, pool: ThreadPoolExecutor, texts: list[str]
) -> list[Future[httpx.Response]]:
    """Send texts behind one that waits in the model for the gate; return when all of them wait."""
    calls = [pool.submit(judge, served, "wait")]
    until((home / "waiting").exists)
    calls += [pool.submit(judge, served, text) for text in texts]
    until(lambda: served.counter("pollice_queue_texts") == len(texts))
    return calls


def test_64_clients_get_what_each_gets_alone(
    predictors: Mapping[str, Path], tmp_path: Path
) -> None:
    """Beside one that cannot be loaded, which is said."""
    rows = opinions(CLIENTS)
    texts = [" ".join([text] * (1 + row % 5)) for row, text in enumerate(rows.texts)]
    named = [f"{name}={folder}" for name, folder in predictors.items()]
    (tmp_path / "empty").mkdir()
    with (
        serving(*named, str(tmp_path / "empty"), "--threads", "1") as served,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):
        health = httpx.get(f"{served.url}/health").json()
        assert health == {"status": "ok", "models": list(predictors), "not_loaded": ["empty"]}
        for name, folder in predictors.items():
            answers = list(pool.map(judge, [served] * CLIENTS, texts, [name] * CLIENTS))
            predictor = load_predictor(folder)
            for text, answer in zip(texts, answers, strict=True):
                found = {one["label"]: one["score"] for one in answer.json()[0]}
                alone = predictor.predict_proba([text])[0]
                assert found == pytest.approx(
                    dict(zip(predictor.label_names, alone, strict=True)), abs=1e-6
                )
        served.process.send_signal(signal.SIGTERM)
        _, said = served.ended(25)
    assert "Not served: empty. " in said
    assert str(tmp_path / "empty") in said


def test_31_good_texts_are_answered_beside_one_that_fails(served: Served, home: Path) -> None:
    texts = [f"text {row}" for row in range(31)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        calls = held(served, home, pool, [*texts[:16], "boom", *texts[16:]])
        (home / "gate").touch()
        codes = [call.result().status_code for call in calls]
    assert codes == [200] * 17 + [500] + [200] * 15


def test_a_signal_lets_50_calls_end_and_says_so_at_once(ending: Served, home: Path) -> None:
    with ThreadPoolExecutor(CLIENTS) as pool:
        calls = held(ending, home, pool, [f"text {row}" for row in range(IN_FLIGHT - 1)])
        ending.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{ending.url}/ready").status_code == 503, 2)
        until(lambda: httpx.get(f"{ending.url}/docs").status_code == 503)
        (home / "gate").touch()
        assert [call.result().status_code for call in calls] == [200] * IN_FLIGHT
    out, _ = ending.ended(25)
    assert ending.process.returncode == 0
    assert out == "Stopped; what was in flight was answered.\n"


def test_a_second_signal_ends_the_process_at_once(ending: Served, home: Path) -> None:
    """The model waits half a minute: nobody lets it go on."""
    with ThreadPoolExecutor(1) as pool:
        call = held(ending, home, pool, [])[0]
        ending.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{ending.url}/ready").status_code == 503)
        ending.process.send_signal(signal.SIGTERM)
        out, _ = ending.ended(10)
        with pytest.raises(httpx.TransportError):
            call.result()
    assert ending.process.returncode == -signal.SIGTERM
    assert out == ""


def test_a_dead_worker_is_not_ready_and_is_started_again(served: Served) -> None:
    assert judge(served, "die").status_code == 503
    assert httpx.get(f"{served.url}/ready").status_code == 503
    until(lambda: httpx.get(f"{served.url}/ready").status_code == 200)
    assert judge(served, "a text").status_code == 200


def test_what_attacks_send_has_the_right_code(served: Served) -> None:
    deep = "[" * 150_000 + "]" * 150_000
    with httpx.Client(timeout=20) as client:
        for path in ("/", "/predict", "/models/scripted", "/v1/decisions", "/v1/systemone"):
            long = client.post(served.url + path, json={"inputs": "a" * 10_000_000})
            assert long.status_code == 413
            nested = client.post(
                served.url + path, content=deep, headers={"content-type": "application/json"}
            )
            assert nested.status_code == 422
    host, port = served.url.removeprefix("http://").split(":")
    names = [
        "..",
        "../..",
        "%2e%2e",
        "%2e%2e%2f%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "a" * 9000,
    ]
    for place in ("/models/{}", "/v2/models/{}/infer", "/page/{}"):
        for name in names:
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                path = place.format(name)
                verb = "GET" if place.startswith("/page") else "POST"
                connection.sendall(
                    f"{verb} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: "
                    'application/json\r\nContent-Length: 15\r\n\r\n{"inputs": "a"}'.encode()
                )
                answer = connection.makefile("rb").read()
            assert answer.split()[1] in (b"404", b"422"), path
            assert b"root:" not in answer
    assert judge(served, "a text").status_code == 200


def test_more_than_it_can_judge_is_refused_and_then_all_is_as_before(served: Served) -> None:
    """6 times what the model can judge, for 3 seconds."""
    calls = int(6 * 3 / SLOW)
    for _ in range(3):
        judge(served, "slow")  # so its pace is known
    before = served.resident_mib()
    found = asyncio.run(_flood(f"{served.url}/models/scripted", calls, 3.0))
    assert set(found) == {200, 429}
    assert served.resident_mib() < before + 200
    assert judge(served, "slow").status_code == 200
    assert served.counter("pollice_queue_texts") == 0


async def _flood(url: str, calls: int, seconds: float) -> Counter[int]:
    """Send calls evenly over some seconds, whether or not those before were answered."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        answers = []
        for _ in range(calls):
            answers.append(asyncio.create_task(client.post(url, json={"inputs": "slow"})))
            await asyncio.sleep(seconds / calls)
        return Counter([(await answer).status_code for answer in answers])


def test_what_its_clients_gave_up_is_not_judged(served: Served, home: Path) -> None:
    before = served.counter("pollice_batch_texts_sum")
    with ThreadPoolExecutor(1) as pool:
        call = held(served, home, pool, [])[0]
        asyncio.run(_give_up(f"{served.url}/models/scripted", IN_FLIGHT))
        assert served.counter("pollice_queue_texts") == IN_FLIGHT
        (home / "gate").touch()
        assert call.result().status_code == 200
        assert judge(served, "a text").status_code == 200
    assert served.counter("pollice_batch_texts_sum") == before + 2
    assert served.counter("pollice_failures_total", 'kind="left"') == IN_FLIGHT


async def _give_up(url: str, calls: int) -> None:
    """Send calls, and close their connections before they are answered."""
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None)) as client:
        answers = [
            client.post(url, json={"inputs": "text"}, timeout=httpx.Timeout(20, read=1.0))
            for _ in range(calls)
        ]
        found = await asyncio.gather(*answers, return_exceptions=True)
    assert all(isinstance(one, httpx.ReadTimeout) for one in found)


def test_a_port_in_use_is_said_before_a_model_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = _run("-m", "pollice", "serve", str(tmp_path / "absent"), "--port", port)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"Error: Expected to listen on 127.0.0.1, port {port}, but the system says: address "
        "already in use. Name another one with --port or --host, or end what uses it.\n"
    )


@pytest.mark.parametrize("name", ["fastapi", "uvicorn", "prometheus_client"])
def test_an_extra_that_is_not_installed_is_said(name: str) -> None:
    code = (
        f"import sys; sys.modules[{name!r}] = None\n"
        "sys.argv = ['pollice', 'serve', 'gemma-3-270m']\n"
        "from pollice.cli import main; main()"
    )
    ended = _run("-c", code)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"Error: pollice serve needs {name}, which is not installed. Install it with: pip install "
        "'pollice[serve]'.\n"
    )


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)
