"""Every mistake at the command line: exit code 2, one sentence, and nothing half-written."""

from pathlib import Path

import pytest

from conftest import Invoke

OTHER_ENCODING = (
    "Save it again as UTF-8, or name its encoding with --encoding, such as cp1252 or latin-1 "
    "(Western), cp1251 (Cyrillic), gb18030 (Chinese), shift_jis (Japanese)."
)

ROWS = "".join(f"a fine film number {row},pos\na dull film number {row},neg\n" for row in range(30))
TABLE = f"text,label\n{ROWS}"
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty.csv": (
        b"",
        "Expected a table, but empty.csv is empty. Name a file with at least one row.",
    ),
    "header.csv": (
        b"text,label\n",
        "Expected rows below the names of the columns, but header.csv has none. "
        "Name a file with at least one row.",
    ),
    "columns.csv": (
        b"a,b\n1,2\n",
        "Expected a text column named text, review, content, sentence, comment or alike in "
        "columns.csv, but its columns are a, b. Name it with --text-column (in Python: "
        "text_column).",
    ),
    "one.csv": (
        TABLE.replace("neg", "pos").encode(),
        "Expected two labels or more, but every row of one.csv has the label 'pos'. "
        "Name another column with --label-column, or add rows of another label.",
    ),
    "ragged.csv": (
        b"text,label\ngood,pos\nbad, very bad,neg\n",
        "Expected 2 columns as in the first line, but line 3 of ragged.csv has 3. "
        "Put quotes around a text that holds the separator.",
    ),
    "latin.csv": (
        TABLE.encode() + "caf\u00e9,pos\n".encode("latin-1"),
        "Expected UTF-8, but line 62 of latin.csv holds the byte 0xe9 at column 4. "
        f"{OTHER_ENCODING}",
    ),
    "nul.csv": (
        TABLE.encode() + b"a\0b,pos\n",
        "Expected text, but line 62 of nul.csv holds a NUL byte. Save it again as UTF-8 text.",
    ),
    "cut.parquet": (
        b"PAR1" + b"\0" * 100,
        "Expected a whole Parquet file, but cut.parquet cannot be read as one (ArrowInvalid). "
        "Copy or download it again.",
    ),
    "table.xlsx": (
        b"PK\3\4",
        "Expected a whole spreadsheet, but table.xlsx cannot be read as one (BadZipFile). Save it "
        "again as .xlsx or as CSV.",
    ),
}


def last_sentence(error: str) -> str:
    return error.rstrip("\n").rpartition("Error: ")[2]


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_and_nothing_is_written(
    invoke: Invoke, tmp_path: Path, name: str
) -> None:
    content, sentence = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    code, output, error = invoke("compare", "--data", name, "--method", "baseline", "-o", "run")
    assert (code, output, last_sentence(error)) == (2, "", sentence)
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == [name]


