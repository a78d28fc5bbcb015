"""What a method takes: parts that follow from the anatomy, and the options that they depend on."""

from typing import Any

import pytest

from pollice.memory.footprint import MIB, PARTS, Case, Lengths, parts, total
from pollice.method import Work
from pollice.models.pretrained.architecture import inspect_checkpoint

LONG = Lengths(rows=1000, characters=1_000_000, longest=1000)
MINILM, GEMMA = inspect_checkpoint("minilm"), inspect_checkpoint("gemma-3-270m")
MISTRAL = inspect_checkpoint("mistral-7b-instruct")


def case(work: Work, **given: Any) -> Case:
    fields = {"anatomy": MINILM, "lengths": LONG, "cuda": False, "number_bytes": 2, "options": {}}
    return Case(work=work, **{**fields, **given})


def test_lengths_are_those_of_the_texts() -> None:
    lengths = Lengths.of(["a" * 400, "b" * 40], 3)
    assert lengths == Lengths(rows=2, characters=440, longest=100, labels=3)
    assert Lengths.of([], 2).longest == 1


def test_parts_have_their_order_and_none_is_empty() -> None:
    for work in ("encode", "pair", "train_encoder"):
        found = parts(case(work))
        assert list(found) == [part for part in PARTS if part in found]
        assert all(found.values())
        assert total(found) == sum(found.values())


def test_reading_takes_the_weights_in_the_numbers_that_are_multiplied() -> None:
    assert parts(case("encode"))["weights"] == 2 * MINILM.parameters
    assert parts(case("encode", number_bytes=4))["weights"] == 4 * MINILM.parameters
    options = {"weights": "nf4"}
    packed = parts(case("prompt", anatomy=MISTRAL, options=options, cuda=True))["weights"]
    assert packed == MISTRAL.weight_bytes("nf4") + 2 * 4096 * 14336


def test_training_an_encoder_takes_sixteen_bytes_a_weight_and_the_best_epochs_copy() -> None:
    found = parts(case("train_encoder", number_bytes=4))
    weights = MINILM.parameters
    assert found["weights"] == 8 * weights
    assert found["gradients"] == 4 * weights
    assert found["optimizer"] == 8 * weights


@pytest.mark.parametrize(
    ("work", "anatomy", "option", "values"),
    [
        ("encode", MINILM, "batch_tokens", (512, 4096)),
        ("pair", MINILM, "batch_tokens", (512, 4096)),
        ("prompt", GEMMA, "batch_tokens", (512, 4096)),
        ("prompt", GEMMA, "shots", (0, 8)),
        ("train_encoder", MINILM, "micro_batch_tokens", (512, 4096)),
        ("train_encoder", MINILM, "batch_size", (1, 16)),
        ("train_encoder", MINILM, "attention_dropout", (0.0, 0.1)),
        ("train_encoder", MINILM, "frozen_layers", (5, 0)),
        ("train_encoder", MINILM, "lora_rank", (8, None)),
        ("train_causal", GEMMA, "batch_tokens", (256, 2048)),
        ("train_causal", GEMMA, "lora_rank", (8, 64)),
        ("train_causal", GEMMA, "targets", ("q_and_v", "all")),
        ("train_causal", GEMMA, "recompute", (True, False)),
        ("train_causal", GEMMA, "weights", ("nf4", "auto")),
        ("train_causal", GEMMA, "optimizer_bits", (8, 32)),
        ("train_encoder", MINILM, "optimizer_bits", (8, 32)),
        ("prompt", GEMMA, "weights", ("nf4", "auto")),
        ("count_words", None, "ngrams", (1, 2)),
    ],
)
def test_the_second_value_of_an_option_takes_more(
    work: Work, anatomy: Any, option: str, values: tuple[Any, Any]
) -> None:
    options = {"attention_dropout": 0.0, "micro_batch_tokens": 8192}
    less, more = (
        parts(case(work, anatomy=anatomy, options={**options, option: value})) for value in values
    )
    assert total(less) < total(more)


def test_adapters_leave_more_gaps_between_float32_than_whole_matrices_do() -> None:
    thin, whole = (
        parts(case("train_encoder", number_bytes=4, options={"lora_rank": rank}))["activations"]
        for rank in (8, None)
    )
    assert thin > 1.5 * whole


def test_accumulating_gradients_takes_less() -> None:
    one, four = (
        parts(case("train_encoder", options={"gradient_accumulation_steps": steps}))["activations"]
        for steps in (1, 4)
    )
    assert one > 2 * four - 250 * MIB


def test_few_short_rows_take_less_than_many_long_ones() -> None:
    short = Lengths(rows=4, characters=400, longest=30)
    for work in ("encode", "train_encoder", "count_words"):
        assert total(parts(case(work, lengths=short))) < total(parts(case(work)))


def test_a_gpu_holds_neither_the_texts_nor_the_tokenizer() -> None:
    assert {"data", "tokenizer"} <= set(parts(case("encode")))
    assert not {"data", "tokenizer", "loading"} & set(parts(case("encode", cuda=True)))


def test_a_paged_optimizer_lies_elsewhere_on_a_gpu_only() -> None:
    paged = {"paged_optimizer": True}
    assert "optimizer" in parts(case("train_causal", anatomy=GEMMA, options=paged))
    assert "optimizer" not in parts(case("train_causal", anatomy=GEMMA, options=paged, cuda=True))


def test_an_8_bit_optimizer_leaves_embeddings_in_32_bits() -> None:
    whole, eight = (
        parts(case("train_encoder", options={"optimizer_bits": bits}))["optimizer"]
        for bits in (32, 8)
    )
    assert whole - eight == 6 * (MINILM.parameters - MINILM.embedding_parameters)


def test_more_labels_take_more_of_a_baseline() -> None:
    two, five = (
        Lengths(rows=1000, characters=1_000_000, longest=1000, labels=labels) for labels in (2, 5)
    )
    less, more = (parts(case("count_words", anatomy=None, lengths=one)) for one in (two, five))
    assert less["weights"] < more["weights"]


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"weights": "nf4", "lora_rank": 64, "targets": "q_and_v", "batch_tokens": 512}, 8),
        ({"weights": "nf4", "recompute": True, "batch_tokens": 560}, 6),
    ],
)
def test_mistral_in_four_bits_fits_small_gpus_with_recomputation(
    options: dict[str, Any], most: int
) -> None:
    options = {**options, "max_tokens": 512, "batch_size": 4, "recompute": True}
    found = parts(case("train_causal", anatomy=MISTRAL, options=options, cuda=True))
    assert total(found) < most * 2**30
