"""What is trained is what is asked, the label alone is learned, and no step is ever lost."""

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from trl.trainer import base_trainer

from killing import in_child, in_processes
from pollice.errors import Interrupted, RunError
from pollice.models.causal import adapters
from pollice.models.causal.label_prompt import LabelPrompt, first_tokens
from pollice.models.causal.prompts import assemble
from pollice.models.causal.questions import Question, Template, default_template
from pollice.models.causal.scoring import CausalScorer
from pollice.models.hugging_face.options import TuningOptions
from pollice.models.hugging_face.prompt_rows import (
    AskedCollator,
    AskedRows,
    ask_rows,
    deal_questions,
    label_logits,
)
from pollice.models.hugging_face.rows import IGNORED
from pollice.models.hugging_face.sft import LabelTrainer, Tuning
from pollice.models.pretrained.options import ReadingOptions
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import load_causal
from pollice.models.training.job import Identity
from pollice.system.folders import read_manifest, write_manifest
from pollice.system.hashing import file_sha256
from tiny import opinions, tiny_causal
from tuning import OPTIONS, log_of, tuned

NAMES = ("negative", "positive")
LONG_WORDS = Template(  # no word of these is one token
    questions=(
        Question(answer="It was", words={"negative": ("dreadfully",), "positive": ("superbly",)}),
    )
)
RESUMING: dict[str, Any] = {"epochs": 2, "checkpoint_steps": 3, "judge_before": False}

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_causal(tmp_path_factory.mktemp("sft") / "gemma3", "gemma3")


def prompt_of(checkpoint: Path, template: Template | None = None) -> LabelPrompt:
    pieces = assemble(template or default_template(NAMES), NAMES, TextTokenizer(checkpoint))
    settings = ReadingOptions(max_tokens=24, dtype="float32", device="cpu")
    return LabelPrompt(label_names=NAMES, pieces=pieces, settings=settings)


def asked(prompt: LabelPrompt, checkpoint: Path, rows: int = 12, *, each: bool = True) -> AskedRows:
    return ask_rows(prompt, TextTokenizer(checkpoint), opinions(rows), each=each, seed=0)


def trainer_of(
    checkpoint: Path, prompt: LabelPrompt, workdir: Path, **options: Any
) -> LabelTrainer:
    base = load_causal(checkpoint, dtype=torch.float32, device=torch.device("cpu"))
    shape = adapters.AdapterShape(rank=4, alpha=8, dropout=0.0, targets="all")
    model = adapters.attach(base, shape, seed=0)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.requires_grad:
                weights.normal_(std=0.1)
    settings = TuningOptions(**{**OPTIONS, **options})
    tuning = Tuning(
        options=settings,
        tokenizer=TextTokenizer(checkpoint),
        endings=prompt.pieces.endings,
        train=asked(prompt, checkpoint),
        validation=asked(prompt, checkpoint),
        identity=Identity(options=settings, facts={}),
        workdir=workdir,
    )
    return LabelTrainer(model, tuning)


def adapter_of(trainer: LabelTrainer) -> list[tuple[str, Any]]:
    return [(name, w) for name, w in trainer.model.named_parameters() if w.requires_grad]


def row_of(rows: AskedRows, row: int) -> dict[str, Any]:
    """Return a row as the model gets it."""
    batch = AskedCollator(0, rows)([{"row": row}])
    return {name: values[0].tolist() for name, values in batch.items()}


def batch_of(prompt: LabelPrompt, checkpoint: Path) -> dict[str, Tensor]:
    return AskedCollator(0, asked(prompt, checkpoint))([{"row": row} for row in range(12)])


def test_a_row_is_prefix_text_ending_and_word_and_only_the_word_is_learned(
    checkpoint: Path,
) -> None:
    prompt, tokenizer = prompt_of(checkpoint), TextTokenizer(checkpoint)
    texts = opinions(12)
    (rows, _), words = prompt.read(tokenizer, texts.texts), asked(prompt, checkpoint)
    for number in range(36):
        found = row_of(words, number)
        row, question = divmod(number, 3)
        ending = prompt.pieces.endings[question]
        word = list(ending.words[NAMES.index(texts.labels[row])][0])
        before = [*prompt.pieces.prefix, *rows[row], *ending.tokens]
        assert found["input_ids"] == before + word
        assert found["labels"] == [IGNORED] * len(before) + word
        assert found["question"] == question


