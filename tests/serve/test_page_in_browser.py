"""The page in a real browser: Debian's Chromium, driven by Playwright, and a service that counts.

One browser for all tests, and a server in a thread.
"""

import csv
import hashlib
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, Route, expect
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import sync_playwright as start_playwright

from page_service import CountingService
from pollice.serve.keys import Keys
from pollice.serve.page import page_router
from serving import lettered_service, served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="the page is tested in Chromium, which is not found"
)

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script> good"
WIDTHS = (360, 800, 1280)
PATIENCE = 60_000
"""Milliseconds: a machine with other work opens a page in half a minute."""
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    report = tmp_path_factory.mktemp("run") / "report.html"
    report.write_text("<!doctype html><title>r</title><h1>The report</h1>", encoding="utf-8")
    app = FastAPI()
    app.include_router(page_router(CountingService(), report))
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with start_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """Open the page; whatever the browser complains of, or a dialog, fails the test."""
    opened = browser.new_page(viewport={"width": 800, "height": 900})
    complaints: list[str] = []

    def on_console(said: ConsoleMessage) -> None:
        if said.type == "error":
            complaints.append(said.text)

    def on_dialog(dialog: Dialog) -> None:
        complaints.append(dialog.message)
        dialog.dismiss()

    def on_request(asked: Request) -> None:
        if not asked.url.startswith((address, "blob:")):
            complaints.append(asked.url)

    opened.on("console", on_console)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", on_dialog)
    opened.on("request", on_request)
    opened.set_default_timeout(PATIENCE)
    opened.goto(address)
    expect(opened.locator("#model option")).to_have_count(2)
    yield opened
    opened.close()
    # Chromium asks for an icon by itself.
    assert [each for each in complaints if "404" not in each] == []


def judge(page: Page, text: str) -> None:
    page.get_by_label("Paste or write an opinion").fill(text)
    page.get_by_role("button", name="Judge", exact=True).click()
    expect(page.locator("#opinion-status")).to_have_text("Judged by 2 predictors.")


def write_rows(path: Path, rows: int = 500) -> Path:
    words = ("good", "bad", "great", "nothing", "awful")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "stars", "review"])
        for row in range(rows):
            writer.writerow([f"r{row}", row % 5, f'It was {words[row % 5]}, "really",\nrow {row}'])
    return path


def saved(page: Page, button: str) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def is_too_wide(page: Page) -> bool:
    wide: bool = page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    )
    return wide


def test_an_opinion_is_judged_by_every_predictor_and_explained(page: Page) -> None:
    judge(page, "A good film. The end was bad, but the music was great!")
    cards = page.locator("#answers .card")
    expect(cards).to_have_count(2)
    expect(cards.first).to_contain_text("positive")
    expect(cards.first).to_contain_text("0.924")
    expect(cards.first).to_contain_text("The whole text was read.")
    page.get_by_role("button", name="Explain the answer of second").click()
    explained = page.locator("#explanation")
    expect(explained.locator("h3")).to_have_text("What moved second to positive (0.924)")
    expect(explained.locator(".shaded mark.for-3")).to_have_text("great+++")
    expect(explained.locator(".shaded mark.against-2")).to_have_text(
        "bad\N{MINUS SIGN}\N{MINUS SIGN}"
    )
    expect(explained.locator(".weights li").first).to_have_text("+2.50 great")
    expect(explained).to_contain_text("Legend:")


def test_a_text_that_was_cut_and_one_that_failed_are_said(page: Page) -> None:
    judge(page, "good " * 500)
    expect(page.locator("#answers")).to_contain_text("The text was cut")
    judge(page, "this will fail")
    expect(page.locator("#answers")).to_contain_text("This text failed.")
    page.get_by_label("Paste or write an opinion").fill("  ")
    page.get_by_role("button", name="Judge", exact=True).click()
    expect(page.locator("#opinion-status")).to_have_text("Write a text first.")


