"""The options of reading mean the same on the command line and in an experiment's file."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import click
import pytest
import tomli_w
from click.testing import CliRunner

from pollice.cli.options import reading
from pollice.cli.settings import read_options
from pollice.data.columns import ReadOptions
from pollice.runs.experiment import read_experiment

GIVEN: Mapping[str, tuple[list[str], Any]] = {
    "text_column": (["--text-column", "words"], "words"),
    "label_column": (["--label-column", "mark"], "mark"),
    "id_column": (["--id-column", "none"], "none"),
    "split_column": (["--split-column", "fold"], "fold"),
    "label_names": (["--label-names", "0=bad,1=good"], {"0": "bad", "1": "good"}),
    "merge_labels": (["--merge-labels", "case"], "case"),
    "rating_bins": (["--rating-bins", "bad<3<=good"], "bad<3<=good"),
    "several_labels": (["--several-labels", "drop"], "drop"),
    "drop_labels": (["--drop-label", "n/a", "--drop-label", "a,b"], ["n/a", "a,b"]),
    "drop_conflicts": (["--drop-conflicts"], True),
    "keep_html": (["--keep-html"], True),
    "encoding": (["--encoding", "cp1252"], "cp1252"),
    "column_names": (["--column-names", "text,label"], ["text", "label"]),
    "sheet": (["--sheet", "Data"], "Data"),
}
"""Of each option, how it is given on the command line and in TOML."""


def from_command_line(arguments: list[str]) -> ReadOptions:
    found: list[ReadOptions] = []

    @click.command()
    @reading
    def command(**given: Any) -> None:
        found.append(read_options(given))

    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    return found[0]


def test_every_option_is_compared_here() -> None:
    assert set(GIVEN) == {option.name for option in fields(ReadOptions)}


def from_file(content: Mapping[str, Any]) -> ReadOptions:
    whole = {"data": {"source": "a.csv", **content}, "methods": {"baseline": {}}}
    return read_experiment(tomllib.loads(tomli_w.dumps(whole)), "a.toml").data.read


@pytest.mark.parametrize("name", GIVEN)
def test_an_option_is_the_same_on_the_command_line_and_in_a_file(name: str) -> None:
    arguments, value = GIVEN[name]
    options = from_command_line(arguments)
    assert options == from_file({"read": {name: value}})
    assert options != ReadOptions()


def test_nothing_given_is_the_same_too() -> None:
    assert from_command_line([]) == from_file({}) == ReadOptions()