def test_what_is_trained_is_what_is_asked(checkpoint: Path) -> None:
    """A plain pass over a training row says of the labels what the scorer says of the text."""
    prompt, tokenizer = prompt_of(checkpoint), TextTokenizer(checkpoint)
    texts = opinions(12)
    model: Any = load_causal(checkpoint, dtype=torch.float32, device=torch.device("cpu"))
    rows = asked(prompt, checkpoint)
    found = []
    for row in [row_of(rows, number) for number in range(36)]:
        first = next(place for place, label in enumerate(row["labels"]) if label != IGNORED)
        with torch.no_grad():
            logits = model(torch.tensor([row["input_ids"][:first]])).logits[:, -1]
        question = torch.tensor([row["question"]])
        found.append(label_logits(logits, question, prompt.pieces.endings).log_softmax(dim=-1))
    kept, _ = prompt.read(tokenizer, texts.texts)
    scores = CausalScorer(model, first_tokens(prompt.pieces), batch_tokens=512).score(kept)
    expected = scores.log_probabilities.reshape(36, 2)
    np.testing.assert_allclose(torch.cat(found).numpy(), expected, rtol=0, atol=1e-4)


def test_a_long_text_is_cut_and_its_label_never(checkpoint: Path) -> None:
    prompt = prompt_of(checkpoint)
    long = replace(opinions(2), texts=("great film " * 500, "bad film " * 500))
    rows = ask_rows(prompt, TextTokenizer(checkpoint), long, each=False, seed=0)
    for row in [row_of(rows, number) for number in range(2)]:
        ending = prompt.pieces.endings[row["question"]]
        word = list(ending.words[row["code"]][0])
        around = len(prompt.pieces.prefix) + len(ending.tokens) + len(word)
        assert len(row["input_ids"]) == 24 + around
        assert [label for label in row["labels"] if label != IGNORED] == word


