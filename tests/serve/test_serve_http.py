"""Keys, limits, states and errors of a running service."""

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route

from pollice.serve.keys import Keys, read_keys
from pollice.serve.limits import Limits, nested_deeper
from pollice.serve.page import OPEN_PATHS
from serving import Lettered, Running, lettered_service, served, until

KEY = "0123456789abcdef-key"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with served(lettered_service()) as server:
        yield server


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    """Return every path of an application with each of its methods, hidden ones too."""
    found = [each.original_route for each in iter_route_contexts(app.router.routes)]
    routes = [route for route in found if isinstance(route, Route | APIRoute)]
    assert len(routes) == len(found)
    return [
        (route.path.replace(":path", ""), verb) for route in routes for verb in route.methods or ()
    ]


def predict(running: Running, text: str) -> httpx.Response:
    return httpx.post(f"{running.url}/predict", json={"inputs": text}, timeout=30)


def post(running: Running, path: str, content: bytes | str) -> httpx.Response:
    headers = {"content-type": "application/json"}
    return httpx.post(running.url + path, content=content, headers=headers, timeout=20)


def test_every_route_needs_a_key_but_health(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLICE_KEYS", f"another-key-of-enough-letters,{KEY}")
    with served(lettered_service(), read_keys(None)) as server, httpx.Client() as client:
        described = set(server.app.openapi()["paths"])
        listed = [(path, verb) for path, verb in routes_of(server.app) if path not in OPEN_PATHS]
        assert described <= {path for path, _ in listed} | {"/"}
        listed += [(path, "POST") for path in OPEN_PATHS]  # may be looked at, and nothing else
        for path, verb in [*listed, ("/nowhere", "GET")]:
            place = re.sub(r"\{.*?\}", "letters", path)
            answer = client.request(verb, server.url + place)
            assert answer.status_code == (200 if path == "/health" else 401), (verb, path)
        for headers in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}):
            assert client.get(f"{server.url}/ready", headers=headers).status_code == 200
        for headers in ({"Authorization": f"Basic {KEY}"}, {"X-API-Key": f"{KEY}x"}):
            assert client.get(f"{server.url}/ready", headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/predict", "error_type"),
        ("/models/letters", "error"),
        ("/v2/models/letters/infer", "error"),
        ("/v1/decisions", "error"),
        ("/v1/systemone", "detail"),
    ],
)
def test_what_is_wrong_is_said_in_the_format_of_the_route(
    running: Running, path: str, field: str
) -> None:
    begun = time.monotonic()
    for content, status in [
        ("{", 400),
        ("{}", 422),
        ("[" * 150_000 + "]" * 150_000, 422),
        (json.dumps({"inputs": "a" * 10_000_000}), 413),
        ('{"inputs": "\\ud800", "input": "\\ud800", "state": "\\ud800"}', 422),
        ('{"inputs": ' + "9" * 5000 + "}", 400),
    ]:
        answer = post(running, path, content)
        assert answer.status_code == status, (content[:30], answer.text[:300])
        assert field in answer.json()
    assert time.monotonic() - begun < 20  # each in under a second on an idle machine


def test_too_many_texts_and_too_long_ones_are_refused(running: Running) -> None:
    many = httpx.post(f"{running.url}/predict", json={"inputs": [["a"]] * 257})
    assert many.status_code == 413
    assert many.json()["error"] == (
        "Expected at most 256 texts in a call, but found 257: send them in several calls."
    )
    long = predict(running, "a" * 200_001)
    assert long.status_code == 413
    assert long.json()["error"] == (
        "Expected texts of at most 200,000 characters, but one has 200,001: cut it."
    )
    assert httpx.post(f"{running.url}/predict", json={"inputs": []}).status_code == 422


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%00", "letters/..", "a" * 5000, "%ff"]
)
def test_a_name_that_looks_like_a_path_is_no_model(running: Running, name: str) -> None:
    request = f"POST /models/{name} HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n"
    request += 'Content-Type: application/json\r\nConnection: close\r\n\r\n{"inputs": "a"}'
    with socket.create_connection(running.address, timeout=20) as connection:
        connection.sendall(request.encode())
        answer = connection.makefile("rb").read()
    assert answer.split()[1] == b"404"
    assert b"/etc/passwd" not in answer.replace(b"../../etc/passwd", b"")


def test_strings_do_not_count_as_nesting() -> None:
    assert not nested_deeper(b'{"a": "' + b"[" * 100 + b'\\"[[", "b": [[]]}', 3)
    assert nested_deeper(b'{"a": [[[]]]}', 3)
    assert not nested_deeper(b"[]" * 100, 1)


def test_a_check_of_nesting_takes_linear_time() -> None:
    begun = time.process_time()
    assert not nested_deeper(b"[{[" + b'"\\' * 1_000_000, 3)
    assert time.process_time() - begun < 5


def test_a_text_that_fails_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    predictor = Lettered()
    predictor.gate.clear()
    texts = [f"a text of number {row}" for row in range(31)] + ["boom: a private text"]
    with (
        caplog.at_level(logging.DEBUG),
        served(lettered_service(predictor)) as running,
        ThreadPoolExecutor(32) as pool,
    ):
        calls = [pool.submit(predict, running, text) for text in texts]
        until(lambda: running.service.in_flight == 32)
        predictor.gate.set()
        answers = [call.result() for call in calls]
    assert [answer.status_code for answer in answers] == [200] * 31 + [500]
    assert answers[-1].json() == {
        "error": "Expected a text that the model can judge, but it failed on this one: leave it "
        "out.",
        "error_type": "Backend",
    }
    assert "private" not in caplog.text
    assert "secret" not in caplog.text
    assert max(predictor.batches) > 1


