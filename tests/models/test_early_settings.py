"""What must be set before PyTorch is used is set, or pollice says that it came too late."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pollice.method import options_of
from pollice.methods import create_method
from tiny import opinions, tiny_encoder

CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
SHOW = f"import os; print(*(os.environ.get(name) for name in {CACHES}))"


def python(*given: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with neither of the variables but those given."""
    unset = (*CACHES, "GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.run(
        [sys.executable, *given],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=True,
    )


def test_torch_afterwards_is_the_order_that_needs_no_word() -> None:
    done = python("-c", f"import pollice.models, torch; {SHOW}")
    assert done.stdout.split() == ["128", "128"]
    assert done.stderr == ""


def test_torch_before_is_said_once_with_the_remedy() -> None:
    done = python("-c", f"import torch, pollice.models, pollice.models.batching; {SHOW}")
    assert done.stdout.split() == ["128", "128"]
    assert done.stderr == (
        "Expected pollice to be imported before torch, but torch was first. If it has multiplied "
        "matrices on the CPU already, it may hold some GB more when texts have many lengths. "
        "Import pollice.models first, or set ONEDNN_PRIMITIVE_CACHE_CAPACITY=128 and "
        "LRU_CACHE_CAPACITY=128 before Python starts.\n"
    )


def test_what_is_set_stays_and_needs_no_word() -> None:
    own = dict.fromkeys(CACHES, "9")
    done = python("-c", f"import torch, pollice.models; {SHOW}", **own)
    assert done.stdout.split() == ["9", "9"]
    assert done.stderr == ""


def test_only_what_is_not_set_is_named() -> None:
    done = python("-c", "import torch, pollice.models", LRU_CACHE_CAPACITY="9")
    assert "set ONEDNN_PRIMITIVE_CACHE_CAPACITY=128 before Python starts." in done.stderr
    assert "LRU" not in done.stderr


WAITING = "import os; print(os.environ.get('GOMP_SPINCOUNT'))"


def test_threads_wait_only_shortly_for_one_another() -> None:
    assert python("-c", f"import pollice.models; {WAITING}").stdout == "10000\n"


@pytest.mark.parametrize(
    ("variables", "found"),
    [({"GOMP_SPINCOUNT": "7"}, "7\n"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None\n")],
)
def test_who_says_how_long_threads_wait_keeps_it(variables: dict[str, str], found: str) -> None:
    assert python("-c", f"import pollice.models; {WAITING}", **variables).stdout == found


@pytest.mark.parametrize("name", ["finetune", "trainer"])
def test_a_method_that_imports_torch_itself_is_looked_up_in_the_right_order(name: str) -> None:
    find = f"import sys, pollice.methods; pollice.methods.find_method('{name}')"
    done = python("-c", f"{find}; assert 'torch' in sys.modules; {SHOW}")
    assert done.stdout.split() == ["128", "128"]
    assert done.stderr == ""


def test_a_comparison_on_the_command_line_never_says_it(tmp_path: Path) -> None:
    checkpoint = tiny_encoder(tmp_path / "bert", "bert")
    rows = opinions(60)
    lines = (f"{text},{label}" for text, label in zip(rows.texts, rows.labels, strict=True))
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    options = {"checkpoint": checkpoint, "max_tokens": 24, "epochs": 1}
    assert set(options) <= set(options_of(create_method("trainer", {})))
    settings = [f"--set=trainer.{name}={value}" for name, value in options.items()]
    done = python(
        "-m",
        "pollice",
        "compare",
        "--data",
        str(tmp_path / "rows.csv"),
        "--method=trainer",
        "--method=baseline",
        "--out",
        str(tmp_path / "run"),
        *settings,
    )
    assert "trainer" in done.stdout
    assert "imported before torch" not in done.stdout + done.stderr
