"""`pollice predict`: files of any size, in parts, with the same bytes after a kill."""

import csv
import errno
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from killing import in_child
from pollice.errors import DataError, MachineError, PredictionsError, RunError
from pollice.predictions.answers import (
    MOST_CACHED,
    Answer,
    AnswerCache,
    OutputColumns,
    answer_texts,
)
from pollice.predictions.part_formats import PartFormat, part_format
from pollice.predictions.predictor import Predictor, Scores
from pollice.predictions.stream import Asked, PartsFolder, write_output
from pollice.predictions.table import Predictions
from pollice.runs.experiment import read_experiment
from pollice.runs.run import run_experiment
from pollice.runs.streaming import StreamOptions, predict_files
from pollice.system.folders import read_manifest, write_manifest

SUFFIXES = ["csv", "tsv", "jsonl", "parquet", "xlsx"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a predictor of opinions in a few words."""
    home = tmp_path_factory.mktemp("home")
    words = {"pos": "superb lovely great", "neg": "dull awful weak"}
    rows = [f"{words[label]} film {n},{label}" for n in range(30) for label in words]
    (home / "data.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    content = {"data": {"source": str(home / "data.csv")}, "methods": {"baseline": {}}}
    run_experiment(read_experiment(content, "a test"), home / "run")
    return home / "run" / "baseline" / "predictor"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Return a table of 700 rows with repeated, empty and odd texts and other columns."""
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "text", "label", "note"])
        for row in range(700):
            text = ["superb film", "", "dull, awful\nfilm", f"weak {row}"][row % 4]
            writer.writerow([row, text, ["pos", "neg", ""][row % 3], "=1+1"])
    return path


def predict(saved: Path, source: Path, output: Path, **options: Any) -> Any:
    return predict_files(saved, [str(source)], str(output), StreamOptions(**options), {})


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_all_columns_and_the_order_are_kept(saved: Path, rows: Path, tmp_path: Path) -> None:
    """Columns are added; one of the input with such a name is kept as input:NAME."""
    tally = predict(saved, rows, tmp_path / "out.csv")
    answered = read_csv(tmp_path / "out.csv")
    given = read_csv(rows)
    assert list(answered[0]) == [
        *("id", "number", "text", "input:label", "note", "gold", "label", "probability"),
        *("probability:neg", "probability:pos", "tokens", "truncated", "status"),
    ]
    for name, kept in [("number", "number"), ("text", "text"), ("label", "input:label")]:
        assert [row[kept] for row in answered] == [row[name] for row in given]
    assert {row["note"] for row in answered} == {"'=1+1"}
    assert [row["id"] for row in answered] == [str(row) for row in range(700)]
    assert {row["status"] for row in answered} == {"judged", "no text"}
    assert answered[1]["label"] == answered[1]["probability:pos"] == ""
    assert (tally.rows, tally.judged, tally.empty, tally.bad) == (700, 525, 175, 0)
    assert tally.known == sum(row["label"] != "" for row in given)
    assert not (tmp_path / "out.csv.parts").exists()


def test_every_format_gives_the_same_answers(saved: Path, rows: Path, tmp_path: Path) -> None:
    """And one of them can be the input of the next."""
    source = rows
    found: list[list[Any]] = []
    for suffix in SUFFIXES:
        output = tmp_path / f"out.{suffix}"
        predict(saved, source, output)
        predict(saved, output, tmp_path / f"again-{suffix}.jsonl")
        lines = (tmp_path / f"again-{suffix}.jsonl").read_text(encoding="utf-8").splitlines()
        found.append([json.loads(line)["label"] for line in lines])
    assert all(labels == found[0] for labels in found)
    assert len(found[0]) == 700
    assert set(found[0]) == {"pos", "neg", None}


