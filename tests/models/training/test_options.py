"""A recipe fills the options that were not given; options that do not fit are refused."""

import re
from dataclasses import replace
from typing import Any

import pytest

from pollice.errors import OptionError
from pollice.method import options_of
from pollice.methods import create_method
from pollice.models.pretrained.options import ClassifierOptions, ReadingOptions
from pollice.models.training.options import TrainingOptions

REPORT = {
    **{"epochs": 3, "learning_rate": 5e-5, "batch_size": 16, "max_tokens": 512},
    **{"weight_decay": 0.01, "layer_decay": 1.0, "label_smoothing": 0.0, "clip_norm": None},
    **{"warmup": 0.1, "warmup_steps": 500, "select": "last", "long_text": "head"},
    **{"dtype": "float32", "attention_dropout": 0.1},
    **{"head_learning_rate": None, "temperature": False},
}


def values(options: TrainingOptions, names: Any) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def test_the_recipe_of_the_report_fills_what_is_not_given() -> None:
    assert values(TrainingOptions(recipe="report"), REPORT) == REPORT
    given = TrainingOptions(recipe="report", learning_rate=1e-4, warmup_steps=7)
    assert values(given, REPORT) == {**REPORT, "learning_rate": 1e-4, "warmup_steps": 7}


def test_a_method_records_the_completed_options() -> None:
    method = create_method("finetune", {"recipe": "report", "epochs": 2})
    recorded = options_of(method)
    assert {name: recorded[name] for name in REPORT} == {**REPORT, "epochs": 2}
    assert create_method("finetune", recorded) == method


def test_a_copy_keeps_the_options_that_were_given() -> None:
    given = TrainingOptions(recipe="report", warmup_steps=7)
    assert replace(given, seed=1).warmup_steps == 7


def test_without_a_recipe_long_texts_keep_head_and_tail() -> None:
    options = TrainingOptions()
    assert (options.long_text, options.warmup, options.select) == ("head_tail", 0.1, "log_loss")
    assert 0 < options.layer_decay < 1


def test_reading_options_are_what_a_predictor_needs() -> None:
    options = TrainingOptions(max_tokens=7, long_text="chunks", dtype="float32")
    assert options.reading() == ClassifierOptions(max_tokens=7, long_text="chunks", dtype="float32")
    assert ReadingOptions(long_text="tail").reading() == ReadingOptions(long_text="tail")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"epochs": 0},
            "Option finetune.epochs is 0, but its value should be greater than or equal to 1. "
            "See: pollice methods finetune.",
        ),
        (
            {"recipe": "reports"},
            "Option finetune.recipe is 'reports', but its value should be 'default' or 'report'. "
            "See: pollice methods finetune.",
        ),
        (
            {"select": "last", "patience": 2},
            "Option finetune is {'select': 'last', 'patience': 2}, but patience needs select to be "
            "log_loss or accuracy. See: pollice methods finetune.",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(sentence)}$"):
        create_method("finetune", given)
