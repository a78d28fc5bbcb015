"""What is printed never fails and never steers a terminal; what is written asks for nothing."""

import codecs
import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

import pollice
from conftest import Invoke, opinion_rows
from hostile_report import hostile_report
from pollice.cli.commands import main
from pollice.cli.progress_bars import shown_on
from pollice.cli.streams import plain_streams
from pollice.cli.terminal import Terminal
from pollice.data.reading import read_dataset, read_texts
from pollice.predictions.cells import disarm, rearm
from pollice.predictions.files import write_rows
from pollice.predictions.table import Predictions
from pollice.report import to_html, to_markdown, write_report
from pollice.system.progress import stage
from written_answers import write_answers

STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
ENCODINGS = ("ascii", "cp1252", "latin-1", "utf-8")
Print = Callable[..., tuple[int, str, str]]


@pytest.fixture
def print_as(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Print:
    """Run `pollice` with streams of an encoding; returns the code and what they were given."""
    monkeypatch.chdir(tmp_path)

    def run(encoding: str, *arguments: str) -> tuple[int, str, str]:
        streams = {name: io.BytesIO() for name in ("stdout", "stderr")}
        for name, stream in streams.items():
            monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, encoding, errors="strict"))
        monkeypatch.setattr(sys, "argv", ["pollice", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        written = [stream.getvalue().decode(encoding) for stream in streams.values()]
        return int(ended.value.code or 0), written[0], written[1]

    return run


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return texts, labels and ids in letters that few encodings have."""
    home = tmp_path_factory.mktemp("foreign")
    names = {"pos": "好评 👍", "neg": "Ünhappy … “нет”"}
    with (home / "data.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        for row, (text, label) in enumerate(opinion_rows(80)):
            writer.writerow([f"№{row}", f"{text} ✓ 汤", names[label]])
    return home


# --- encodings ---


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_command_prints_whatever_the_encoding(
    print_as: Print, foreign: Path, encoding: str
) -> None:
    data = str(foreign / "data.csv")
    for arguments in (
        ["data", data],
        ["train", "baseline", "--data", data, "-o", "run"],
        ["predict", "run/baseline", data, "-o", "out.csv"],
        ["evaluate", "run/baseline/predictions.parquet"],
        ["methods", "baseline"],
        ["fetch", "--list"],
        ["compare", "--help"],
    ):
        code, _, said = print_as(encoding, *arguments)
        assert code == 0, said
    for name in ("report.md", "report.html", "report.json"):
        assert "好评" in Path("run", name).read_text(encoding="utf-8")
    assert "好评" in Path("out.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_error_sentence_prints_whatever_the_encoding(print_as: Print, encoding: str) -> None:
    code, _, said = print_as(encoding, "data", "не-там-🙂.csv")
    assert code == 2
    assert said.startswith("Error: Expected a file")
    assert said.encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_is_the_same_json_in_every_encoding(
    print_as: Print, foreign: Path, encoding: str
) -> None:
    """What an encoding lacks is written as JSON's own escapes."""
    code, shown, said = print_as(encoding, "data", str(foreign / "data.csv"), "--json")
    assert code == 0, said
    assert set(json.loads(shown)["labels"]) == {"好评 👍", "Ünhappy … “нет”"}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_bars_move_on_a_terminal_of_few_letters(encoding: str) -> None:
    stream = io.BytesIO()
    file = io.TextIOWrapper(stream, encoding, errors="strict")
    terminal = Terminal(file=file, force_terminal=True, width=80)
    with shown_on(terminal), stage("reading", total=3) as advance:
        advance(3)
    file.flush()
    shown = stream.getvalue().decode(encoding)
    assert "reading" in shown
    assert "3/3" in shown


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii:strict"},
        {"PYTHONIOENCODING": "cp1252"},
    ],
    ids=["locale-C", "ascii", "cp1252"],
)
def test_a_process_of_its_own_prints_in_its_locale(
    foreign: Path, environment: dict[str, str]
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pollice", "data", str(foreign / "data.csv")],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert b"Traceback" not in ended.stderr
    assert rb"\u597d\u8bc4" in ended.stdout


def test_a_reader_that_has_enough_ends_the_command_quietly(opinions: Path) -> None:
    """As in `pollice data FILE | head -0`: exit code 141, as a shell says of SIGPIPE."""
    for arguments in (["data", str(opinions)], ["data", str(opinions), "--json"], ["methods"]):
        reading, writing = os.pipe()
        os.close(reading)
        ended = subprocess.run(
            [sys.executable, "-m", "pollice", *arguments],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(writing)
        assert ended.returncode == 141
        assert not re.search("Traceback|Error|Exception", ended.stderr)


def test_streams_are_put_back_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    with plain_streams():
        assert sys.stdout is not stream
        print("好")
    assert sys.stdout is stream
    assert stream.errors == "strict"


# --- control characters ---

ATTACKS = {
    "escape": "\x1b]0;owned\x07",
    "colour": "\x1b[31mred",
    "c1": "\x9b31mred",
    "bell": "a\x07b",
    "backspace": "safe\x08\x08evil",
    "return": "safe\revil",
    "right-to-left": "\u202egnp.exe",
    "isolate": "\u2067evil\u2069",
    "delete": "a\x7fb",
}
attacks = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


def assert_tame(*streams: str) -> None:
    for stream in streams:
        assert STEERING.search(stream) is None, ascii(stream)


@attacks
def test_a_file_name_does_not_steer(invoke: Invoke, attack: str) -> None:
    code, shown, said = invoke("data", f"{attack}.csv")
    assert code == 2
    assert_tame(shown, said)


@attacks
def test_columns_ids_labels_and_texts_do_not_steer(
    invoke: Invoke, tmp_path: Path, attack: str
) -> None:
    rows = [{"id": f"{attack}{row}", f"{attack}x": f"{attack} {row} {'ab'[row % 2]} word {row * 7}",
             "label": f"{attack}{row % 2}"} for row in range(60)]  # fmt: skip
    lines = [json.dumps(row) + "\n" for row in rows]
    (tmp_path / "data.jsonl").write_text("".join(lines))
    (tmp_path / "twice.jsonl").write_text(lines[0] * 2)
    column = ("--text-column", f"{attack}x")
    for expected, arguments in [
        (2, ["data", "data.jsonl"]),
        (0, ["data", "data.jsonl", *column]),
        (2, ["data", "twice.jsonl", *column]),
        (2, ["data", "data.jsonl", "--label-column", f"{attack}y"]),
        (0, ["train", "baseline", "--data", "data.jsonl", *column, "-o", "run"]),
        (0, ["evaluate", f"{attack}=run/baseline/predictions.parquet"]),
        (2, ["evaluate", f"{attack}.parquet"]),
        (2, ["methods", attack]),
        (2, ["compare", "--data", "data.jsonl", "--method", attack]),
        (2, [attack]),
        (2, ["data", "data.jsonl", f"--{attack}"]),
    ]:
        code, shown, said = invoke(*arguments)
        assert code == expected, (arguments, said)
        assert_tame(shown, said)


def test_an_error_is_one_line_whatever_it_names(invoke: Invoke) -> None:
    """A line break in a name cannot make a line that looks like ours."""
    code, _, said = invoke("data", "a\nError: all your rows are gone.csv")
    assert code == 2
    assert len(said.splitlines()) == 1


@attacks
def test_a_console_with_colours_shows_what_it_does_not_obey(attack: str) -> None:
    """On a real terminal too, where the console's own colours are written."""
    stream = io.StringIO()
    terminal = Terminal(file=stream, force_terminal=True, color_system="standard", width=120)
    terminal.print(Text(f"<{attack}>", style="bold red"))
    shown = stream.getvalue()
    assert shown.startswith("\x1b[1;31m<")
    assert_tame(re.sub(r"\x1b\[[0-9;]*m", "", shown))


def test_no_command_prints_past_the_filter() -> None:
    """Rich's own console would write control characters as they are."""
    sources = Path(pollice.__file__).parent.rglob("*.py")
    found = [path.name for path in sources if re.search(r"\bConsole\(", path.read_text("utf-8"))]
    assert found == []


# --- formulas ---


@given(st.one_of(st.text(), st.from_regex(r"'{0,3}[=+\-@\t\r].{0,5}")))
def test_every_cell_comes_back(cell: str) -> None:
    assert rearm(disarm(cell)) == cell


@given(st.from_regex(r"'{0,3}[=+\-@\t\r\uff1d\uff0b].{0,5}", fullmatch=True))
def test_no_cell_begins_a_formula(cell: str) -> None:
    assert disarm(cell)[0] == "'" or re.fullmatch(r"-[0-9.eE+-]+", cell)


FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1",
    "@SUM(A1)",
    "-2+3+cmd",
    "\t=2",
    "\r=3",
    "'=1",
    "-5",
    "plain",
)


def formulas() -> Predictions:
    return Predictions(
        ids=FORMULAS,
        label_names=("=good", "@bad"),
        probabilities=np.tile([0.25, 0.75], (len(FORMULAS), 1)),
        tokens=np.zeros(len(FORMULAS), np.int64),
        truncated=np.zeros(len(FORMULAS), np.bool_),
    )


def cells(path: Path, column: str) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row[column] for row in csv.DictReader(file)]