CATALOGUE = (
    "distilbert, gemma-2b, gemma-3-270m, gemma-7b, minilm, mistral-7b-instruct, "
    "multilingual-e5-small, smollm2-135m-instruct"
)
UNSURE = (
    "abstain_below is {}, but no answer can be held to a probability outside [0, 1). "
    "Give the lowest probability to answer at, such as 0.8."
)
METHODS = (
    "baseline, cascade, distill, ensemble, features, finetune, lexicon, lora, nli, prompt, trainer"
)
BAD_COMMANDS: dict[str, str] = {
    "compare --data nope.csv": (
        "Expected a file, a folder, hub:owner/name@revision or a data set of the catalogue, but "
        "there is no 'nope.csv'. Check the name."
    ),
    "compare --data data.csv --text-column txet": (
        "Expected the text column 'txet' in data.csv, but its columns are text, label. "
        "Did you mean 'text'?"
    ),
    "compare --data data.csv --train-rows 1000": (
        "Expected 1,000 rows for train, but found only 48 different texts: 24 'neg', 24 'pos'. "
        "Ask for fewer rows."
    ),
    "compare --data data.csv --test unseen.csv": (
        "Expected training rows of every label, but only the test part has the label 'mixed'. "
        "Add such rows, or leave the label out with --drop-label."
    ),
    "compare --data data.csv --method basline": (
        f"There is no method 'basline'. Did you mean 'baseline'? The methods are: {METHODS}."
    ),
    "compare --data data.csv --set baseline.ngram=2": (
        "Method 'baseline' has no option 'ngram'. Did you mean 'ngrams'? "
        "Its options are: ngrams, characters, max_features, seed."
    ),
    "compare --data data.csv --set baseline.ngrams=9": (
        "Option baseline.ngrams is 9, but its value should be less than or equal to 5. "
        "See: pollice methods baseline."
    ),
    "compare --data data.csv --set baseline.ngrams": (
        "Expected --set METHOD.option=value, but found 'baseline.ngrams'. "
        "Write for example --set finetune.epochs=2."
    ),
    "compare --data data.csv --set features.seed=2": (
        "--set names the method 'features', but this comparison has: baseline."
    ),
    "compare --data data.csv --method baseline --method baseline": (
        "Expected a name of its own for everything compared, but --method gives 'baseline' 2 "
        "times. Write baseline-2=METHOD for another."
    ),
    "compare --data data.csv --method features --set features.checkpoint=minilmm": (
        f"There is no checkpoint 'minilmm': give a name of the catalogue ({CATALOGUE}), a folder "
        "with a config.json, a .gguf file, or hub:owner/name@revision. Did you mean 'minilm'?"
    ),
    "compare --data data.csv --label-names 0:neg": (
        "Expected --label-names like 0=negative,1=positive, but found '0:neg'."
    ),
    "compare --data data.csv --label-names neg=bad": (
        "Expected the labels neg in data.csv, but found 'pos' (30 rows). Give every label a name "
        "with --label-names, or leave its rows out with --drop-label pos."
    ),
    "compare data.csv": (
        "Expected an experiment in TOML, but data.csv cannot be read as such (Expected '=' after a "
        "key in a key/value pair (at line 1, column 5)). To compare on a file of texts, write "
        "--data before its name."
    ),
    "compare nope.toml": (
        "Expected an experiment in TOML, but nope.toml cannot be opened (No such file or "
        "directory). Check its name."
    ),
    "compare --data data.csv --abstain-below 1": UNSURE.format("1"),
    "predict nope data.csv -o out.csv --abstain-below nan": UNSURE.format("nan"),
    "train baseline": "Expected data to train on, but none are named. Add --data FILE.",
    "predict nope data.csv -o out.csv": (
        "Expected a complete folder with a manifest.json, but nope has none. "
        "Name a folder that pollice saved, such as runs/NAME/METHOD/predictor."
    ),
    "predict . data.csv -o out.csv": (
        "Expected a complete folder with a manifest.json, but . has none. "
        "Name a folder that pollice saved, such as runs/NAME/METHOD/predictor."
    ),
    "predict nope data.csv -o out.txt": (
        "Expected an output that ends in .parquet, .csv, .tsv, .jsonl, .xlsx, but found 'out.txt'. "
        "Name the format by its ending."
    ),
    "predict nope data.csv -o data.csv": (
        "Expected an output besides the texts, but data.csv is the file of texts itself. "
        "Name another output."
    ),
    "evaluate data.csv": (
        "A predictions table needs the column id and a column probability:LABEL for each of two "
        "labels or more, but data.csv has: text, label."
    ),
    "evaluate a/predictions.parquet b/a/predictions.parquet": (
        "Expected a name of its own for everything compared, but the command gives 'a' 2 times. "
        "Write a-2=FILE for another."
    ),
    "methods basline": (
        f"There is no method 'basline'. Did you mean 'baseline'? The methods are: {METHODS}."
    ),
    "fetch minilmm": (
        f"The catalogue has no 'minilmm'; it has {CATALOGUE.replace('minilm,', 'imdb, minilm,')}"
        ". Did you mean 'minilm'?"
    ).replace("multilingual-e5-small, ", "multilingual-e5-small, rotten-tomatoes, "),
}


