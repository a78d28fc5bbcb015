"""What we replace of Trainer and TRL that has no public name is in one table, and is there."""

import ast
import inspect
import re
from pathlib import Path

import pytest
import transformers
from transformers import TrainerCallback, TrainingArguments
from trl.trainer import base_trainer, sft_trainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from pollice.models import hugging_face
from pollice.models.hugging_face.arguments import OneGpuArguments

PRIVATE: list[tuple[type, str, str]] = [
    (SFTTrainer, "_send_telemetry", "TRL has no option to send nothing"),
]
SOURCES = [path.read_text(encoding="utf-8") for path in Path(hugging_face.__path__[0]).glob("*.py")]


@pytest.mark.parametrize(("owner", "name", "why"), PRIVATE)
def test_a_private_name_is_still_there(owner: type, name: str, why: str) -> None:
    assert hasattr(owner, name), f"{owner.__name__} has no {name} any more ({why}): look for it"


def private_names(tree: ast.AST) -> set[str]:
    """Return the private names that a source reads, sets or defines."""
    nodes = list(ast.walk(tree))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    return {name for name in names if re.match("_[a-z]", name)}


def test_no_other_private_name_is_used_or_replaced() -> None:
    """A name of ours that one of them has too would replace it without a word."""
    modules = (transformers.trainer, transformers.training_args, sft_trainer, base_trainer)
    theirs = set(re.findall(r"self\.(_[a-z]\w*)", "".join(map(inspect.getsource, modules))))
    for owner in (SFTTrainer, SFTConfig, TrainerCallback):
        theirs |= set(dir(owner))
    ours = set().union(*(private_names(ast.parse(source)) for source in SOURCES))
    assert ours & theirs == {name for _, name, _ in PRIVATE}


def test_one_gpu_is_used_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 4))
    arguments = OneGpuArguments(output_dir=str(tmp_path), use_cpu=True)
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == arguments.per_device_train_batch_size
