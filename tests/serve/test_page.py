"""The routes of the page, with a service that knows two words."""

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from page_service import CountingService
from pollice.serve.page import TEXTS_A_CALL, page_router


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.include_router(page_router(CountingService()))
    return TestClient(app)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/page/style.css", "text/css"), ("/page/script.js", "text/javascript")],
)
def test_the_files_forbid_everything_that_is_not_theirs(
    client: TestClient, path: str, kind: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/page/style.css", "/page/script.js"])
def test_the_files_name_no_other_address_and_no_inline_code(client: TestClient, path: str) -> None:
    content = client.get(path).text
    for part in ("http:", "https:", "@import", "url(", "innerHTML", "insertAdjacentHTML", "eval("):
        assert part not in content
    if path == "/":
        assert not re.findall(r"\s(?:style|on\w+)=", content)


def test_every_text_has_its_answer(client: TestClient) -> None:
    answer = client.post("/page/judge", json={"model": "first", "texts": ["good", "bad", "fail"]})
    first, second, third = answer.json()["answers"]
    assert first["label"] == "positive"
    assert second["label"] == "negative"
    assert sum(first["probabilities"].values()) == pytest.approx(1)
    assert third == {"error": "This text failed."}


def test_an_explanation_is_the_whole_text_in_stretches(client: TestClient) -> None:
    text = "A good film 👍, not bad."
    answer = client.post("/page/explain", json={"model": "first", "text": text}).json()
    assert "".join(each["text"] for each in answer["stretches"]) == text
    shades = {each["text"]: each["shade"] for each in answer["stretches"] if each["shade"]}
    assert answer["label"] == "negative"  # the first name of a tie
    assert shades == {"good": -3, "bad": 3}


def test_an_unknown_predictor_and_too_many_texts_are_refused(client: TestClient) -> None:
    answer = client.post("/page/judge", json={"model": "third", "texts": ["a"]})
    assert answer.status_code == 404
    assert answer.json() == {
        "error": "Expected one of first, second, but found 'third'. Load the page again."
    }
    assert client.post("/page/explain", json={"model": "x", "text": "a"}).status_code == 404
    many = {"model": "first", "texts": ["a"] * (TEXTS_A_CALL + 1)}
    assert client.post("/page/judge", json=many).status_code == 422
    assert client.post("/page/judge", json={"model": "first", "texts": []}).status_code == 422


def test_the_report_is_shown_where_there_is_one(client: TestClient, tmp_path: Path) -> None:
    assert client.get("/report").status_code == 404
    assert client.get("/page/models").json()["report"] is False
    (tmp_path / "report.html").write_text("<p>ours</p>", encoding="utf-8")
    app = FastAPI()
    app.include_router(page_router(CountingService(), tmp_path))
    with_report = TestClient(app)
    assert with_report.get("/report").text == "<p>ours</p>"
    assert "script" not in with_report.get("/report").headers["content-security-policy"]
    assert with_report.get("/page/models").json()["report"] is True
