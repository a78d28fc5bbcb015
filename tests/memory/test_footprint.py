"""What a method takes: parts that follow from the anatomy, and the options that they depend on."""

from dataclasses import replace
from typing import Any

import pytest

from pollice.memory.footprint import (
    CPU_LIBRARIES,
    CUDA_CONTEXT,
    MIB,
    PARTS,
    Footprint,
    Lengths,
    Parts,
    PlannedMethod,
    halved,
    total,
)
from pollice.methods import create_method, find_method, method_names
from pollice.models.pretrained.architecture import inspect_checkpoint

LONG = Lengths(rows=1000, characters=1_000_000, longest=1000)
MINILM = inspect_checkpoint("minilm")
E5 = inspect_checkpoint("multilingual-e5-small")
MISTRAL = inspect_checkpoint("mistral-7b-instruct")
PLACE = {"device": "cpu", "dtype": "bfloat16"}
# Any encoder will do for a plan of nli: whether it was trained for that, no plan depends on.
GIVEN: dict[str, dict[str, Any]] = {
    "baseline": {},
    "cascade": {"teacher_options": {**PLACE, "checkpoint": "minilm"}, "teacher": "features"},
    "distill": {"teacher_options": {**PLACE, "checkpoint": "minilm"}, "teacher": "features"},
    "ensemble": {"members": {"baseline": {}, "features": {**PLACE, "checkpoint": "minilm"}}},
    "lexicon": {},
    "nli": {**PLACE, "checkpoint": "minilm"},
}


def footprint(name: str, lengths: Lengths = LONG, **options: Any) -> Footprint:
    method = create_method(name, {**GIVEN.get(name, PLACE), **options})
    assert isinstance(method, PlannedMethod)
    return method.estimate_memory(lengths)


def parts(name: str, lengths: Lengths = LONG, **options: Any) -> Parts:
    return footprint(name, lengths, **options).beside(0)


def test_lengths_are_those_of_the_texts() -> None:
    lengths = Lengths.of(["a" * 400, "b" * 40], 3)
    assert lengths == Lengths(rows=2, characters=440, longest=100, labels=3)
    assert Lengths.of([], 2).longest == 1


def test_the_longest_text_is_cut_and_has_a_token_before_and_after_it() -> None:
    assert [replace(LONG, longest=longest).cut(64) for longest in (10, 62, 63)] == [12, 64, 64]


def test_tokens_are_halved_down_to_the_least() -> None:
    found = [halved("batch_tokens", tokens, 512) for tokens in (4096, 600, 512, 100)]
    assert found == [{"batch_tokens": 2048}, {"batch_tokens": 512}, {}, {}]


@pytest.mark.parametrize("name", method_names())
def test_parts_have_their_order_and_none_is_empty(name: str) -> None:
    found = parts(name)
    assert list(found) == [part for part in PARTS if part in found]
    assert all(found.values())
    assert total(found) == sum(found.values())


def test_a_part_that_no_table_shows_is_refused() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        Footprint.of_gpu({"surprises": 3}).beside(0)


def test_a_process_counts_what_it_holds_already_and_a_gpu_does_not() -> None:
    for held in (0, 2 * CPU_LIBRARIES):
        assert footprint("features").beside(held)["libraries"] == max(held, CPU_LIBRARIES)
        assert footprint("features", device="cuda").beside(held)["libraries"] == CUDA_CONTEXT


@pytest.mark.parametrize("name", method_names())
def test_every_method_of_ours_is_planned_and_a_joint_one_holds_gradients(name: str) -> None:
    assert ("gradients" in parts(name)) == find_method(name).joint


def test_reading_takes_the_weights_in_the_numbers_that_are_multiplied() -> None:
    assert parts("features")["weights"] == 2 * E5.parameters
    assert parts("features", dtype="float32")["weights"] == 4 * E5.parameters
    packed = parts("prompt", checkpoint="mistral-7b-instruct", weights="nf4", device="cuda")
    assert packed["weights"] == MISTRAL.weight_bytes("nf4") + 2 * 4096 * 14336


