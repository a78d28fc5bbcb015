"""The command line: what it writes, what it prints where, and how it refuses."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from conftest import WORDS, Invoke, opinion_rows
from pollice.cli.commands import app

ROWS = "".join(f"a fine film number {row},pos\na dull film number {row},neg\n" for row in range(30))
TABLE = f"text,label\n{ROWS}"
UNSURE = ("--abstain-below", "0.6")
DATA = '[data]\nsource = "data.csv"\n'


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished comparison, made by a real process."""
    home = tmp_path_factory.mktemp("home")
    with (home / "data.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *opinion_rows()])
    ended = pollice(home, "compare", "--data", "data.csv", "--method", "baseline", "-o", "run")
    assert ended.returncode == 0, ended.stderr
    return home / "run"


def pollice(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from pollice.cli.commands import main; main()", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_experiment_file_runs_and_options_go_before_it(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(TABLE)
    (tmp_path / "plan.toml").write_text(f"seed = 4\n{DATA}[methods.words]\nmethod = 'baseline'\n")
    code, output, _ = invoke(
        "compare", "plan.toml", "--set", "words.ngrams=1", "--test-rows", "8", "--json"
    )
    assert code == 0
    report = json.loads(output)
    assert report["seed"] == 4
    assert report["data"]["test_rows"] == 8
    assert report["methods"]["words"]["options"] == {
        "ngrams": 1,
        "characters": "auto",
        "max_features": 1_000_000,
        "seed": 4,
    }


def test_near_duplicates_are_told_to_be_other_texts(invoke: Invoke, tmp_path: Path) -> None:
    """The switch goes before the experiment's file, which goes before the default."""
    long = "a film of which much can be said by those who saw it on that day"
    rows = "".join(f"{long} {more},pos\n" for more in ("and", "or", "but"))
    (tmp_path / "data.csv").write_text(TABLE + rows)
    plan = f"{DATA}[split]\nnear_duplicates = {{}}\n[methods.baseline]\n"
    (tmp_path / "no.toml").write_text(plan.format("false"))
    (tmp_path / "yes.toml").write_text(plan.format("true"))
    for arguments, near in [
        (["data", "data.csv"], 2),
        (["data", "data.csv", "--no-near-duplicates"], 0),
        (["compare", "no.toml", "-o", "no"], 0),
        (["compare", "yes.toml", "--no-near-duplicates", "-o", "no"], 0),
        (["compare", "no.toml", "--near-duplicates", "-o", "yes"], 2),
        (["compare", "--data", "data.csv", "--method", "baseline", "-o", "yes"], 2),
    ]:
        code, output, error = invoke(*arguments, "--json")
        assert code == 0, error
        found = json.loads(output)
        assert found.get("data", found)["near_duplicates"] == near


def test_repeated_and_contradictory_texts_are_named(invoke: Invoke, tmp_path: Path) -> None:
    """By the listing and by the report, with their labels; the terminal says what was left out."""
    rows = "Nothing to add.,pos\n" * 7 + "nothing to add,neg\n" * 2
    (tmp_path / "data.csv").write_text(TABLE + rows)
    _, listed, _ = invoke("data", "data.csv")
    listed = " ".join(listed.split())
    assert "often: Nothing to add. (9 rows, 13.0%: pos 7, neg 2)" in listed
    assert "1 text has copies with different labels; a split takes the commonest" in listed
    code, shown, error = invoke(
        "compare", "--data", "data.csv", "--method", "baseline", "-o", "run"
    )
    assert code == 0, error
    assert "seed 0; 8 copies of texts left out" in " ".join(shown.split())
    written = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "- Texts of more than 2 % of the rows: “Nothing to add.” (pos 7, neg 2)\n" in written
    assert (
        "- Same text twice: 8 exact and 0 near duplicates; 8 copies left out, so that each text "
        "counts once; 0 rows removed that would have leaked between the parts; 1 text has copies "
        "with different labels; the commonest counts\n" in written
    )


@pytest.mark.parametrize("arguments", [["--seed", "-1"], ["--limit", "0"], ["--seed", "x"]])
def test_numbers_out_of_range_are_refused(invoke: Invoke, arguments: list[str]) -> None:
    code, output, error = invoke("compare", *arguments)
    assert (code, output) == (2, "")
    assert f"Invalid value for '{arguments[0]}'" in error


def test_another_experiment_in_the_folder_is_refused(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    ended = pollice(
        finished.parent, "compare", "--data", "data.csv", "--method", "baseline",
        "-o", "run", "--seed", "2",
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr.splitlines()[-1]) == (
        2,
        "",
        "Error: run holds another experiment: methods.baseline.seed is 0 there and 2 here. "
        "Name another folder with --out, or delete it.",
    )
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_a_byte_order_mark_is_accepted(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "marked.csv").write_bytes(b"\xef\xbb\xbf" + TABLE.encode())
    code, output, _ = invoke("data", "marked.csv", "--json")
    assert code == 0
    assert json.loads(output)["labels"] == {"neg": 30, "pos": 30}


def test_odd_names_three_labels_and_huge_texts_are_no_trouble(
    invoke: Invoke, tmp_path: Path
) -> None:
    name = "ré sumé \U0001f44d [bold].csv"
    mixed = "".join(f"so so film number {row} \U0001f937,mixed [x]\n" for row in range(30))
    (tmp_path / name).write_text(f"{TABLE}{mixed}{'big ' * 500_000},mixed [x]\n", "utf-8")
    code, output, error = invoke("compare", "--data", name, "--method", "baseline")
    assert code == 0, error
    assert name.split(".")[0] in output
    (run,) = (tmp_path / "runs").iterdir()
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert list(report["data"]["labels"]) == ["mixed [x]", "neg", "pos"]


def test_json_goes_to_standard_output_alone(finished: Path) -> None:
    ended = pollice(
        finished.parent, "compare", "--data", "data.csv", "--method", "baseline",
        "-o", "run", "--json",
    )  # fmt: skip
    assert ended.returncode == 0
    held = json.loads((finished / "report.json").read_text(encoding="utf-8"))
    assert json.loads(ended.stdout) == held
    assert "baseline is finished already" in ended.stderr


def test_a_finished_comparison_says_where_its_report_is(finished: Path) -> None:
    ended = pollice(finished.parent, "train", "baseline", "--data", "data.csv", "-o", "run")
    assert ended.returncode == 0
    assert ended.stdout.splitlines()[-2:] == [
        "Report: run/report.html",
        "Predictor: run/baseline/predictor",
    ]


def test_evaluate_gives_the_accuracy_of_the_report(invoke: Invoke, finished: Path) -> None:
    held = json.loads((finished / "report.json").read_text(encoding="utf-8"))
    table = str(finished / "baseline" / "predictions.parquet")
    code, output, error = invoke("evaluate", table, f"again={table}", "--json", "-o", "page.html")
    assert (code, error) == (0, "")
    judged = json.loads(output)
    for name in ("baseline", "again"):
        for number in ("accuracy", "accuracy_interval", "log_loss", "per_label", "confusion"):
            assert judged["methods"][name][number] == held["methods"]["baseline"][number]
    assert "again" in (Path.cwd() / "page.html").read_text(encoding="utf-8")


def test_evaluate_takes_tables_of_other_systems(
    invoke: Invoke, finished: Path, tmp_path: Path
) -> None:
    """The same columns as CSV with semicolons and as JSON Lines give the same figures."""
    table = pq.read_table(finished / "baseline" / "predictions.parquet")
    rows = table.to_pylist()
    with (tmp_path / "theirs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, table.column_names, delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "lines.jsonl").write_text(lines, encoding="utf-8")
    code, output, error = invoke(
        "evaluate", str(finished / "baseline" / "predictions.parquet"), "theirs.csv",
        "lines.jsonl", "--json", "-o", "judged",
    )  # fmt: skip
    assert (code, error) == (0, "")
    methods = json.loads(output)["methods"]
    assert len({json.dumps(methods[name]["accuracy_interval"]) for name in methods}) == 1
    assert sorted(methods) == ["baseline", "lines", "theirs"]
    assert sorted(path.name for path in (tmp_path / "judged").iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("report.pdf", "Expected a page that ends in .html, or a folder, for the report, but found "
         "report.pdf. Name for example -o report.html."),
        ("no/report.html", "Expected a folder for the report 'report.html', but there is no no. "
         "Create it first."),
    ],
)  # fmt: skip
def test_a_report_that_cannot_be_written_is_refused_first(
    invoke: Invoke, output: str, sentence: str
) -> None:
    """The table is not even looked for."""
    code, said, error = invoke("evaluate", "nowhere.parquet", "-o", output)
    assert (code, said, error) == (2, "", f"Error: {sentence}\n")


def test_texts_without_labels_are_counted(invoke: Invoke, tmp_path: Path) -> None:
    """And it is said how to go on; a label column that was named but is missing is refused."""
    (tmp_path / "new.csv").write_text(
        'answer\nso good\nso good\n""\n\u043e\u0447\u0435\u043d\u044c\n', "utf-8"
    )
    code, output, error = invoke("data", "new.csv")
    assert code == 0, error
    shown = " ".join(output.split())
    assert "new.csv: 4 texts without labels, 1 of them empty" in shown
    assert "repeats: 1 exact and 0 near duplicates" in shown
    assert "mostly in the script: latin 2, cyrillic 1" in shown
    assert "pollice label new.csv --labels negative,positive -o labelled.csv" in shown
    code, output, _ = invoke("data", "new.csv", "--json")
    assert json.loads(output)["rows"] == 4
    code, _, error = invoke("data", "new.csv", "--label-column", "mood")
    assert code == 2
    assert error.startswith("Error: Expected the label column 'mood' in new.csv")


def test_one_row_is_one_row(invoke: Invoke, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("text\nso dull\n")
    code, said, _ = invoke("predict", str(finished / "baseline"), "new.csv", "-o", "out.csv")
    assert (code, said) == (0, "1 row judged, 0 of them cut to fit: out.csv\n")


def test_balanced_counts_are_asked_for(invoke: Invoke, tmp_path: Path) -> None:
    """On the command line, or in the experiment's file; as it comes, labels are as they are."""
    more = "".join(f"a fine song number {row},pos\n" for row in range(60))
    (tmp_path / "data.csv").write_text(TABLE + more)
    (tmp_path / "plan.toml").write_text(
        f"{DATA}[split]\nbalanced = true\ntest_rows = 20\n[methods.baseline]\n"
    )
    command = ("compare", "--data", "data.csv", "--method", "baseline", "--test-rows", "20")
    for arguments, rows in [
        (command, {"neg": 5, "pos": 15}),
        ((*command, "--balanced"), {"neg": 10, "pos": 10}),
        (("compare", "plan.toml"), {"neg": 10, "pos": 10}),
        (("compare", "plan.toml", "--natural"), {"neg": 5, "pos": 15}),
    ]:
        code, output, error = invoke(*arguments, "--json")
        assert code == 0, error
        labels = json.loads(output)["methods"]["baseline"]["per_label"]
        assert {name: label["support"] for name, label in labels.items()} == rows


def test_evaluate_abstains(invoke: Invoke, finished: Path) -> None:
    table = str(finished / "baseline" / "predictions.parquet")
    code, output, _ = invoke("evaluate", table, "--abstain-below", "0.99", "--json")
    assert code == 0
    judged = json.loads(output)["methods"]["baseline"]
    assert judged["abstain_below"] == 0.99
    assert judged["coverage"] < 1
    assert judged["accuracy"] == pytest.approx(
        judged["coverage"] * (judged["answered_accuracy"] or 0)
    )
    code, output, _ = invoke("evaluate", table, "--abstain-below", "0.9")
    assert code == 0
    assert "A row whose highest probability is below 0.9 has no answer." in " ".join(output.split())


def test_rows_without_a_text_are_said(finished: Path, tmp_path: Path) -> None:
    """The output has a line for each row; an empty text gets no label."""
    (tmp_path / "new.csv").write_text('text\nso dull\n""\n""\n')
    ended = pollice(tmp_path, "predict", str(finished / "baseline"), "new.csv", "-o", "out.csv")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "1 row judged, 0 of them cut to fit: out.csv",
        "Warning: 2 rows have no text, so the label there is empty.",
    ]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_predict_leaves_the_label_empty_where_it_abstains(
    invoke: Invoke, finished: Path, tmp_path: Path, suffix: str
) -> None:
    (tmp_path / "new.csv").write_text(f"text\n{' '.join(3 * WORDS['pos'])}\nfilm\n")
    place = str(finished / "baseline")
    code, said, _ = invoke("predict", place, "new.csv", "-o", f"out.{suffix}", *UNSURE)
    assert (code, said) == (
        0,
        f"2 rows judged, 1 left without a label, 0 of them cut to fit: out.{suffix}\n",
    )
    written = (tmp_path / f"out.{suffix}").read_text()
    if suffix == "csv":
        rows = list(csv.DictReader(written.splitlines()))
        assert [row["label"] for row in rows] == ["pos", ""]
    else:
        rows = [json.loads(line) for line in written.splitlines()]
        assert [row["label"] for row in rows] == ["pos", None]
    assert float(rows[1]["probability"]) == pytest.approx(
        max(float(rows[1]["probability:pos"]), float(rows[1]["probability:neg"]))
    )


def test_predict_counts_the_texts_of_which_it_knows_nothing(
    invoke: Invoke, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "new.csv").write_text("text\nsuperb film\n\u597d\n\u574f\n", encoding="utf-8")
    code, said, _ = invoke("predict", str(finished / "baseline"), "new.csv", "-o", "out.csv")
    assert (code, said) == (
        0,
        "3 rows judged, 0 of them cut to fit: out.csv\n"
        "The predictor knows nothing of what is in 2 of these texts: their labels rest on "
        "nothing.\n",
    )


def test_train_goes_on_with_what_is_asked_later(invoke: Invoke, tmp_path: Path) -> None:
    """The run's folder has the same name, so nothing is fitted again."""
    (tmp_path / "data.csv").write_text(TABLE)
    assert invoke("train", "baseline", "--data", "data.csv")[0] == 0
    code, output, error = invoke(
        "train", "baseline", "--data", "data.csv", "--canary", "--attack", *UNSURE
    )
    assert code == 0
    assert "baseline is finished already" in error
    for title in ("The label canary", "Right answers that flipped", "The share of rows answered"):
        assert title in output
    (run,) = (tmp_path / "runs").iterdir()
    assert {"canary.json", "attack.json"} <= {path.name for path in (run / "baseline").iterdir()}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_predictions_line_up_with_the_rows_of_the_file(
    invoke: Invoke, finished: Path, tmp_path: Path, suffix: str
) -> None:
    """Empty texts included: they get no answer, and a warning."""
    texts = [
        "superb lovely great",
        "",
        "dull awful weak",
        '" "',
        "\U0001f600",
        '"two\nlines, dull"',
    ]
    lines = [f"{text},key-{row}" for row, text in enumerate(texts)]
    (tmp_path / "new.csv").write_text("\n".join(["text,id", *lines]) + "\n", encoding="utf-8")
    output = tmp_path / f"out.{suffix}"
    code, said, _ = invoke("predict", str(finished / "baseline"), "new.csv", "-o", output.name)
    assert (code, said.splitlines()) == (
        0,
        [
            f"4 rows judged, 0 of them cut to fit: {output.name}",
            "The predictor knows nothing of what is in 1 of these texts: their labels rest on "
            "nothing.",
            "Warning: 2 rows have no text, so the label there is empty.",
        ],
    )
    if suffix == "parquet":
        rows = pq.read_table(output).to_pylist()
    elif suffix == "csv":
        with output.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == [f"key-{row}" for row in range(6)]
    missing = {"csv": "", "jsonl": "None", "parquet": "nan"}[suffix]
    assert str(rows[1]["probability:pos"]) == str(rows[3]["probability:neg"]) == missing
    judged = [row for place, row in enumerate(rows) if place not in (1, 3)]
    positive = [float(row["probability:pos"]) for row in judged]
    assert positive[0] > 0.5 > positive[1]
    assert all(
        float(row["probability:pos"]) + float(row["probability:neg"]) == pytest.approx(1, abs=1e-5)
        for row in judged
    )


def test_known_labels_are_carried_into_the_table(
    invoke: Invoke, finished: Path, tmp_path: Path
) -> None:
    source = str(finished.parent / "data.csv")
    invoke("predict", str(finished / "baseline" / "predictor"), source, "-o", "out.parquet")
    code, output, _ = invoke("evaluate", "out.parquet", "--json")
    assert code == 0
    assert json.loads(output)["data"]["test_rows"] == 120


def test_lists_name_every_method_and_entry(invoke: Invoke) -> None:
    code, output, error = invoke("methods")
    assert (code, error) == (0, "")
    assert re.findall(r"^(\w+)  ", output, re.MULTILINE)[:11] == [
        "baseline",
        "cascade",
        "distill",
        "ensemble",
        "features",
        "finetune",
        "lexicon",
        "lora",
        "nli",
        "prompt",
        "trainer",
    ]
    code, output, error = invoke("fetch", "--list")
    assert (code, error) == (0, "")
    assert "minilm" in output
    code, output, error = invoke("methods", "baseline")
    assert code == 0
    assert "loading the method baseline" in error
    assert "ngrams" in output
    code, output, error = invoke("methods", "nli")
    assert code == 0
    assert re.search(r"^checkpoint +required ", output, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(app.commands))
def test_every_command_has_its_help(command: str) -> None:
    ended = CliRunner().invoke(app, [command, "--help"])
    assert ended.exit_code == 0
    assert ended.output.startswith(f"Usage: app {command}")


def test_an_unknown_command_is_refused_by_a_real_process(tmp_path: Path) -> None:
    ended = pollice(tmp_path, "trian")
    assert ended.returncode == 2
    assert "No such command 'trian'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_mistake_in_a_real_process_ends_in_2(tmp_path: Path) -> None:
    ended = pollice(tmp_path, "data", "nope.csv")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "Error: Expected a file, a folder, hub:owner/name@revision or a data set of the catalogue, "
        "but there is no 'nope.csv'. Check the name.\n"
    )


def test_inspect_prints_the_tables_of_the_report(invoke: Invoke) -> None:
    code, output, error = invoke("inspect", "mistral-7b-instruct")
    assert code == 0
    assert "reading mistral-7b-instruct" in error
    cells = dict(re.findall(r"^(\S.*?)  +(\S.*?) *$", output, re.MULTILINE))
    assert cells["width (dim, d_model)"] == "4096"
    assert cells["feed-forward width (hidden_dim)"] == "14336"
    assert cells["feed-forward hidden (both halves of the gate)"] == "28672"
    assert cells["key/value heads (n_kv_heads)"] == "8"
    assert cells["window (window_size)"] == "4096"
    assert cells["all parameters"] == "7,241,732,096"
    assert cells["keys and values of a token, bf16"] == "131,072 bytes"
    code, output, _ = invoke("inspect", "gemma-2b", "--vocabulary", "256128", "--json")
    assert code == 0
    assert json.loads(output)["embedding_parameters"] == 524_550_144
    output = invoke("inspect", "gemma-3-270m")[1]
    assert "512 (in 15 of 18 layers)" in output


PLAN = ("plan", "finetune", "--set", "finetune.dtype=float32", "--set", "finetune.device=cpu")


def test_plan_shows_every_way_and_what_to_set(invoke: Invoke) -> None:
    code, output, error = invoke(*PLAN, "--memory", "64GiB")
    assert code == 0
    assert "loading the method finetune" in error
    assert "planning the memory of finetune" in error
    assert output.startswith("finetune may use 64.00 GiB of memory (as --memory says).\n\nway ")
    assert "It fits" not in output
    ways = json.loads(invoke(*PLAN, "--memory", "64GiB", "--json")[1])["ways"]
    code, output, _ = invoke(*PLAN, "--memory", f"{ways[-1]['bytes'] // 2**20 + 20}MiB")
    assert code == 0
    assert output.splitlines()[-1].startswith("It fits, with other numbers: --set finetune.")
    assert [way["taken"] for way in ways][:2] == [True, False]


def test_plan_takes_the_lengths_of_the_texts(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(TABLE)
    sizes = [
        json.loads(invoke(*PLAN, *more, "--memory", "64GiB", "--json")[1])["ways"][0]["bytes"]
        for more in ((), ("--data", "data.csv"))
    ]
    assert sizes[1] < sizes[0]


def test_plan_refuses_with_the_same_table(invoke: Invoke) -> None:
    code, output, error = invoke("plan", "features", "--model", "minilm", "--memory", "200MiB")
    assert (code, output) == (2, "")
    assert "\nError: features needs " in error
    assert "may use 200 MiB of memory (as --memory says). Allow it --memory " in error
    assert "\n\nway " in error
    assert "libraries" in error


def test_a_run_that_does_not_fit_is_refused_and_leaves_nothing(
    invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "data.csv").write_text(TABLE)
    code, output, error = invoke(
        "train", "baseline", "--data", "data.csv", "--memory", "20MiB", "-o", "run"
    )
    assert (code, output) == (2, "")
    assert "Error: baseline needs " in error
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_the_budget_is_no_part_of_the_experiment(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(TABLE)
    assert invoke("train", "baseline", "--data", "data.csv")[0] == 0
    code, _, error = invoke("train", "baseline", "--data", "data.csv", "--memory", "64GiB")
    assert code == 0
    assert "baseline is finished already" in error
    (run,) = (tmp_path / "runs").iterdir()
    assert "memory" not in (run / "experiment.toml").read_text()
    cost = json.loads((run / "baseline" / "cost.json").read_text())
    assert cost["memory_changes"] == {}
    assert cost["predicted_memory_mib"] == pytest.approx(cost["peak_memory_mib"], rel=0.2)