def test_64_clients_get_what_each_gets_alone() -> None:
    predictor = Lettered()
    texts = [f"{row} " + "pleasant " * (row % 9) + "grim " * (row % 4) for row in range(64)]
    expected = predictor.predict_proba(texts)
    with served(lettered_service(predictor)) as running, ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda text: predict(running, text), texts))
    for row, answer in enumerate(answers):
        found = {one["label"]: one["score"] for one in answer.json()}
        assert list(expected[row]) == [found[name] for name in predictor.label_names]


def test_a_full_queue_says_when_to_try_again_and_a_late_answer_is_a_timeout() -> None:
    predictor = Lettered()
    predictor.gate.clear()
    limits = Limits(queue=2, deadline_seconds=0.5)
    with served(lettered_service(predictor, limits=limits)) as running, ThreadPoolExecutor(9) as p:
        first = p.submit(predict, running, "first")
        until(lambda: _waiting(running) == 0 and running.service.in_flight == 1)
        calls = [p.submit(predict, running, f"text {row}") for row in range(8)]
        answers = [call.result() for call in (first, *calls)]
        predictor.gate.set()
        codes = sorted(answer.status_code for answer in answers)
        assert set(codes) == {429, 504}
        full = next(answer for answer in answers if answer.status_code == 429)
        assert full.headers["retry-after"] == "1"
        assert full.json() == {
            "error": "Expected room for 1 more texts, but 2 wait already, and 2 may: try again in "
            "a second.",
            "error_type": "Overloaded",
        }
        until(lambda: predict(running, "again").status_code == 200)


def test_more_than_can_be_judged_in_time_may_not_wait() -> None:
    predictor = Lettered()
    limits = Limits(backlog_texts=3, backlog_seconds=0.0)
    with served(lettered_service(predictor, limits=limits)) as running, ThreadPoolExecutor(9) as p:
        predict(running, "so its pace is known")
        predictor.gate.clear()
        calls = [p.submit(predict, running, "first")]
        until(lambda: running.service.in_flight == 1 and _waiting(running) == 0)
        calls += [p.submit(predict, running, f"text {row}") for row in range(3)]
        until(lambda: _waiting(running) == 3)
        full = predict(running, "one too many")
        predictor.gate.set()
        assert [call.result().status_code for call in calls] == [200] * 4
    assert full.status_code == 429
    assert full.headers["retry-after"] == "1"
    assert full.json()["error"] == (
        "Expected few texts to wait, but 3 do, which take about 0 s: try again then."
    )


def test_bodies_that_are_received_have_a_limit_together() -> None:
    limits = Limits(bodies_bytes=1000)
    with served(lettered_service(limits=limits)) as running:
        answer = predict(running, "a" * 1000)
        assert answer.status_code == 429
        assert answer.json()["error"] == (
            "Expected room for a body, but many are being received: try again in a second."
        )
        assert [predict(running, "a" * 900).status_code for _ in range(3)] == [200] * 3


def _waiting(running: Running) -> float:
    (value,) = [
        sample.value
        for family in text_string_to_metric_families(running.service.metrics.text().decode())
        for sample in family.samples
        if sample.name == "pollice_queue_texts"
    ] or [-1.0]
    return value


def test_a_dead_worker_is_not_ready_and_is_started_again() -> None:
    limits = Limits(restart_seconds=0.5)
    with served(lettered_service(limits=limits)) as running:
        assert predict(running, "die").status_code == 503
        assert httpx.get(f"{running.url}/ready").status_code == 503
        until(lambda: httpx.get(f"{running.url}/ready").status_code == 200)
        assert predict(running, "a good text").status_code == 200


def test_50_in_flight_are_answered_after_a_signal() -> None:
    predictor = Lettered()
    predictor.gate.clear()
    with served(lettered_service(predictor)) as running, ThreadPoolExecutor(50) as pool:
        calls = [pool.submit(predict, running, f"text {row}") for row in range(50)]
        until(lambda: running.service.in_flight == 50)
        running.server.handle_exit(15, None)
        assert httpx.get(f"{running.url}/ready").status_code == 503
        until(lambda: running.service.refuses_calls)
        late = predict(running, "too late")
        assert late.status_code == 503
        assert late.json()["error_type"] == "Unhealthy"
        predictor.gate.set()
        assert [call.result().status_code for call in calls] == [200] * 50
        running.thread.join(10)
        assert not running.thread.is_alive()


def test_the_metrics_are_read_by_a_parser_of_prometheus(running: Running) -> None:
    predict(running, "three little words")
    httpx.get(f"{running.url}/nowhere/secret-path")
    text = httpx.get(f"{running.url}/metrics").text
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {
        "pollice_requests",
        "pollice_failures",
        "pollice_queue_texts",
        "pollice_batch_texts",
        "pollice_tokens",
        "pollice_latency_seconds",
    } <= names
    assert 'pollice_requests_total{route="/predict",status="200"}' in text
    assert "secret-path" not in text


def test_docs_ask_nothing_of_others(running: Running) -> None:
    page = httpx.get(f"{running.url}/docs")
    assert "/v1/decisions" in page.text
    assert "http" not in page.text.replace("<!doctype", "")
    assert "<script" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_compressed_body_is_refused(running: Running) -> None:
    answer = httpx.post(
        f"{running.url}/predict", content=b"x", headers={"content-encoding": "gzip"}
    )
    assert answer.status_code == 415


def test_a_server_without_keys_takes_any(running: Running) -> None:
    assert Keys().allow(None, None)
    threads = threading.active_count()
    assert httpx.get(f"{running.url}/health").json() == {"status": "ok", "models": ["letters"]}
    assert threading.active_count() <= threads + 1
