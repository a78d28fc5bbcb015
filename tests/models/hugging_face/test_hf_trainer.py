"""Training with transformers' Trainer ends with the same numbers however often it was ended."""

import json
import os
import re
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import close_session, constants

from pollice.errors import Interrupted, OptionError, RunError, SourceError, TrainingError
from pollice.methods.trainer import HuggingFaceTrainer
from pollice.models.encoder.classifiers import SequenceClassifier
from pollice.system.progress import Advance, listening
from tiny import tiny_encoder
from tiny_hf_training import (
    PASSES,
    STEPS,
    TRAIN,
    USUAL,
    VALIDATION,
    Outcome,
    before_pass,
    check_same,
    fit,
    kill,
    run_child,
    stop,
)

STEP_FIELDS = [
    *("step", "epoch", "loss", "learning_rate", "grad_norm", "seconds", "tokens_per_second")
]
EPOCH_FIELDS = ["step", "epoch", "train_accuracy", "validation_loss", "validation_accuracy"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("trainer") / "bert", "bert")


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Return the run that nothing interrupts."""
    return fit(tmp_path_factory.mktemp("whole"), checkpoint)


def die_before_pass(number: int, workdir: Path, checkpoint: Path) -> None:
    with before_pass(number, kill):
        fit(workdir, checkpoint)


def die_at_change(number: int, workdir: Path, checkpoint: Path) -> None:
    """Die before the ``number``-th change to the folder of checkpoints."""
    left = number
    changes = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in changes or writes) and "checkpoints" in str(arguments[0]):
            left -= 1
            if not left:
                kill()

    sys.addaudithook(count)
    fit(workdir, checkpoint)


def die_in_write(number: int, share: float, workdir: Path, checkpoint: Path) -> None:
    """Die in the first file that grows longer than a share of the checkpoint's weights.

    From the ``number``-th pass on, the system sends SIGXFSZ in the middle of the write: no audit
    hears of what safetensors writes.
    """
    most = round(share * (checkpoint / "model.safetensors").stat().st_size)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    with before_pass(number, limit):
        fit(workdir, checkpoint)


def test_steps_and_epochs_are_logged(whole: Outcome) -> None:
    steps = [row for row in whole.log if "loss" in row]
    epochs = [row for row in whole.log if "loss" not in row]
    assert [list(row) for row in steps] == [STEP_FIELDS[:5]] * 2 * STEPS
    assert [list(row) for row in epochs] == [EPOCH_FIELDS] * 2
    assert [row["step"] for row in steps] == list(range(1, 11))
    assert [row["epoch"] for row in steps[3:7]] == pytest.approx(
        [32 / 36, 1, 1 + 8 / 36, 1 + 16 / 36]
    )
    assert [(row["step"], row["epoch"]) for row in epochs] == [(5, 1), (10, 2)]
    assert [row["learning_rate"] for row in steps] == pytest.approx(
        [0.0003 * (10 - step) for step in range(10)]
    )


@pytest.mark.parametrize(
    "number",
    [1, 3, 8, PASSES + 1, PASSES + 3, 2 * PASSES + 2],
    ids=["at once", "step 1", "in an accumulated step", "epoch's end", "next epoch", "last step"],
)
def test_a_killed_run_goes_on_as_if_it_had_not_been(
    number: int, checkpoint: Path, whole: Outcome, tmp_path: Path
) -> None:
    assert run_child(die_before_pass, number, tmp_path, checkpoint) == -signal.SIGKILL
    check_same(fit(tmp_path, checkpoint), whole)


def test_a_save_killed_at_any_write_costs_nothing(
    checkpoint: Path, whole: Outcome, tmp_path: Path
) -> None:
    """In the first save, and in the second, which deletes the first."""
    for number in (1, 2, 3, 4, 5, 6, 8, 12):
        workdir = tmp_path / str(number)
        workdir.mkdir()
        assert run_child(die_at_change, number, workdir, checkpoint) == -signal.SIGKILL
        check_same(fit(workdir, checkpoint), whole)


@pytest.mark.parametrize("share", [0.5, 1.5], ids=["weights", "optimizer"])
@pytest.mark.parametrize("number", [2, 6, 10], ids=["first save", "second", "epoch's end"])
def test_a_save_killed_in_a_file_of_tensors_costs_nothing(
    number: int, share: float, checkpoint: Path, whole: Outcome, tmp_path: Path
) -> None:
    """The optimizer's file is twice as long as the weights."""
    ended = run_child(die_in_write, number, share, tmp_path, checkpoint)
    assert ended == -signal.SIGXFSZ
    (partial_save,) = (tmp_path / "checkpoints").glob(".*.partial")
    named = {path.name for path in partial_save.glob("[!.]*.safetensors")}
    assert ("model.safetensors" in named) == (share > 1)  # a file gets its name when it is whole
    assert not {"optimizer.safetensors", "random.safetensors"} & named
    check_same(fit(tmp_path, checkpoint), whole)