def test_formulas_in_csv_are_disarmed(tmp_path: Path) -> None:
    write_answers(formulas(), tmp_path / "out", ".csv")
    assert cells(tmp_path / "out", "id") == [
        "'=cmd|' /C calc'!A0", "'+1", "'@SUM(A1)", "'-2+3+cmd", "'\t=2", "'\r=3", "''=1", "-5",
        "plain",
    ]  # fmt: skip
    assert set(cells(tmp_path / "out", "label")) == {"'@bad"}
    assert set(cells(tmp_path / "out", "probability")) == {"0.75"}


def test_raw_cells_are_kept(tmp_path: Path) -> None:
    write_answers(formulas(), tmp_path / "out", ".csv", raw_cells=True)
    assert cells(tmp_path / "out", "id") == list(FORMULAS)


def test_negative_numbers_stay_numbers(tmp_path: Path) -> None:
    write_rows([{"id": "a", "score": -0.5}], ["id", "score"], tmp_path / "out", ".csv")
    assert cells(tmp_path / "out", "score") == ["-0.5"]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_formats_without_formulas_keep_every_cell(tmp_path: Path, suffix: str) -> None:
    rows = [{"id": cell, "text": cell} for cell in FORMULAS]
    path = tmp_path / f"out{suffix}"
    write_rows(rows, ["id", "text"], path, suffix)
    assert read_texts(str(path)).ids == tuple(cell.strip() for cell in FORMULAS)


