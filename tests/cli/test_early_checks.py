"""A wrong name is refused before anything slow is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import opinion_rows
from pollice.cli.early_checks import check_experiment_names
from pollice.errors import SourceError
from pollice.runs.experiment import DataSource, Experiment

SAY = (
    "import sys\n"
    "from pollice.cli.commands import main\n"
    "try:\n    main()\n"
    "finally:\n    print(*sys.modules)"
)
WRONG = {
    "methods baselin": "There is no method 'baselin'. Did you mean 'baseline'?",
    "inspect nope": "There is no checkpoint 'nope': give a name of the catalogue",
    "inspect .": "The folder . has no config.json, but holds data.csv: name a folder that",
    "plan finetun": "There is no method 'finetun'. Did you mean 'finetune'?",
    "plan finetune --model nope": "There is no checkpoint 'nope'",
    "plan finetune --data nope.csv": "Expected a file, a folder, hub:owner/name@revision or",
    "plan finetune --set finetune.epoch=3": "Method 'finetune' has no option 'epoch'.",
    "compare --data nope.csv --method lora": "Expected a file, a folder, hub:owner/name",
    "compare --data data.csv --test nope.csv --method lora": "Expected a file, a folder, hub:",
    "compare --data data.csv --method nope": "There is no method 'nope'.",
    "compare --data data.csv --method lora --set lora.checkpoint=nope": "There is no checkpoint",
    "compare --data data.csv --method lora --set lora.epoch=2": "Method 'lora' has no option",
    "train finetune --data data.csv --set finetune.epoch=2": "Method 'finetune' has no option",
    "predict nope data.csv -o out.csv": "Expected a complete folder with a manifest.json, but",
    "label nope.csv --labels a,b -o out.csv": "Expected a file, a folder, hub:owner/name",
    "label data.csv --labels a,b --model nope -o out.csv": "There is no checkpoint 'nope'",
    "label data.csv --labels a,b --set prompt.x=1 -o out.csv": "Method 'prompt' has no option",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    lines = "".join(f"{text},{label}\n" for text, label in opinion_rows(40))
    (tmp_path / "data.csv").write_text(f"text,label\n{lines}")
    return tmp_path


@pytest.mark.parametrize("command", WRONG)
def test_a_wrong_name_is_refused_before_torch_is_imported(home: Path, command: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SAY, *command.split()],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert f"Error: {WRONG[command]}" in ended.stderr
    loaded = {name.partition(".")[0] for name in ended.stdout.splitlines()[-1].split()}
    assert not {"torch", "transformers", "sklearn"} & loaded


def test_a_finished_method_needs_its_checkpoint_no_more(tmp_path: Path) -> None:
    experiment = Experiment(
        data=DataSource(source=str(tmp_path)), methods={"lora": {"checkpoint": "gone"}}
    )
    with pytest.raises(SourceError, match=r"^There is no checkpoint 'gone': "):
        check_experiment_names(experiment, tmp_path / "run")
    (tmp_path / "run" / "lora").mkdir(parents=True)
    (tmp_path / "run" / "lora" / "manifest.json").write_text("{}")
    check_experiment_names(experiment, tmp_path / "run")
