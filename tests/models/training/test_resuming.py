"""A training that was ended at any moment goes on as if it had not been, to the last bit."""

import logging
import os
import re
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

import pollice.models.training.loop_state
from killing import in_child, signal_at_change
from pollice.errors import Interrupted, RunError
from tiny import tiny_encoder
from tiny_training import TRAIN, VALIDATION, Outcome, at_forward, last_state, same, trained

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

OPTIONS: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 24,
    "micro_batch_tokens": 100,  # every step is taken in several passes
    "checkpoint_minutes": 1000,
    "checkpoint_steps": 2,
}
CLOCKS = {"seconds", "tokens_per_second"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("resuming") / "bert", "bert")


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return trained(checkpoint, folder, **OPTIONS), folder


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in CLOCKS} for row in rows]


def check_equal(outcome: Outcome, folder: Path, whole: tuple[Outcome, Path]) -> None:
    expected, expected_folder = whole
    assert same(outcome.weights, expected.weights)
    assert same(last_state(folder), last_state(expected_folder))
    assert outcome.facts == expected.facts
    assert timeless(outcome.steps) == timeless(expected.steps)
    assert timeless(outcome.epochs) == timeless(expected.epochs)
    seconds = [row["seconds"] for row in outcome.steps]
    assert seconds == sorted(seconds)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def count_forwards(checkpoint: Path, folder: Path) -> int:
    calls: list[int] = []

    def count(model: Any) -> None:
        model.register_forward_pre_hook(lambda *arguments: calls.append(1))

    trained(checkpoint, folder, prepare=count, **OPTIONS)
    return len(calls)


def test_killed_at_any_pass_it_goes_on_to_the_same_end(
    checkpoint: Path, tmp_path: Path, whole: tuple[Outcome, Path]
) -> None:
    """The passes of the first step, of any other, between two passes of a step, of validation."""
    forwards = count_forwards(checkpoint, tmp_path / "counted")
    steps = len(whole[0].steps)
    assert forwards > 2 * steps
    for number in range(1, forwards + 1):
        folder = tmp_path / str(number)
        hook = at_forward(number, kill)
        ended = in_child(partial(trained, checkpoint, folder, prepare=hook, **OPTIONS))
        assert ended == -signal.SIGKILL
        check_equal(trained(checkpoint, folder, **OPTIONS), folder, whole)


@pytest.mark.parametrize(("sent", "every"), [(signal.SIGKILL, 1), (signal.SIGTERM, 5)])
def test_ended_at_any_write_it_goes_on_to_the_same_end(
    sent: signal.Signals, every: int, checkpoint: Path, tmp_path: Path, whole: tuple[Outcome, Path]
) -> None:
    """The changes to the file system are those of tokenizing, of the log and of two saves."""
    options = {**OPTIONS, "checkpoint_steps": 3}
    codes: list[int] = []
    while not codes or codes[-1]:
        folder = tmp_path / str(len(codes))
        work = partial(trained, checkpoint, folder, **options)
        codes.append(signal_at_change(len(codes) * every + 1, work, sent))
        if codes[-1] != -signal.SIGTERM:  # before training, a signal ends the process as ever
            check_equal(trained(checkpoint, folder, **options), folder, whole)
    assert len(codes) > 25 / every
    assert set(codes) <= {-sent, 128 + sent, 0}
    assert sent == signal.SIGKILL or codes.count(128 + sent) >= 4


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("number", [1, 2, 11, -1])
def test_a_signal_ends_it_with_a_resume_point(
    sent: signal.Signals,
    number: int,
    checkpoint: Path,
    tmp_path: Path,
    whole: tuple[Outcome, Path],
) -> None:
    """In the warm-up's first step, in a later one, and in the last validation (-1)."""
    number = number if number > 0 else count_forwards(checkpoint, tmp_path / "counted")
    folder = tmp_path / "ended"
    hook = at_forward(number, lambda: os.kill(os.getpid(), sent))
    with pytest.raises(Interrupted) as ended:
        trained(checkpoint, folder, prepare=hook, **OPTIONS)
    assert ended.value.exit_code == 128 + sent
    (kept,) = (folder / "checkpoints").iterdir()
    step = int(re.fullmatch(r"step-(\d+)(-1)?", kept.name)[1])  # type: ignore[index]
    assert str(ended.value) == (
        f"{sent.name} stopped the training after step {step} of 6. The same command goes on from "
        f"{kept}."
    )
    check_equal(trained(checkpoint, folder, **OPTIONS), folder, whole)


def fill_disk(monkeypatch: pytest.MonkeyPatch, from_save: int) -> None:
    """Let every save from the given one on end as safetensors does where no space is left."""
    saves = 0

    def save_or_fail(tensors: Any, path: Path) -> None:
        nonlocal saves
        saves += path.name == "weights.safetensors"
        if saves >= from_save:
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        save_file(tensors, path)

    monkeypatch.setattr(pollice.models.training.loop_state, "save_file", save_or_fail)