def test_our_own_csv_is_read_back_as_it_was(tmp_path: Path) -> None:
    rows = [
        {
            "id": cell,
            "text": f"={cell} film",
            "label": ("=good", "@bad")[row % 2],
            "probability:x": 1,
        }
        for row, cell in enumerate(FORMULAS)
    ]
    write_rows(rows, list(rows[0]), tmp_path / "own.csv", ".csv")
    found = read_dataset(str(tmp_path / "own.csv"))
    assert found.ids == tuple(cell.strip() for cell in FORMULAS)
    assert found.texts[0] == "==cmd|' /C calc'!A0 film"
    assert set(found.labels) == {"=good", "@bad"}


def test_apostrophes_of_others_stay(tmp_path: Path) -> None:
    (tmp_path / "theirs.csv").write_text("id,text,label\n'=1,'=x good,'+a\n'=2,'=y bad,'-b\n")
    found = read_dataset(str(tmp_path / "theirs.csv"))
    assert (found.ids, found.labels) == (("'=1", "'=2"), ("'+a", "'-b"))


@pytest.mark.parametrize("option", [(), ("--raw-cells",)], ids=["disarmed", "raw"])
def test_predict_disarms_unless_told_not_to(
    invoke: Invoke, finished: Path, tmp_path: Path, option: tuple[str, ...]
) -> None:
    (tmp_path / "texts.csv").write_text("id,text\n=1+1,a great film\n")
    predictor = str(finished / "baseline")
    code, _, said = invoke("predict", predictor, "texts.csv", "-o", "out.csv", *option)
    assert code == 0, said
    assert cells(tmp_path / "out.csv", "id") == ["=1+1" if option else "'=1+1"]