def test_training_an_encoder_takes_sixteen_bytes_a_weight_and_the_best_epochs_copy() -> None:
    weights = MINILM.parameters
    for name in ("finetune", "trainer"):
        found = parts(name, dtype="float32")
        assert found["weights"] == 8 * weights
        assert found["gradients"] == 4 * weights
        assert found["optimizer"] == 8 * weights


@pytest.mark.parametrize(
    ("name", "option", "values"),
    [
        ("features", "batch_tokens", (512, 4096)),
        ("nli", "batch_tokens", (512, 4096)),
        ("prompt", "batch_tokens", (512, 4096)),
        ("prompt", "shots", (0, 8)),
        ("finetune", "micro_batch_tokens", (512, 4096)),
        ("finetune", "batch_size", (1, 16)),
        ("finetune", "attention_dropout", (0.0, 0.1)),
        ("finetune", "frozen_layers", (5, 0)),
        ("finetune", "freeze_embeddings", (True, False)),
        ("finetune", "lora_rank", (8, None)),
        ("finetune", "optimizer_bits", (8, 32)),
        ("trainer", "batch_size", (1, 16)),
        ("trainer", "attention_dropout", (0.0, None)),
        ("trainer", "optimizer_bits", (8, 32)),
        ("lora", "batch_tokens", (256, 2048)),
        ("lora", "lora_rank", (8, 64)),
        ("lora", "targets", ("q_and_v", "all")),
        ("lora", "recompute", (True, False)),
        ("lora", "optimizer_bits", (8, 32)),
        ("baseline", "ngrams", (1, 2)),
        ("baseline", "ngrams", (2, 3)),
    ],
)
def test_the_second_value_of_an_option_takes_more(
    name: str, option: str, values: tuple[Any, Any]
) -> None:
    less, more = (parts(name, **{option: value}) for value in values)
    assert total(less) < total(more)


@pytest.mark.parametrize("name", ["prompt", "lora"])
def test_four_bits_take_less(name: str) -> None:
    less, more = (parts(name, device="cuda", weights=weights) for weights in ("nf4", "auto"))
    assert total(less) < total(more)


def test_adapters_leave_more_gaps_between_float32_than_whole_matrices_do() -> None:
    thin, whole = (
        parts("finetune", dtype="float32", lora_rank=rank)["activations"] for rank in (8, None)
    )
    assert thin > 1.5 * whole


def test_accumulating_gradients_takes_less() -> None:
    one, four = (
        parts("trainer", gradient_accumulation_steps=steps)["activations"] for steps in (1, 4)
    )
    assert one > 2 * four - 250 * MIB


def test_few_short_rows_take_less_than_many_long_ones() -> None:
    short = Lengths(rows=4, characters=400, longest=30)
    for name in method_names():
        assert total(parts(name, short)) < total(parts(name)), name


def test_a_gpu_holds_neither_the_texts_nor_the_tokenizer() -> None:
    assert {"data", "tokenizer"} <= set(parts("features"))
    assert not {"data", "tokenizer", "loading"} & set(parts("features", device="cuda"))


def test_a_paged_optimizer_lies_elsewhere_on_a_gpu_only() -> None:
    assert "optimizer" in parts("lora", paged_optimizer=True)
    assert "optimizer" not in parts("lora", paged_optimizer=True, device="cuda")


def test_an_8_bit_optimizer_leaves_embeddings_in_32_bits() -> None:
    whole, eight = (parts("finetune", optimizer_bits=bits)["optimizer"] for bits in (32, 8))
    assert whole - eight == 6 * (MINILM.parameters - MINILM.embedding_parameters)


def test_more_labels_take_more_of_a_baseline() -> None:
    less, more = (parts("baseline", replace(LONG, labels=labels)) for labels in (2, 5))
    assert less["weights"] < more["weights"]


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({"lora_rank": 64, "targets": "q_and_v", "batch_tokens": 512}, 8),
        ({"recompute": True, "batch_tokens": 560}, 6),
    ],
)
def test_mistral_in_four_bits_fits_small_gpus_with_recomputation(
    options: dict[str, Any], most: int
) -> None:
    asked: dict[str, Any] = {"checkpoint": "mistral-7b-instruct", "weights": "nf4"}
    asked |= {"device": "cuda", "max_tokens": 512, "batch_size": 4, "recompute": True}
    assert total(parts("lora", **{**asked, **options})) < most * 2**30
