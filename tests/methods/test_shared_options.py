"""An option that several methods have means the same in each: type, kind of default, effect."""

from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import pytest

from pollice.method import former_names, options_without_effect
from pollice.methods import find_method, method_names

ALLOWED: Mapping[str, str] = {
    "attention_dropout": "trainer leaves what the checkpoint says, as Trainer does",
    "epochs": "finetune counts by itself how often few rows are to be seen",
    "label_words": "nli puts one wording into its hypothesis, a prompt sums over several",
    "lora_rank": "finetune trains an adapter only where a rank is given, lora always",
    "patience": "lora alone ends early by default",
}
"""The options that differ, and why."""


def fields_of(method: str) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = find_method(method).__pydantic_fields__  # type: ignore[attr-defined]
    return fields


def holders(option: str) -> list[str]:
    return [method for method in method_names() if option in fields_of(method)]


OPTIONS = sorted({option for method in method_names() for option in fields_of(method)})
SHARED = [option for option in OPTIONS if len(holders(option)) > 1]


def kinds(annotation: Any) -> set[Any]:
    """Return a type's parts: choices are one kind, however many there are."""
    if get_origin(annotation) is Literal:
        return {Literal}
    parts = get_args(annotation)
    return {annotation} if annotation is NoneType or NoneType not in parts else set(parts)


def meaning(method: str, option: str) -> tuple[Any, ...]:
    """Return what must be the same: types, the kind of the default, whether results change."""
    field = fields_of(method)[option]
    default = field.default_factory() if field.default_factory else field.default
    kind = str if field.is_required() else type(default)
    return kinds(field.annotation), kind, option in options_without_effect(find_method(method))


@pytest.mark.parametrize("option", SHARED)
def test_an_option_is_the_same_in_every_method(option: str) -> None:
    meanings = [meaning(method, option) for method in holders(option)]
    same = all(found == meanings[0] for found in meanings)
    assert same != (option in ALLOWED), meanings


@pytest.mark.parametrize("option", SHARED)
def test_choices_of_one_method_are_among_those_of_another(option: str) -> None:
    annotations = [fields_of(method)[option].annotation for method in holders(option)]
    choices = [set(get_args(one)) for one in annotations if get_origin(one) is Literal]
    largest: set[Any] = max(choices, key=len, default=set())
    assert all(some <= largest for some in choices)


def test_what_is_allowed_to_differ_is_shared() -> None:
    assert set(ALLOWED) <= set(SHARED)


def test_a_former_name_is_no_option_of_any_method() -> None:
    former = {name for method in method_names() for name in former_names(find_method(method))}
    assert former == {"keep", "rank"}
    assert not former.intersection(OPTIONS)