def test_a_truncated_checkpoint_is_passed_over(
    checkpoint: Path, whole: Outcome, tmp_path: Path
) -> None:
    with (
        before_pass(PASSES + 3, stop),
        pytest.raises(Interrupted),
    ):
        fit(tmp_path, checkpoint, keep_checkpoints=2)
    newest = max((tmp_path / "checkpoints").iterdir())
    weights = newest / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    check_same(fit(tmp_path, checkpoint), whole)


def test_a_planted_pickle_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    """Trainer would unpickle these two files of a folder that it goes on from."""
    fit(tmp_path, checkpoint, epochs=1)
    (newest,) = (tmp_path / "checkpoints").iterdir()
    for name in ("optimizer.pt", "scheduler.pt"):
        (newest / name).write_bytes(b"anything")
    planted = newest / "optimizer.pt"
    sentence = (
        f"The resume point {newest} holds optimizer.pt, which pollice does not write, and loading "
        f"it could run foreign code. Delete {planted}, or that folder to begin anew."
    )
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        fit(tmp_path, checkpoint, epochs=1)


@pytest.mark.parametrize(
    ("number", "step"), [(4, 2), (PASSES + 1, 5), (PASSES + 2, 5), (2 * PASSES + 4, 10)]
)
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_with_a_checkpoint(
    number: int,
    step: int,
    sent: signal.Signals,
    code: int,
    checkpoint: Path,
    whole: Outcome,
    tmp_path: Path,
) -> None:
    """In a step, at an evaluation's beginning, in its middle, and in the very last pass."""
    sentence = (
        f"{sent.name} stopped the training after step {step} of 10. The same command goes on from "
        f"{tmp_path / 'checkpoints' / f'step-{step:08d}'}."
    )
    sending = before_pass(number, partial(stop, sent))
    with sending, pytest.raises(Interrupted, match=f"^{re.escape(sentence)}$") as ended:
        fit(tmp_path, checkpoint)
    assert ended.value.exit_code == code
    check_same(fit(tmp_path, checkpoint), whole)