# --- reports ask for nothing ---

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
ASKING = {"src", "href", "srcset", "action", "formaction", "data", "poster", "background", "ping"}
ASKING |= {"xlink:href", "cite", "longdesc", "manifest"}
LOADING_TAGS = {
    "script",
    "img",
    "iframe",
    "link",
    "object",
    "embed",
    "base",
    "form",
    "audio",
    "video",
}
LOADING_TAGS |= {"source", "image", "foreignobject", "use", "frame", "applet", "a"}


class Guard(HTMLParser):
    """Notes everything in a page that could make a browser ask for something, or run it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.policies: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        within = tag == "a" and all(str(value).startswith("#") for _, value in attrs)
        if tag in LOADING_TAGS and not within:
            self.asked.append(f"<{tag}>")
        for name, value in attrs:
            if (name in ASKING and not (value or "").startswith("#")) or name.startswith("on"):
                self.asked.append(f"{tag} {name}={value}")
            if (
                re.search(r"url\(|@import|javascript:|expression\(", value or "")
                and name == "style"
            ):
                self.asked.append(f"{tag} {name}={value}")
        given = dict(attrs)
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(given["content"])
        elif "http-equiv" in given:
            self.asked.append(f"meta {given['http-equiv']}")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style" and re.search(r"url\(|@import|@font-face", data):
            self.asked.append(data)


def guarded(page: str) -> Guard:
    guard = Guard()
    guard.feed(page)
    return guard


def test_the_page_of_a_hostile_report_asks_for_nothing() -> None:
    guard = guarded(to_html(hostile_report()))
    assert guard.asked == []
    assert guard.policies == [POLICY]


@pytest.mark.parametrize(
    "planted",
    [
        "<img src='https://a.example'>",
        "<p onclick='x()'>",
        "<style>p { background: url(//a.example) }</style>",
        "<style>@import 'https://a.example';</style>",
        "<p style='background:url(//a.example)'>",
        "<svg><use href='https://a.example#x'/></svg>",
        "<meta http-equiv='refresh' content='0;url=https://a.example'>",
        "<script>1</script>",
    ],
)
def test_the_guard_finds_what_is_planted(planted: str) -> None:
    assert guarded(to_html(hostile_report()).replace("</body>", f"{planted}</body>")).asked


def test_the_markdown_of_a_hostile_report_has_no_markup_of_its_own() -> None:
    """No link, image, code, HTML or cell that a foreign text made."""
    written = to_markdown(hostile_report())
    unescaped = re.sub(r"\\.", "", written)
    assert not re.search(r"\]\(|\]\[|`|<(?!br)", unescaped)
    table: list[int] = []
    for line in unescaped.splitlines():
        table = [*table, line.count("|")] if line.startswith("|") else []
        assert len(set(table)) <= 1, line


@pytest.mark.parametrize("name", ["report.json", "report.md", "report.html"])
def test_reports_are_utf_8_and_tame(tmp_path: Path, name: str) -> None:
    write_report(hostile_report(), tmp_path)
    written = codecs.decode((tmp_path / name).read_bytes(), "utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f]", written)


@pytest.mark.parametrize("size", [1, 7])
def test_text_that_comes_in_pieces_is_shown_alike(size: int) -> None:
    stream = io.StringIO()
    terminal = Terminal(file=stream, width=500)
    text = "".join(ATTACKS.values()).replace("\r", "")
    for start in range(0, len(text), size):
        terminal.out(text[start : start + size], end="", highlight=False)
    assert_tame(stream.getvalue())