def test_types_of_parquet_are_kept(saved: Path, tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": ["superb film", None, "dull film"],
            "when": pa.array([1, None, 3], pa.timestamp("ns")),
            "tags": [["a"], [], None],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    predict(saved, tmp_path / "in.parquet", tmp_path / "out.parquet")
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.select(["text", "when", "tags"]).equals(table)
    assert written.column("status").to_pylist() == ["judged", "no text", "judged"]
    assert np.isnan(written.column("probability:pos").to_pylist()[1])
    assert Predictions.read(tmp_path / "out.parquet").predicted == ("pos", None, "neg")


def test_a_bad_row_gets_a_status(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('text,x\nsuperb,1\ndull,1,2\n"open,3\ndull,4\n')
    predict(saved, tmp_path / "in.csv", tmp_path / "out.csv")
    assert [row["status"] for row in read_csv(tmp_path / "out.csv")] == [
        "judged",
        "bad row: 3 cells on line 3",
        "bad row: bad quotes on line 4",
        "judged",
    ]
    (tmp_path / "in.jsonl").write_text('{"text": "superb"}\n{"text": \n{"text": ["dull"]}\n')
    predict(saved, tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == [
        "judged",
        "bad row: line 2 is no JSON object",
        "bad row: the text is a list",
    ]


def test_many_bad_quotes_are_as_many_bad_rows(saved: Path, tmp_path: Path) -> None:
    lines = [f'superb,"{row}' if row % 2 else f"dull,{row}" for row in range(4000)]
    (tmp_path / "in.csv").write_text("\n".join(["text,x", *lines]) + "\n")
    tally = predict(saved, tmp_path / "in.csv", tmp_path / "out.csv")
    assert tally.rows == 4000
    assert tally.bad == 2000


def test_a_folder_and_several_files_are_one_table(saved: Path, tmp_path: Path) -> None:
    home = tmp_path / "in"
    home.mkdir()
    (home / "a.csv").write_text("text\nsuperb\ndull\n")
    (home / "b.csv").write_text("text,more\nsuperb,1\n")
    predict(saved, home, tmp_path / "folder.csv")
    files = [str(home / "a.csv"), str(home / "b.csv")]
    predict_files(saved, files, str(tmp_path / "files.csv"), StreamOptions(), {})
    assert (tmp_path / "folder.csv").read_bytes() == (tmp_path / "files.csv").read_bytes()
    written = read_csv(tmp_path / "folder.csv")
    assert [(row["id"], row["more"]) for row in written] == [("0", ""), ("1", ""), ("2", "1")]


# --- parts ---


class Words(Predictor):
    """Answers by the length of a text; counts what it is asked, and may be ended at a call."""

    label_names = ("long", "short")

    def __init__(self, end_at: int = -1) -> None:
        self.asked: list[str] = []
        self._end_at = end_at
        self._calls = 0

    def score(self, texts: Sequence[str]) -> Scores:
        self._calls += 1
        if self._calls == self._end_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked += texts
        share = np.array([min(0.9, len(text) / 20) for text in texts])
        return Scores(
            probabilities=np.stack([share, 1 - share], axis=1),
            tokens=np.array([len(text.split()) for text in texts]),
            truncated=np.array([len(text) > 15 for text in texts]),
        )

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> "Words":
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Batch:
    columns: Mapping[str, Any]
    ids: Sequence[str | None]
    texts: Sequence[str]
    gold: Sequence[str | None] | None = None
    problems: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)


TEXTS = ["a" * (row % 19) + str(row) if row % 5 else "" for row in range(1000)]
TEXTS += [f"text {row % 37}" for row in range(500)]
COLUMNS = OutputColumns(
    given=("text",), label_names=Words.label_names, own_id=False, with_gold=False
)


def read_batches(rows: int) -> Iterator[Batch]:
    for start in range(0, len(TEXTS), rows):
        texts = TEXTS[start : start + rows]
        yield Batch(columns={"text": texts}, ids=list(map(str, range(len(texts)))), texts=texts)


def form_of(suffix: str) -> PartFormat:
    return part_format(f".{suffix}", COLUMNS, None, len(TEXTS), raw_cells=False)


def run(output: Path, predictor: Words) -> Any:
    form = form_of(output.suffix.removeprefix("."))
    folder = PartsFolder(output, form.suffix)
    folder.prepare({"version": 1}, overwrite=False)
    asked = Asked(
        predictor=predictor,
        choose=lambda table: table.predicted,
        columns=COLUMNS,
        total=len(TEXTS),
    )
    return write_output(asked, read_batches, form, folder, rows_a_part=256)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_kills_change_no_byte(tmp_path: Path, suffix: str) -> None:
    """Three kills cost at most the part in work, and the counts are those of all rows."""
    whole, killed = tmp_path / f"whole.{suffix}", tmp_path / f"killed.{suffix}"
    expected = run(whole, Words())
    done = []
    for call in (4, 1, 3):
        code = in_child(lambda call=call: run(killed, Words(end_at=call)))  # type: ignore[misc]
        assert code == -signal.SIGKILL
        done.append(PartsFolder(killed, form_of(suffix).suffix).rows)
    assert done == [256, 256, 512]
    assert run(killed, Words()) == expected
    assert killed.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [killed.name, whole.name]


def test_a_repeated_text_is_scored_once(tmp_path: Path) -> None:
    words = Words()
    run(tmp_path / "out.csv", words)
    assert sorted(words.asked) == sorted({text for text in TEXTS if text})


def test_the_cache_forgets_the_oldest() -> None:
    cache = AnswerCache[Answer](limit=2)
    words = Words()
    for texts in (["a", "bb"], ["a", "ccc"], ["a", "bb"]):
        answer_texts(words, texts, {}, cache, lambda table: table.predicted)
    assert words.asked == ["a", "bb", "ccc", "a"]
    assert MOST_CACHED > 1000


def test_a_full_disk_keeps_the_finished_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = PartsFolder.keep
    calls = []

    def keep(folder: PartsFolder, temporary: Path, start: int, end: int) -> None:
        calls.append(start)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        kept(folder, temporary, start, end)

    monkeypatch.setattr(PartsFolder, "keep", keep)
    output = tmp_path / "out.csv"
    said = (
        f"Expected to use {output}, but its disk is full: make room, or name a place on another "
        "disk; the parts of the first 512 rows are kept, and the same command goes on after them."
    )
    with pytest.raises(MachineError, match=f"^{re.escape(said)}$"):
        run(output, Words())
    monkeypatch.setattr(PartsFolder, "keep", kept)
    run(output, Words())
    run(tmp_path / "whole.csv", Words())
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()


# --- refusals ---


def test_an_output_that_exists_is_refused(saved: Path, rows: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    output.write_text("mine")
    said = (
        f"Expected a new output, but {output} exists. Name another one, or give --overwrite (in "
        "Python: overwrite=True)."
    )
    with pytest.raises(PredictionsError, match=f"^{re.escape(said)}$"):
        predict(saved, rows, output)
    assert output.read_text() == "mine"
    predict(saved, rows, output, overwrite=True)
    assert len(read_csv(output)) == 700


def test_parts_of_another_input_are_refused(tmp_path: Path) -> None:
    folder = PartsFolder(tmp_path / "out.csv", ".csv")
    folder.prepare({"input": "one", "columns": []}, overwrite=False)
    said = (
        f"Expected the parts of this very command in {folder.path}, but they were made with "
        "another input. Give --overwrite to begin again (in Python: overwrite=True), or name "
        "another output."
    )
    with pytest.raises(PredictionsError, match=f"^{re.escape(said)}$"):
        folder.prepare({"input": "two", "columns": []}, overwrite=False)
    assert folder.prepare({"input": "two", "columns": []}, overwrite=True) == 0


def test_no_such_column_is_said(saved: Path, rows: Path, tmp_path: Path) -> None:
    said = (
        f"Expected the text column 'txt' in {rows}, but its columns are number, text, label, note."
        " Did you mean 'text'?"
    )
    with pytest.raises(DataError, match=f"^{re.escape(said)}$"):
        predict_files(
            saved, [str(rows)], str(tmp_path / "o.csv"), StreamOptions(), {"text_column": "txt"}
        )


def test_a_predictor_of_a_newer_version_is_said(saved: Path, rows: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    shutil.copytree(saved, newer)
    manifest = read_manifest(newer)
    del manifest["files"]
    write_manifest(newer, {**manifest, "format": 2})
    said = (
        f"Expected a predictor of format 1 or earlier, but {newer} has format 2, which a newer "
        "pollice saved. Update pollice, or train it again."
    )
    with pytest.raises(RunError, match=f"^{re.escape(said)}$"):
        predict(newer, rows, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_sheet_of_too_many_rows_is_refused() -> None:
    said = (
        "Expected at most 1,048,575 rows for a spreadsheet, but there are 2,000,000. Name an "
        "output that ends in .csv or .parquet."
    )
    with pytest.raises(PredictionsError, match=f"^{re.escape(said)}$"):
        part_format(".xlsx", COLUMNS, None, 2_000_000, raw_cells=False)


def test_json_has_no_nan(saved: Path, tmp_path: Path) -> None:
    """Neither of the input's columns: other programs refuse such a line."""
    table = pa.table({"text": ["warm soup", "cold soup"], "score": [float("nan"), float("inf")]})
    pq.write_table(table, tmp_path / "a.parquet")
    predict(saved, tmp_path / "a.parquet", tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["score"] for line in lines] == [None, None]


def test_a_column_whose_name_is_a_formula_is_disarmed(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,"=1+1"\nwarm soup,2\n')
    predict(saved, tmp_path / "a.csv", tmp_path / "out.csv")
    assert "'=1+1" in (tmp_path / "out.csv").read_text().splitlines()[0]


def test_lists_are_written_into_cells_of_a_sheet(saved: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["warm soup"], "tags": [["a", "b"]]}), tmp_path / "a.parquet")
    predict(saved, tmp_path / "a.parquet", tmp_path / "out.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").active
    names, values = sheet.iter_rows(values_only=True)
    assert dict(zip(names, values, strict=True))["tags"] == '["a", "b"]'


def test_links_and_pipes_in_a_folder_of_tables_are_said(
    saved: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.csv").write_text("text\nwarm soup\n")
    (tmp_path / "other.csv").write_text("text\ncold soup\n")
    (folder / "b.csv").symlink_to(tmp_path / "other.csv")
    with caplog.at_level("INFO", logger="pollice"):
        predict(saved, folder, tmp_path / "out.csv")
    assert f"In {folder}, 1 link leads out of the folder, so not followed: b.csv." in (
        caplog.messages
    )
    assert len(read_csv(tmp_path / "out.csv")) == 1