@pytest.mark.parametrize("command", BAD_COMMANDS)
def test_a_mistake_is_answered_by_one_sentence(
    invoke: Invoke, tmp_path: Path, command: str
) -> None:
    (tmp_path / "data.csv").write_text(TABLE)
    (tmp_path / "unseen.csv").write_text("text,label\nso and so,mixed\nfine,pos\n")
    arguments = command.split()
    if arguments[:2] == ["compare", "--data"]:
        arguments += ["-o", "run"]
        arguments += [] if "--method" in arguments else ["--method", "baseline"]
    code, output, error = invoke(*arguments)
    assert (code, output, last_sentence(error)) == (2, "", BAD_COMMANDS[command])
    assert "Traceback" not in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "unseen.csv"]
    assert (tmp_path / "data.csv").read_text() == TABLE


DATA = '[data]\nsource = "data.csv"\n'
BASELINE = "[methods.baseline]\n"
BAD_EXPERIMENTS = [
    (
        f"sed = 1\n{DATA}{BASELINE}",
        "plan.toml sets sed, but there is no such field. Did you mean 'seed'? "
        "The fields are: data, methods, split, seed, abstain_below, canary, attack.",
    ),
    (
        f"{DATA}limt = 3\n{BASELINE}",
        "plan.toml sets data.limt, but there is no such field. Did you mean 'limit'? "
        "The fields are: source, test, limit, read.",
    ),
    (
        f'seed = "x"\n{DATA}{BASELINE}',
        "seed is 'x' in plan.toml, but its value should be a valid integer, unable to parse "
        "string as an integer.",
    ),
    (
        f"seed = -1\n{DATA}{BASELINE}",
        "seed is -1 in plan.toml, but its value should be greater than or equal to 0.",
    ),
    (
        f"abstain_below = 1\n{DATA}{BASELINE}",
        "abstain_below is 1, but no answer can be held to a probability outside [0, 1). "
        "Give the lowest probability to answer at, such as 0.8.",
    ),
    (
        f'canary = "maybe"\n{DATA}{BASELINE}',
        "canary is 'maybe' in plan.toml, but its value should be a valid boolean, unable to "
        "interpret input.",
    ),
    (BASELINE, "Expected data.source in plan.toml, but it is not set."),
    (
        f'[daat]\nsource = "data.csv"\n{BASELINE}',
        "plan.toml sets daat, but there is no such field. Did you mean 'data'? The fields are: "
        "data, methods, split, seed, abstain_below, canary, attack. Expected data.source in "
        "plan.toml, but it is not set.",
    ),
    (
        f'data = "data.csv"\n{BASELINE}',
        "Expected a table of options for data in the experiment, but found 'data.csv'. "
        "Write each option as a line of its own below the table's name.",
    ),
    (
        f"{DATA}[methods]\nbaseline = 1\n",
        "methods.baseline is 1 in plan.toml, but its value should be a valid table.",
    ),
    (DATA, "Expected one method or more, but none is named. Add --method NAME."),
    (
        f"{DATA}[split]\nseed = 3\n{BASELINE}",
        "The experiment's seed draws the split: it is 0, but split.seed is 3. Set seed alone.",
    ),
]


@pytest.mark.parametrize(("content", "sentence"), BAD_EXPERIMENTS)
def test_a_bad_experiment_file_is_refused(
    invoke: Invoke, tmp_path: Path, content: str, sentence: str
) -> None:
    (tmp_path / "data.csv").write_text(TABLE)
    (tmp_path / "plan.toml").write_text(content)
    assert invoke("compare", "plan.toml") == (2, "", f"Error: {sentence}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "plan.toml"]