def test_a_file_of_500_rows_is_judged_downloaded_and_corrected(page: Page, tmp_path: Path) -> None:
    page.get_by_label("Choose a file").set_input_files(write_rows(tmp_path / "reviews.csv"))
    expect(page.locator("#found")).to_have_text(
        "reviews.csv: 500 rows. Columns found: id, stars, review."
    )
    expect(page.get_by_label("Column of texts")).to_have_value("2")
    page.get_by_role("button", name="Judge all rows").click()
    expect(page.locator("#file-status")).to_have_text("500 of 500 rows judged.")
    assert page.locator("#progress").evaluate("bar => bar.value") == 500
    rows = saved(page, "Download as CSV")
    assert [row["id"] for row in rows] == [f"r{row}" for row in range(500)]
    assert rows[0]["text"] == 'It was good, "really",\nrow 0'
    assert [row["label"] for row in rows[:5]] == [
        "positive",
        "negative",
        "positive",
        "",
        "negative",
    ]
    assert float(rows[1]["probability:negative"]) == pytest.approx(0.8176, abs=1e-4)
    selects = page.locator("#check-rows select")
    expect(selects).to_have_count(20)
    expect(page.locator("#check-rows tr").first).to_contain_text("no answer")
    selects.nth(0).select_option("negative")
    selects.nth(1).select_option("positive")
    expect(page.locator("#check-status")).to_have_text("2 rows checked.")
    known = saved(page, "Download checked rows")
    assert [row["label"] for row in known] == ["negative", "positive"]
    assert all("nothing" in row["text"] for row in known)
    page.get_by_role("button", name="Show more rows").click()
    expect(selects).to_have_count(40)


def test_judging_a_file_can_be_stopped(page: Page, tmp_path: Path) -> None:
    """The service does not answer the second call before Stop was pressed."""
    calls: list[object] = []

    def hold(route: Route) -> None:
        calls.append(route)
        if len(calls) == 2:
            page.get_by_role("button", name="Stop").click()
        route.continue_()

    page.get_by_label("Choose a file").set_input_files(write_rows(tmp_path / "reviews.csv"))
    page.route("**/page/judge", hold)
    page.get_by_role("button", name="Judge all rows").click()
    expect(page.locator("#file-status")).to_contain_text("stopped")
    assert len(calls) < 16
    assert len(saved(page, "Download as CSV")) == 32 * len(calls)


@pytest.mark.parametrize(
    ("name", "content", "found", "texts"),
    [
        pytest.param("a.tsv", "text\tn\ngood, really\t1\n", "text, n", ["good, really"], id="tsv"),
        pytest.param(
            "a.jsonl",
            '{"n": 1, "body": "good\\nday"}\n\n{"body": "bad"}\n',
            "n, body",
            ["good\nday", "bad"],
            id="json-lines",
        ),
        pytest.param(
            "a.txt", "It is good\n\nbad, too\n", "text", ["It is good", "bad, too"], id="lines"
        ),
        pytest.param("a.csv", "\ufeffn;text\r\n1;good\r\n", "n, text", ["good"], id="semicolons"),
        pytest.param("a.csv", "text\n=1+1\n-2\n", "text", ["'=1+1", "-2"], id="formulas"),
    ],
)
def test_usual_files_are_read(
    page: Page, tmp_path: Path, name: str, content: str, found: str, texts: list[str]
) -> None:
    """What a spreadsheet would take for a formula has an apostrophe in the download."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    page.get_by_label("Choose a file").set_input_files(path)
    expect(page.locator("#found")).to_contain_text(f"Columns found: {found}.")
    page.get_by_role("button", name="Judge all rows").click()
    expect(page.locator("#file-status")).to_have_text(
        f"{len(texts)} of {len(texts)} {'row' if len(texts) == 1 else 'rows'} judged."
    )
    assert [row["text"] for row in saved(page, "Download as CSV")] == texts


def test_pasted_rows_and_dropped_files_are_read_and_others_refused(
    page: Page, tmp_path: Path
) -> None:
    page.get_by_label("Or paste its rows").fill("good\nbad\n")
    page.get_by_role("button", name="Read the pasted rows").click()
    expect(page.locator("#found")).to_have_text("The pasted rows: 2 rows. Columns found: text.")
    page.evaluate(
        """() => { const data = new DataTransfer();
        data.items.add(new File(["text\\ngood\\n"], "dropped.csv"));
        document.getElementById("drop").dispatchEvent(
            new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })); }"""
    )
    expect(page.locator("#found")).to_have_text("dropped.csv: 1 row. Columns found: text.")
    path = tmp_path / "a.csv"
    path.write_bytes(b"text\nsch\xf6n\n")
    page.get_by_label("Choose a file").set_input_files(path)
    expect(page.get_by_role("alert")).to_have_text(
        "Expected a.csv in UTF-8, but it is not. Convert it first."
    )


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    """Every field is reached by Tab in the order of the page, and Enter presses buttons."""
    keyboard = page.keyboard
    keyboard.press("Tab")
    keyboard.press("Enter")  # the link that skips the head of the page
    expect(page.get_by_label("Paste or write an opinion")).to_be_focused()
    keyboard.type("A great day")
    keyboard.press("Tab")
    keyboard.press("Enter")
    expect(page.locator("#answers .card")).to_have_count(2)
    keyboard.press("Tab")
    expect(page.get_by_role("button", name="Explain the answer of first")).to_be_focused()
    keyboard.press("Enter")
    expect(page.locator("#explanation mark.for-3").first).to_have_text("great+++")
    reached = []
    for _ in range(8):
        keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert [each for each in reached if each in ("file", "pasted", "read-pasted", "SELECT")] == [
        "file",
        "pasted",
        "read-pasted",
        "SELECT",
    ]


def test_every_field_and_button_has_a_name(page: Page) -> None:
    judge(page, "A good day")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, progress")]
        .filter((each) => !(each.labels && each.labels.length) && !each.getAttribute("aria-label")
            && !each.textContent.trim()).map((each) => each.outerHTML)"""
    )
    assert nameless == []
    assert page.locator("[aria-live]").count() >= 5


