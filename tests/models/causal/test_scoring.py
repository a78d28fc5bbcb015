"""The one-pass scorer equals the naive one: a full forward pass a text, question and word."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from pollice.data.reading import read_dataset
from pollice.data.splits import sample
from pollice.errors import CheckpointError
from pollice.models.causal.prompts import Ending, Example, Pieces, assemble
from pollice.models.causal.questions import default_template
from pollice.models.causal.scoring import CausalScorer
from pollice.models.pretrained.sources import resolve_checkpoint
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import load_causal
from tiny import CAUSAL_FAMILIES, WINDOW, opinions, tiny_causal

LENGTHS = (0, 1, 3, WINDOW - 1, WINDOW, WINDOW + 1, 30)
ENDINGS = (
    # words of one token and of several, of one beginning within a label, two a label
    Ending(tokens=(90, 91, 92), words=(((100,), (101, 102, 103)), ((104, 105), (104, 106)))),
    Ending(tokens=(93,), words=(((107,),), ((108,), (109, 107)))),
    Ending(tokens=tuple(range(110, 110 + WINDOW + 3)), words=(((107, 100),), ((108,),))),
)


@pytest.fixture(scope="module", params=CAUSAL_FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_causal(tmp_path_factory.mktemp("causal") / request.param, request.param)


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> PreTrainedModel:
    return load_causal(checkpoint, dtype=torch.float32, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def oracle(checkpoint: Path) -> Any:
    """The same weights under the plainest attention, with masks of transformers' own making."""
    return AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager"
    )