def test_a_signal_in_a_save_is_heard_after_it(
    checkpoint: Path, whole: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def stop_once(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        signal.raise_signal(signal.SIGTERM)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", stop_once)
    with pytest.raises(Interrupted):
        fit(tmp_path, checkpoint)
    check_same(fit(tmp_path, checkpoint), whole)


def test_a_finished_run_is_not_trained_again(
    checkpoint: Path, whole: Outcome, tmp_path: Path
) -> None:
    fit(tmp_path, checkpoint)
    with before_pass(2, kill):  # the first is the prediction
        check_same(fit(tmp_path, checkpoint), whole)


def test_gradients_need_not_be_clipped(checkpoint: Path, tmp_path: Path) -> None:
    """Their length is logged all the same."""
    loose = fit(tmp_path / "loose", checkpoint, epochs=1, clip_norm=None)
    tight = fit(tmp_path / "tight", checkpoint, epochs=1, clip_norm=0.01)
    first, other = (outcome.log[0]["grad_norm"] for outcome in (loose, tight))
    assert first == other > 0.01
    assert (loose.probabilities != tight.probabilities).all()


def test_another_seed_gives_other_numbers(checkpoint: Path, whole: Outcome, tmp_path: Path) -> None:
    assert (fit(tmp_path, checkpoint, seed=1).probabilities != whole.probabilities).all()


def test_other_options_do_not_go_on_from_a_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    fit(tmp_path, checkpoint, epochs=1)
    sentence = (
        f"The resume point in {tmp_path / 'checkpoints'} belongs to another run: batch_size is 8 "
        "there and 4 here. Go back to how it was, or delete that folder to begin anew."
    )
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        fit(tmp_path, checkpoint, epochs=1, batch_size=4)


def test_how_often_is_saved_is_free_to_change(checkpoint: Path, tmp_path: Path) -> None:
    fit(tmp_path, checkpoint, epochs=1)
    fit(tmp_path, checkpoint, epochs=1, checkpoint_steps=0, keep_checkpoints=3)


def test_a_loss_that_is_no_number_ends_the_training(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as ended:
        fit(tmp_path, checkpoint, learning_rate=1.0, clip_norm=1e9, weight_decay=1e9)
    newest = max((tmp_path / "checkpoints").iterdir())
    assert re.fullmatch(
        r"In step \d+ the loss was nan and the gradient's norm nan at a learning rate of "
        r"[\d.]+: training has diverged\. Lower learning_rate\. The last good resume point is "
        + re.escape(f"{newest}."),
        str(ended.value),
    )


def test_the_best_epoch_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    """The validation labels are turned round, so that an early epoch is the best."""
    turned = replace(VALIDATION, labels=tuple(reversed(VALIDATION.labels)))
    options = {**USUAL, "epochs": 4, "learning_rate": 0.01}
    method = HuggingFaceTrainer(checkpoint=str(checkpoint), **options)
    table = method.fit(TRAIN, turned, workdir=tmp_path).predict_proba(turned.texts)
    lines = (tmp_path / "training.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["validation_loss"] for line in lines if "validation_loss" in line]
    columns = [turned.label_names.index(label) for label in turned.labels]
    assert losses.index(min(losses)) < 3
    assert -np.log(table[range(12), columns]).mean() == pytest.approx(min(losses), abs=1e-5)


def test_without_validation_rows_the_last_epoch_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    method = HuggingFaceTrainer(checkpoint=str(checkpoint), **USUAL)
    method.fit(TRAIN, VALIDATION.take([]), workdir=tmp_path)
    lines = (tmp_path / "training.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line) for line in lines if "loss" not in line]
    assert [list(row) for row in epochs] == [EPOCH_FIELDS[:3]] * 2
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000010"]


@pytest.mark.parametrize("family", ["distilbert", "roberta", "deberta-v2", "modernbert"])
def test_every_family_is_trained_and_goes_on(family: str, tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "checkpoint", family)
    whole = fit(tmp_path / "whole", folder)
    with (
        before_pass(PASSES + 4, stop),
        pytest.raises(Interrupted),
    ):
        fit(tmp_path / "ended", folder)
    check_same(fit(tmp_path / "ended", folder), whole)


def test_the_rest_of_a_run_is_its_progress(checkpoint: Path, tmp_path: Path) -> None:
    totals: list[tuple[int | None, int]] = []

    @contextmanager
    def listen(description: str, total: int | None, unit: str) -> Iterator[Advance]:
        done: list[int] = []
        yield done.append
        if description == "training":
            totals.append((total, sum(done)))

    with listening(listen):
        with (
            before_pass(PASSES + 4, stop),
            pytest.raises(Interrupted),
        ):
            fit(tmp_path, checkpoint)
        fit(tmp_path, checkpoint)
    assert totals == [(28, 28)]


def test_a_tracker_that_is_not_installed_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    sentence = (
        "report_to names mlflow, but the package mlflow is not installed. Install it with: pip "
        "install mlflow. Or leave it out."
    )
    with pytest.raises(OptionError, match=f"^{re.escape(sentence)}$"):
        fit(tmp_path, checkpoint, report_to=("mlflow",))


def test_without_the_hub_nothing_is_trained(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    close_session()
    with before_pass(1, kill), pytest.raises(SourceError) as ended:
        fit(tmp_path, checkpoint, push_to_hub="someone/opinions")
    assert str(ended.value).startswith("The Hub did not take push_to_hub someone/opinions: Cannot")
    assert str(ended.value).endswith(
        "Name it owner/name, give a token that may write there in HF_TOKEN, or leave push_to_hub "
        "out; what has been trained is kept."
    )


def test_the_predictor_is_a_sequence_classifier(checkpoint: Path, whole: Outcome) -> None:
    assert HuggingFaceTrainer.predictor_type is SequenceClassifier
    assert whole.facts == {"micro_batches": 2}


TRACKER = """
import json, os, types
__version__ = "0.0"
config = {}
context_vars = types.SimpleNamespace(current_space_id=types.SimpleNamespace(get=lambda: None))
def init(**_): pass
def finish(): log({"finished": True})
def log(row, **_):
    with open(os.environ["TOLD"], "a") as file:
        file.write(json.dumps(row) + "\\n")
"""


def test_a_tracker_is_told_every_step(
    checkpoint: Path, whole: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the package trackio writes down what Trainer tells it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "trackio.py").write_text(TRACKER)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("TOLD", str(tmp_path / "told.jsonl"))
    check_same(fit(tmp_path / "run", checkpoint, report_to=("trackio",)), whole)
    sys.modules.pop("trackio")
    told = [json.loads(line) for line in (tmp_path / "told.jsonl").read_text().splitlines()]
    losses = [row["train/loss"] for row in told if "train/loss" in row]
    assert losses == [row["loss"] for row in whole.log if "loss" in row]
    assert told[-1] == {"finished": True}
