import threading
from pathlib import Path

import numpy as np
import pytest

from pollice.data.dataset import Dataset
from pollice.errors import PromptError, SourceError
from pollice.methods.prompt import Prompt
from pollice.models.drawn_rows import DrawnRows
from pollice.runs.asking import NO_YES, AskedQuestion, Asker, TypedQuestion
from tiny import opinions, tiny_causal

TEXTS = opinions(40).texts
TOPIC = TypedQuestion(
    options=("film", "music", "food"),
    instructions="Say what it is about.",
    descriptions=(("film", "what is seen"), ("food", "what is eaten")),
)
MOOD = TypedQuestion(options=("negative", "neutral", "positive"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_causal(tmp_path_factory.mktemp("asked") / "tiny", "gemma3"))


def alone(checkpoint: str, question: TypedQuestion, unlabelled: tuple[str, ...]) -> np.ndarray:
    """Return what the method `prompt` says, with a model of its own."""
    none = Dataset(ids=(), texts=(), labels=(), label_names=question.options)
    rows = DrawnRows(shown=none, labelled=none, unlabelled=unlabelled)
    prompt = Prompt(
        checkpoint=checkpoint,
        instructions=question.instructions,
        descriptions=dict(question.descriptions),
    )
    return prompt.build(question.options, rows).predict_proba(TEXTS[:5])


@pytest.mark.parametrize("question", [TOPIC, MOOD])
def test_the_probabilities_are_those_of_prompt(checkpoint: str, question: TypedQuestion) -> None:
    """Bit for bit, with a calibration and without, and whatever was asked before."""
    asker = Asker(checkpoint)
    asker.predictor_for(TypedQuestion(options=("a", "b")))
    found = AskedQuestion(asker, question).score(TEXTS[:5]).probabilities
    assert (found == alone(checkpoint, question, ())).all()
    calibrated = Asker(checkpoint, texts=TEXTS, options={"calibration_texts": 12})
    draw = np.random.default_rng(0).permutation(len(TEXTS))[:12]
    unlabelled = tuple(TEXTS[row] for row in draw)
    found = AskedQuestion(calibrated, question).score(TEXTS[:5]).probabilities
    assert (found == alone(checkpoint, question, unlabelled)).all()


def test_a_question_is_kept_and_the_oldest_is_forgotten(checkpoint: str) -> None:
    asker = Asker(checkpoint, kept=2)
    first = asker.predictor_for(TOPIC)
    asker.predictor_for(MOOD)
    assert asker.predictor_for(TOPIC) is first
    asker.predictor_for(TypedQuestion(options=("a", "b")))
    assert asker.predictor_for(TOPIC) is first
    assert asker.predictor_for(MOOD) is not None


def test_a_statement_is_true_or_false_of_a_text(checkpoint: str) -> None:
    """Its braces and control words are text."""
    asker = Asker(checkpoint)
    question = TypedQuestion(
        options=NO_YES, instructions="It holds {text} and {}.", is_statement=True
    )
    found = AskedQuestion(asker, question).score(["a", "b c"]).probabilities
    assert found.shape == (2, 2)
    assert found.sum(axis=1) == pytest.approx(1)


def test_equal_questions_can_be_judged_together(checkpoint: str) -> None:
    asker = Asker(checkpoint)
    assert AskedQuestion(asker, TOPIC) == AskedQuestion(asker, TypedQuestion(**vars(TOPIC)))
    assert AskedQuestion(asker, TOPIC) != AskedQuestion(asker, MOOD)


def test_many_threads_may_ask(checkpoint: str) -> None:
    asker = Asker(checkpoint, kept=1)
    expected = {question: alone(checkpoint, question, ()) for question in (TOPIC, MOOD)}
    wrong: list[TypedQuestion] = []

    def ask(question: TypedQuestion) -> None:
        found = AskedQuestion(asker, question).score(TEXTS[:5]).probabilities
        if not np.allclose(found, expected[question], atol=1e-6):
            wrong.append(question)

    threads = [threading.Thread(target=ask, args=(one,)) for one in (TOPIC, MOOD) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_options_that_are_one_are_refused(checkpoint: str) -> None:
    with pytest.raises(PromptError) as raised:
        Asker(checkpoint).predictor_for(TypedQuestion(options=("a", "a")))
    assert str(raised.value) == (
        "Expected two options or more, all different, but one comes twice or is missing. Name each "
        "once."
    )


def test_a_folder_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no config\.json"):
        Asker(str(tmp_path))