@torch.inference_mode()
def naive_label_scores(
    oracle: Any, pieces: Pieces, text: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return log-probabilities ``(questions, labels)`` and hidden states ``(questions, width)``."""
    scores, hidden = [], []
    for ending in pieces.endings:
        asked = [*pieces.prefix, *text, *ending.tokens]
        labels = []
        for label_words in ending.words:
            words = []
            for word in label_words:
                logits = oracle(input_ids=torch.tensor([[*asked, *word]])).logits[0]
                log_probabilities = logits[len(asked) - 1 : -1].double().log_softmax(dim=-1)
                words.append(log_probabilities[torch.arange(len(word)), list(word)].sum())
            labels.append(torch.stack(words).logsumexp(dim=0))
        scores.append(torch.stack(labels).log_softmax(dim=0).numpy())
        states = oracle.base_model(input_ids=torch.tensor([asked])).last_hidden_state
        hidden.append(states[0, -1].numpy())
    return np.stack(scores), np.stack(hidden)


def texts_of(lengths: Sequence[int]) -> list[list[int]]:
    chance = np.random.default_rng(0)
    return [chance.integers(6, 380, length).tolist() for length in lengths]


def check_equal_to_naive(
    model: PreTrainedModel, oracle: Any, pieces: Pieces, texts: Sequence[Sequence[int]]
) -> None:
    found = CausalScorer(model, pieces, batch_tokens=100_000).score(texts)
    for row, text in enumerate(texts):
        scores, hidden = naive_label_scores(oracle, pieces, text)
        np.testing.assert_allclose(found.log_probabilities[row], scores, rtol=0, atol=1e-4)
        np.testing.assert_allclose(found.hidden[row], hidden, rtol=1e-4, atol=1e-4)
        assert (found.log_probabilities[row].argmax(-1) == scores.argmax(-1)).all()


@pytest.mark.parametrize("prefix", [1, WINDOW - 3, 3 * WINDOW])
def test_scores_equal_a_full_pass_for_every_word(
    model: PreTrainedModel, oracle: Any, prefix: int
) -> None:
    pieces = Pieces(prefix=tuple(range(200, 200 + prefix)), endings=ENDINGS)
    check_equal_to_naive(model, oracle, pieces, texts_of(LENGTHS))


def test_a_prompt_may_have_nothing_before_the_text(model: PreTrainedModel, oracle: Any) -> None:
    check_equal_to_naive(model, oracle, Pieces(prefix=(), endings=ENDINGS), texts_of(LENGTHS))


def test_a_prefix_that_is_run_in_steps_is_the_same(model: PreTrainedModel, oracle: Any) -> None:
    prefix = texts_of([600])[0]
    pieces = Pieces(prefix=tuple(prefix), endings=ENDINGS[:1])
    check_equal_to_naive(model, oracle, pieces, texts_of([0, 12]))


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_scores_do_not_depend_on_the_batch(model: PreTrainedModel, rows: int) -> None:
    pieces = Pieces(prefix=tuple(range(200, 212)), endings=ENDINGS)
    texts = texts_of(LENGTHS)
    whole = CausalScorer(model, pieces, batch_tokens=100_000)
    expected = whole.score(texts).log_probabilities
    parts = [
        whole.score(texts[start : start + rows]).log_probabilities
        for start in range(0, len(texts), rows)
    ]
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=0, atol=1e-5)
    tight = CausalScorer(model, pieces, batch_tokens=rows * 60).score(texts)
    np.testing.assert_allclose(tight.log_probabilities, expected, rtol=0, atol=1e-5)


def test_scoring_twice_leaves_the_shared_prefix_as_it_was(model: PreTrainedModel) -> None:
    scorer = CausalScorer(
        model, Pieces(prefix=tuple(range(200, 212)), endings=ENDINGS), batch_tokens=64
    )
    first, second = scorer.score(texts_of(LENGTHS)), scorer.score(texts_of(LENGTHS))
    np.testing.assert_array_equal(first.log_probabilities, second.log_probabilities)


SHAPE = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@pytest.mark.parametrize(
    ("family", "own"),
    [("granite", {"logits_scaling": 8.0}), ("cohere", {"logit_scale": 0.0625}), ("olmo2", {})],
)
def test_logits_are_scaled_as_the_model_scales_them(family: str, own: Mapping[str, float]) -> None:
    model = tiny_of_family(family, **own)
    pieces = Pieces(prefix=tuple(range(200, 230)), endings=ENDINGS)
    check_equal_to_naive(model, tiny_of_family(family, **own), pieces, texts_of((0, 3, 30)))


def tiny_of_family(family: str, **own: float) -> PreTrainedModel:
    """Return a random model, the same each time, whose words are far from equally likely."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **SHAPE, **own)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(std=0.25)
    model.eval()
    return model


def test_a_model_that_makes_other_logits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_of_family("olmo2")
    forward = type(model).forward

    def doubled(self: Any, **given: Any) -> Any:
        made = forward(self, **given)
        made.logits = 2 * made.logits
        return made

    monkeypatch.setattr(type(model), "forward", doubled)
    sentence = (
        "Expected logits that are the last hidden state times the output embedding, but "
        "Olmo2ForCausalLM makes others of it. Use another checkpoint."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        CausalScorer(model, Pieces(prefix=(1,), endings=ENDINGS), batch_tokens=100)


@pytest.mark.parametrize("family", ["nemotron", "llama4_text"])
def test_a_model_that_cannot_share_a_prefix_is_refused(family: str) -> None:
    model = tiny_of_family(family)
    pieces = Pieces(prefix=tuple(range(200, 230)), endings=ENDINGS)
    with pytest.raises(CheckpointError, match=r"^Expected a model with ordinary attention, but "):
        CausalScorer(model, pieces, batch_tokens=100).score([[5, 6]])


def test_no_texts_give_no_scores(model: PreTrainedModel) -> None:
    found = CausalScorer(model, Pieces(prefix=(5,), endings=ENDINGS), batch_tokens=64).score([])
    assert found.log_probabilities.shape == (0, 3, 2)
    assert found.hidden.shape == (0, 3, 32)


def test_a_real_prompt_with_examples_equals_a_full_pass(
    checkpoint: Path, model: PreTrainedModel, oracle: Any
) -> None:
    tokenizer = TextTokenizer(checkpoint)
    rows = opinions(8)
    encoded = [tuple(tokens) for tokens in tokenizer.encode_texts(rows.texts)]
    examples = [Example(tokens=encoded[row], label=rows.labels[row]) for row in range(4)]
    pieces = assemble(default_template(rows.label_names), rows.label_names, tokenizer, examples)
    assert len(pieces.prefix) > 4 * WINDOW
    check_equal_to_naive(model, oracle, pieces, [*encoded[4:], ()])


@pytest.mark.weights
@pytest.mark.parametrize(
    ("name", "shots", "least_prefix"), [("gemma-3-270m", 32, 513), ("smollm2-135m-instruct", 2, 1)]
)
def test_real_weights_equal_a_full_pass(name: str, shots: int, least_prefix: int) -> None:
    """Gemma's prefix is longer than its window of 512; SmolLM2 is asked by its chat template."""
    folder = resolve_checkpoint(name)
    tokenizer = TextTokenizer(folder)
    reviews = sample(read_dataset("rotten-tomatoes"), shots + 2, seed=0)
    encoded = tokenizer.encode_texts(reviews.texts)
    pieces = assemble(
        default_template(reviews.label_names),
        reviews.label_names,
        tokenizer,
        [
            Example(tokens=tuple(tokens), label=label)
            for tokens, label in zip(encoded[2:], reviews.labels[2:], strict=True)
        ],
    )
    assert len(pieces.prefix) >= least_prefix
    assert tokenizer.has_chat_template == (name == "smollm2-135m-instruct")
    model = load_causal(folder, dtype=torch.float32, device=torch.device("cpu"))
    oracle = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    few = Pieces(prefix=pieces.prefix, endings=pieces.endings[:1])
    check_equal_to_naive(model, oracle, few, encoded[:2])