@pytest.mark.parametrize("questions", [2, 3])
def test_which_question_is_asked_tells_nothing_of_the_label(questions: int) -> None:
    labels = ["negative", "positive"] * 30
    dealt = Counter(zip(labels, deal_questions(labels, questions, seed=0), strict=True))
    assert len(dealt) == 2 * questions
    assert set(dealt.values()) == {30 // questions}
    assert deal_questions(labels, 2, seed=0) != deal_questions(labels, 2, seed=1)


def test_rows_are_padded_on_the_right_and_no_rows_are_one_to_be_ignored() -> None:
    rows = AskedRows(
        tokens=[[5, 6, 7], [8]], codes=np.array([0, 1]), questions=[1, 0], word_lengths=[2, 0]
    )
    collate = AskedCollator(9, rows)
    batch = {name: values.tolist() for name, values in collate([{"row": 0}, {"row": 1}]).items()}
    assert batch == {
        "input_ids": [[5, 6, 7], [8, 9, 9]],
        "attention_mask": [[1, 1, 1], [1, 0, 0]],
        "labels": [[IGNORED, 6, 7], [IGNORED] * 3],
        "question": [1, 0],
        "code": [0, 1],
    }
    nothing = {name: values.tolist() for name, values in collate([]).items()}
    assert nothing["labels"] == [[IGNORED]]
    assert nothing["code"] == [IGNORED]


@pytest.mark.parametrize("template", [None, LONG_WORDS], ids=["one token", "several"])
def test_the_loss_is_the_plain_one(
    checkpoint: Path, tmp_path: Path, template: Template | None
) -> None:
    prompt = prompt_of(checkpoint, template)
    trainer = trainer_of(checkpoint, prompt, tmp_path)
    batch = batch_of(prompt, checkpoint)
    words = int((batch["labels"] != IGNORED).sum())
    assert (words > 12) == (template is not None)
    fields = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
    plain = trainer.model(**fields).loss
    found = trainer.compute_loss(trainer.model, batch, num_items_in_batch=words)
    torch.testing.assert_close(found, plain)
    found.backward()
    gradients = {name: weights.grad.clone() for name, weights in adapter_of(trainer)}
    trainer.model.zero_grad()
    plain.backward()
    for name, weights in adapter_of(trainer):
        torch.testing.assert_close(gradients[name], weights.grad)


def test_logits_are_built_where_the_label_is_predicted_alone(
    checkpoint: Path, tmp_path: Path
) -> None:
    prompt = prompt_of(checkpoint)
    trainer, built = trainer_of(checkpoint, prompt, tmp_path), []
    head: nn.Module = trainer.model.get_output_embeddings()
    head.register_forward_hook(lambda *given: built.append(given[2].shape[:-1].numel()))
    batch = batch_of(prompt, checkpoint)
    trainer.compute_loss(trainer.model, batch)
    assert built == [int((batch["labels"] != IGNORED).sum())]


def test_a_batch_of_nothing_has_no_loss(checkpoint: Path, tmp_path: Path) -> None:
    prompt = prompt_of(checkpoint)
    trainer = trainer_of(checkpoint, prompt, tmp_path)
    nothing = AskedCollator(0, asked(prompt, checkpoint))([])
    loss = trainer.compute_loss(trainer.model, nothing, num_items_in_batch=4)
    assert float(loss.detach()) == 0.0
    loss.backward()


def test_only_the_adapter_learns_in_float32(checkpoint: Path, tmp_path: Path) -> None:
    trainer = trainer_of(checkpoint, prompt_of(checkpoint), tmp_path)
    learning = {name for name, weights in trainer.model.named_parameters() if weights.requires_grad}
    assert learning
    assert all("lora_" in name for name in learning)
    assert {weights.dtype for _, weights in adapter_of(trainer)} == {torch.float32}


def test_nobody_is_told_that_a_model_is_tuned(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL sends the model's kind and the hardware as a trainer is made, but not in CI."""
    told: list[Any] = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(base_trainer, "send_telemetry", lambda **facts: told.append(facts))
    trainer_of(checkpoint, prompt_of(checkpoint), tmp_path)
    assert told == []


def test_epochs_are_logged_and_the_best_one_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    scorer = tuned(checkpoint, tmp_path, judge_before=False, epochs=4)
    log = log_of(tmp_path)
    steps, epochs = ([row for row in log if ("loss" in row) == kind] for kind in (True, False))
    assert [row["epoch"] for row in epochs] == [1, 2, 3, 4]
    assert [row["step"] for row in epochs] == [8, 16, 24, 32]
    for number, row in enumerate(epochs):
        losses = [step["loss"] for step in steps[8 * number : 8 * number + 8]]
        assert row["train_loss"] == pytest.approx(np.mean(losses))
        assert set(row) - {"step", "epoch", "train_accuracy", "train_loss"} == {
            "validation_loss",
            "validation_log_loss",
            "validation_accuracy",
        }
    best = min(epochs, key=lambda row: row["validation_log_loss"])
    assert scorer.facts["best_epoch"] == best["epoch"]
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"] / 2


def test_training_ends_where_no_epoch_gets_better(checkpoint: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "epochs": 9,
        "patience": 1,
        "learning_rate": 0.5,
        "judge_before": False,
    }
    scorer = tuned(checkpoint, tmp_path, **options)
    epochs = [row for row in log_of(tmp_path) if "train_loss" in row]
    assert scorer.facts["epochs"] == len(epochs) < 9
    assert scorer.facts["best_epoch"] == len(epochs) - 1
    again = tuned(checkpoint, tmp_path, **options)  # its last checkpoint says that it has ended
    assert again.facts == scorer.facts
    assert [row for row in log_of(tmp_path) if "train_loss" in row] == epochs


@contextmanager
def counted_passes(act: Callable[[int], object] = int) -> Iterator[list[int]]:
    """Count how often a batch goes through the adapted model; act just before, with the number."""
    passes: list[int] = []

    def count(module: nn.Module, _: Any) -> None:
        if type(module).__name__ == "PeftModelForCausalLM":
            passes.append(len(passes) + 1)
            act(passes[-1])

    hook = register_module_forward_pre_hook(count)
    try:
        yield passes
    finally:
        hook.remove()


@contextmanager
def before_pass(number: int, act: Callable[[], object]) -> Iterator[None]:
    """Act just before a batch goes through the adapted model for the ``number``-th time."""
    with counted_passes(lambda reached: act() if reached == number else None):
        yield


@pytest.fixture
def repeatable() -> Iterator[None]:
    """Let two trainings give the same bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("repeatable")
def test_a_left_evaluation_that_is_the_last_ends_the_training(
    checkpoint: Path, tmp_path: Path
) -> None:
    """No step is taken after it: the log is that of the tuning that nothing ended."""
    options: dict[str, Any] = {
        "epochs": 9,
        "patience": 1,
        "learning_rate": 0.5,
        "judge_before": False,
    }
    with counted_passes() as passes:
        tuned(checkpoint, tmp_path / "whole", **options)
    expected = log_of(tmp_path / "whole")
    assert expected[-1]["epoch"] < 9
    with (
        before_pass(len(passes) - 1, partial(os.kill, os.getpid(), signal.SIGTERM)),
        pytest.raises(Interrupted),
    ):
        tuned(checkpoint, tmp_path / "ended", **options)
    assert log_of(tmp_path / "ended") == expected[:-1]
    tuned(checkpoint, tmp_path / "ended", **options)
    assert log_of(tmp_path / "ended") == expected


def last_checkpoint(workdir: Path) -> dict[str, str]:
    folder = max((workdir / "checkpoints").iterdir())
    return {path.name: file_sha256(path) for path in folder.glob("*.safetensors")}


@pytest.fixture(scope="module")
def whole(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("whole")
    tuned(checkpoint, workdir, **RESUMING)
    return workdir


def check_same(checkpoint: Path, workdir: Path, whole: Path) -> None:
    tuned(checkpoint, workdir, **RESUMING)
    assert last_checkpoint(workdir) == last_checkpoint(whole)
    assert len(last_checkpoint(workdir)) == 4
    assert log_of(workdir) == log_of(whole)


@pytest.mark.parametrize("number", [1, 5, 10, 12, 21])
def test_a_killed_tuning_goes_on_as_if_it_had_not_been(
    number: int, checkpoint: Path, whole: Path, tmp_path: Path
) -> None:
    def die() -> None:
        with before_pass(number, partial(os.kill, os.getpid(), signal.SIGKILL)):
            tuned(checkpoint, tmp_path, **RESUMING)

    assert in_child(die) == -signal.SIGKILL
    check_same(checkpoint, tmp_path, whole)


@pytest.mark.parametrize("number", [5, 10, 19])
def test_a_tuning_that_is_asked_to_stop_saves_and_goes_on(
    number: int, checkpoint: Path, whole: Path, tmp_path: Path
) -> None:
    with (
        before_pass(number, partial(os.kill, os.getpid(), signal.SIGTERM)),
        pytest.raises(Interrupted) as stopped,
    ):
        tuned(checkpoint, tmp_path, **RESUMING)
    assert stopped.value.exit_code == 143
    check_same(checkpoint, tmp_path, whole)


def test_a_checkpoint_of_other_options_is_refused(
    checkpoint: Path, whole: Path, tmp_path: Path
) -> None:
    folder = whole / "checkpoints"
    sentence = (
        f"The resume point in {folder} belongs to another run: lora_rank is 16 there and 2 here. "
        "Go back to how it was, or delete that folder to begin anew."
    )
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        tuned(checkpoint, whole, **RESUMING, lora_rank=2)


def test_a_resume_point_of_an_older_version_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    """Its weights have a name that Trainer does not read."""
    tuned(checkpoint, tmp_path, epochs=1, judge_before=False)
    (point,) = (tmp_path / "checkpoints").iterdir()
    manifest = read_manifest(point)
    (point / "model.safetensors").rename(point / "adapter.safetensors")
    write_manifest(point, {name: manifest[name] for name in ("step", "identity", "facts")})
    sentence = (
        f"The resume point {point} was written by an older pollice and cannot be read. Delete that "
        "folder to begin anew, or finish with the older one."
    )
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        tuned(checkpoint, tmp_path, epochs=1, judge_before=False)


def test_a_checkpoint_holds_the_adapter_alone(checkpoint: Path, whole: Path) -> None:
    folder = max((whole / "checkpoints").iterdir())
    adapter = load_file(folder / "model.safetensors")
    assert adapter
    assert all("lora_" in name for name in adapter)
    base = sum(weights.numel() for weights in load_file(checkpoint / "model.safetensors").values())
    assert sum(weights.numel() for weights in adapter.values()) < base


def test_two_processes_learn_what_one_learns(checkpoint: Path, whole: Path, tmp_path: Path) -> None:
    def work(rank: int) -> None:
        tuned(checkpoint, tmp_path / "shared", **RESUMING)

    (tmp_path / "shared").mkdir()
    assert in_processes(2, work) == [0, 0]
    alone, together = log_of(whole), log_of(tmp_path / "shared")
    assert [row["step"] for row in together] == [row["step"] for row in alone]
    for name in ("loss", "validation_loss", "validation_log_loss", "validation_accuracy"):
        found = [row[name] for row in together if name in row]
        expected = [row[name] for row in alone if name in row]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