def test_a_full_disk_does_not_end_it(
    checkpoint: Path,
    tmp_path: Path,
    whole: tuple[Outcome, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as full:
        fill_disk(full, from_save=2)
        outcome = trained(checkpoint, tmp_path, **OPTIONS)
    assert same(outcome.weights, whole[0].weights)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]
    assert [message.split(",")[0] for message in caplog.messages] == [
        f"The disk is full: the resume point of step {step} could not be written" for step in (4, 6)
    ]
    check_equal(trained(checkpoint, tmp_path, **OPTIONS), tmp_path, whole)


def test_a_signal_on_a_full_disk_says_what_is_lost(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch, from_save=1)
    sentence = (
        "SIGTERM stopped the training after step 1 of 6. The same command goes on from the "
        "beginning, since no resume point could be written."
    )
    hook = at_forward(1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match=f"^{re.escape(sentence)}$"):
        trained(checkpoint, tmp_path, prepare=hook, **OPTIONS)


def test_it_says_where_it_goes_on(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pollice")
    hook = at_forward(12, kill)
    in_child(lambda: trained(checkpoint, tmp_path, prepare=hook, **OPTIONS))
    trained(checkpoint, tmp_path, **OPTIONS)
    assert caplog.messages == ["Training goes on from step 2 of 6."]


def test_a_finished_training_is_not_done_again(
    checkpoint: Path, tmp_path: Path, whole: tuple[Outcome, Path]
) -> None:
    options = {**OPTIONS, "checkpoint_minutes": 0}
    first = trained(checkpoint, tmp_path, **options)

    def refuse() -> None:
        raise AssertionError("the model was called")

    again = trained(checkpoint, tmp_path, prepare=at_forward(1, refuse), **options)
    assert same(again.weights, whole[0].weights)
    assert again.facts == first.facts
    assert again.steps == first.steps


def test_after_memory_ran_out_it_goes_on_in_small_passes(checkpoint: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "micro_batch_tokens": 8192}

    def refuse(module: Any, arguments: Any, fields: dict[str, Any]) -> None:
        if module.training and len(fields["input_ids"]) > 8:
            raise RuntimeError("not enough memory: you tried to allocate 5 bytes")

    def small(model: Any) -> None:
        model.register_forward_pre_hook(refuse, with_kwargs=True)

    def small_and_killed(model: Any) -> None:
        small(model)
        at_forward(14, kill)(model)

    expected = trained(checkpoint, tmp_path / "whole", prepare=small, **options)
    folder = tmp_path / "killed"
    assert in_child(lambda: trained(checkpoint, folder, prepare=small_and_killed, **options)) < 0
    again = trained(checkpoint, folder, prepare=small, **options)
    check_equal(again, folder, (expected, tmp_path / "whole"))


@pytest.mark.parametrize(
    ("changed", "key", "there", "here"),
    [
        ({"learning_rate": 0.002}, "learning_rate", "0.003", "0.002"),
        ({"seed": 1}, "first weights", None, None),
        ({"train": TRAIN.take(range(63))}, "training rows", None, None),
        ({"validation": VALIDATION.take(range(8))}, "validation rows", None, None),
        (
            {"train": replace(TRAIN, label_names=("positive", "negative"))},
            "label_names",
            "['negative', 'positive']",
            "['positive', 'negative']",
        ),
        ({"max_tokens": 8}, "training rows", None, None),
    ],
)
def test_another_run_does_not_go_on_from_it(
    changed: dict[str, Any],
    key: str,
    there: str | None,
    here: str | None,
    checkpoint: Path,
    tmp_path: Path,
) -> None:
    trained(checkpoint, tmp_path, **OPTIONS)
    with pytest.raises(RunError) as refused:
        trained(checkpoint, tmp_path, **{**OPTIONS, **changed})
    sentence = (
        f"The resume point in {re.escape(str(tmp_path))}/checkpoints belongs to another run: {key} "
        f"is {re.escape(there or '')}{'' if there else r'.{18}'} there and "
        f"{re.escape(here or '')}{'' if here else r'.{18}'} here. Go back to how it was, or "
        r"delete that folder to begin anew\."
    )
    assert re.fullmatch(sentence, str(refused.value))


def test_how_often_it_is_saved_may_change(
    checkpoint: Path, tmp_path: Path, whole: tuple[Outcome, Path]
) -> None:
    hook = at_forward(20, kill)
    in_child(lambda: trained(checkpoint, tmp_path, prepare=hook, **OPTIONS))
    changed = {**OPTIONS, "checkpoint_steps": None, "checkpoint_minutes": 0, "batch_tokens": 2048}
    outcome = trained(checkpoint, tmp_path, **changed)
    assert same(outcome.weights, whole[0].weights)


def test_every_epoch_ends_with_a_resume_point_where_the_last_is_old(
    checkpoint: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"epochs": 2, "checkpoint_minutes": 0, "keep_checkpoints": 99}
    trained(checkpoint, tmp_path, **options)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        *(f"step-0000000{step}" for step in (1, 2, 3, 4)),
        "step-00000004-1",
        *(f"step-0000000{step}" for step in (5, 6, 7, 8)),
        "step-00000008-1",
    ]


def test_the_generators_of_the_caller_do_not_matter(
    checkpoint: Path, tmp_path: Path, whole: tuple[Outcome, Path]
) -> None:
    """Dropout is drawn anew in every step: what was drawn before does not change it."""
    outcome = trained(checkpoint, tmp_path, prepare=lambda model: torch.manual_seed(77), **OPTIONS)
    check_equal(outcome, tmp_path, whole)
