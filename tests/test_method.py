"""Methods and their options: found by name, checked, explained, and known by older names."""

import logging
import re
from typing import Any

import pytest

from conftest import InstallMethod
from pollice.errors import OptionError
from pollice.method import options_of, say_renamed
from pollice.methods import (
    create_method,
    current_options,
    find_method,
    method_names,
    method_options,
)

OWN = ("baseline", "features", "finetune", "prompt")
THEIRS = '''
"""Someone else's way to learn."""

from pydantic.dataclasses import dataclass

from pollice.method import OPTIONS, Method
from pollice.methods.baseline import BagOfWords, Baseline


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Theirs(Method):
    """Whatever the baseline does."""

    predictor_type = BagOfWords

    depth: int = 3
    """How deep."""
    seed: int = 0
    """Draws nothing."""

    def fit(self, train, validation, *, workdir):
        return Baseline().fit(train, validation, workdir=workdir)
'''


def fails(name: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(sentence)}$"):
        create_method(name, options)


def test_our_methods_are_the_files_of_their_folder() -> None:
    assert set(OWN) <= set(method_names())


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    listed = ", ".join(method_names())
    fails(
        "basline",
        {},
        f"There is no method 'basline'. Did you mean 'baseline'? The methods are: {listed}.",
    )
    fails("zzz", {}, f"There is no method 'zzz'. The methods are: {listed}.")


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    fails(
        "baseline",
        {"ngram": 2},
        "Method 'baseline' has no option 'ngram'. Did you mean 'ngrams'? "
        "Its options are: ngrams, characters, max_features, seed.",
    )


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (9, "its value should be less than or equal to 5"),
        (0, "its value should be greater than or equal to 1"),
        ("two", "its value should be a valid integer, unable to parse string as an integer"),
        (1.5, "its value should be a valid integer, got a number with a fractional part"),
        (None, "its value should be a valid integer"),
    ],
)
def test_a_value_out_of_range_names_option_value_and_rule(value: object, rule: str) -> None:
    fails(
        "baseline",
        {"ngrams": value},
        f"Option baseline.ngrams is {value!r}, but {rule}. See: pollice methods baseline.",
    )


def test_a_value_that_is_none_of_the_choices_names_them() -> None:
    fails(
        "features",
        {"pooling": "max"},
        "Option features.pooling is 'max', but its value should be 'mean' or 'cls'. "
        "See: pollice methods features.",
    )


def test_a_value_inside_an_option_is_named_with_its_place() -> None:
    fails(
        "prompt",
        {"label_words": {"pos": 3}},
        "Option prompt.label_words.pos is 3, but its value should be an instance of Sequence. "
        "See: pollice methods prompt.",
    )


@pytest.mark.parametrize("name", OWN)
def test_options_come_back_as_they_were_given(name: str) -> None:
    method = create_method(name, {"seed": 7})
    options = options_of(method)
    assert options["seed"] == 7
    assert create_method(name, options) == method
    assert set(options) == {option.name for option in method_options(name)}


@pytest.mark.parametrize("name", OWN)
def test_every_option_says_what_it_does_and_has_its_default(name: str) -> None:
    options = method_options(name)
    defaults = options_of(create_method(name, {}))
    assert options
    for option in options:
        assert option.description.endswith("."), option.name
        assert option.type, option.name
        assert not re.search(r"Literal|Union|typing", option.type), option.type
        assert create_method(name, {option.name: defaults[option.name]}) == create_method(name, {})


@pytest.mark.parametrize("name", [*OWN, "nli"])
def test_every_method_knows_its_name_its_predictor_and_what_it_is(name: str) -> None:
    method = find_method(name)
    assert method.name == name
    assert method.predictor_type.__doc__
    assert (method.__doc__ or "").strip().splitlines()[0].endswith(".")


@pytest.mark.parametrize(
    ("name", "older", "now"),
    [
        ("features", {"keep": "tail"}, {"long_text": "tail"}),
        ("finetune", {"keep": "head", "checkpoint_steps": 0}, {"long_text": "head"}),
        ("nli", {"keep": "head", "checkpoint": "x"}, {"long_text": "head", "checkpoint": "x"}),
        ("prompt", {"keep": "head"}, {"long_text": "head"}),
        ("trainer", {"checkpoint_steps": 0}, {"checkpoint_steps": None}),
        ("lora", {"rank": 4, "keep": "head"}, {"lora_rank": 4, "long_text": "head"}),
        ("lora", {"recipe": "report", "rank": 8}, {"recipe": "report", "lora_rank": 8}),
    ],
)
def test_an_older_name_of_an_option_works(
    name: str, older: dict[str, Any], now: dict[str, Any]
) -> None:
    method = create_method(name, older)
    assert method == create_method(name, now)
    assert type(method)(**older) == method
    assert options_of(method).keys().isdisjoint({"keep", "rank"})


def test_an_older_name_says_the_present_one_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "pollice")
    say_renamed.cache_clear()
    older: dict[str, Any] = {"rank": 4}
    for _ in range(2):
        create_method("lora", older)
        find_method("lora")(**older)
    assert caplog.messages == [
        "Option lora.rank is now called lora_rank. The old name still works."
    ]


def test_an_option_cannot_be_given_by_both_names() -> None:
    fails(
        "lora",
        {"rank": 4, "lora_rank": 8},
        "Expected one value for lora_rank, but it is given by its older name rank too. "
        "Leave rank out.",
    )


def test_options_of_an_older_version_are_renamed_and_nothing_else() -> None:
    """As they stand in an experiment.toml: nothing is filled in, refused or said."""
    older = {"rank": 4, "keep": "head", "checkpoint_steps": 0, "epochs": -1, "other": None}
    assert current_options("lora", older) == {
        **{"lora_rank": 4, "long_text": "head", "checkpoint_steps": None},
        **{"epochs": -1, "other": None},
    }
    assert current_options("baseline", {"rank": 4}) == {"rank": 4}


def test_options_are_frozen() -> None:
    with pytest.raises(AttributeError):
        create_method("baseline", {}).ngrams = 3  # type: ignore[attr-defined]  # the attempt is tested


def test_a_third_party_adds_a_method(install_method: InstallMethod) -> None:
    install_method("theirs", THEIRS)
    assert method_names()[-1] == "theirs"
    method = create_method("theirs", {"depth": 5})
    assert method.name == "theirs"
    assert options_of(method) == {"depth": 5, "seed": 0}
    assert [option.description for option in method_options("theirs")] == [
        "How deep.",
        "Draws nothing.",
    ]
    fails(
        "theirs",
        {"dept": 1},
        "Method 'theirs' has no option 'dept'. Did you mean 'depth'? Its options are: depth, seed.",
    )


def test_a_third_party_is_gone_when_it_is_gone() -> None:
    assert "theirs" not in method_names()