def test_hostile_text_is_shown_as_text(page: Page, tmp_path: Path) -> None:
    """Nothing in it becomes an element: the page fixture fails on a dialog, too."""
    judge(page, HOSTILE)
    page.get_by_role("button", name="Explain the answer of first").click()
    expect(page.locator(".shaded")).to_contain_text("<script>alert(2)</script>")
    path = tmp_path / "<b>name.csv"
    path.write_text(f'"<i>x</i>",text\n1,"{HOSTILE}"\n', encoding="utf-8")
    page.get_by_label("Choose a file").set_input_files(path)
    expect(page.locator("#found")).to_contain_text("<i>x</i>")
    page.get_by_role("button", name="Judge all rows").click()
    expect(page.locator("#file-status")).to_have_text("1 of 1 row judged.")
    expect(page.locator("#check-rows tr").last).to_contain_text("onerror=alert(1)")
    assert page.locator("main img, main script, main i, main b").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(
    page: Page, tmp_path: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.get_by_label("Choose a file").set_input_files(write_rows(tmp_path / "reviews.csv", 30))
    page.get_by_role("button", name="Judge all rows").click()
    expect(page.locator("#file-status")).to_have_text("30 of 30 rows judged.")
    judge(page, "good " + "a-very-long-word-without-a-blank" * 8 + " bad")
    page.get_by_role("button", name="Explain the answer of first").click()
    expect(page.locator(".weights li").first).to_be_visible()
    assert not is_too_wide(page)
    page.screenshot(path=tmp_path / f"page-{width}-{scheme}.png", full_page=True)


def test_the_report_is_one_link_away(page: Page) -> None:
    page.get_by_role("link", name="report").click()
    expect(page.locator("h1")).to_have_text("The report")


def test_a_person_who_knows_the_key_may_use_the_page(browser: Browser) -> None:
    """Chromium asks for a password, and sends it with whatever the page asks."""
    key = "0123456789abcdef-key"
    keys = Keys((hashlib.sha256(key.encode()).digest(),))
    with served(lettered_service(), keys) as server:
        stranger = browser.new_page()
        with pytest.raises(PlaywrightError, match="INVALID_AUTH_CREDENTIALS"):
            stranger.goto(server.url)
        stranger.close()
        friend = browser.new_page(http_credentials={"username": "a person", "password": key})
        friend.set_default_timeout(PATIENCE)
        friend.goto(server.url)
        friend.get_by_label("Paste or write an opinion").fill("A great day")
        friend.get_by_role("button", name="Judge", exact=True).click()
        expect(friend.locator("#opinion-status")).to_have_text("Judged by 1 predictor.")
        friend.close()
