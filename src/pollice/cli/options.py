"""The options that several commands share.

Knows nothing about what the commands do, and imports nothing but click.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]

OUT = click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="The run's folder [default: runs/NAME]."
)
ABSTAIN = click.option(
    "--abstain-below",
    type=float,
    metavar="P",
    help="Give no answer for rows whose highest probability is below P.",
)
OUTPUT = click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help=".parquet, .csv or .jsonl",
)
RAW_CELLS = click.option(
    "--raw-cells",
    is_flag=True,
    help="Keep cells of CSV that a spreadsheet takes for formulas [default: an apostrophe first].",
)
MEMORY = click.option(
    "--memory", metavar="SIZE", help="The most a method may use, as 15GiB [default: what is free]."
)
SET = click.option("--set", "settings", multiple=True, help="METHOD.option=value; repeatable.")
NEAR_DUPLICATES = click.option(
    "--near-duplicates/--no-near-duplicates",
    default=None,
    help="Treat nearly equal texts as copies [default: yes].",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def reading(command: Command) -> Command:
    """Add the options that say how to read a source."""
    for option in reversed(
        [
            click.option("--text-column", help="The column of texts [default: found by name]."),
            click.option("--label-column", help="The column of labels [default: found by name]."),
            click.option(
                "--id-column", help="The column of ids, or none [default: found, or row numbers]."
            ),
            click.option(
                "--split-column", help="The column that says train, validation or test, or none."
            ),
            click.option("--label-names", help="Names of label codes: 0=negative,1=positive."),
            click.option(
                "--merge-labels",
                type=click.Choice(["case"]),
                help="Merge labels that differ only in case or blanks.",
            ),
            click.option(
                "--rating-bins",
                metavar="BINS",
                help='Labels for ratings: "negative<3<=positive"; a bin named drop is left out.',
            ),
            click.option(
                "--several-labels",
                type=click.Choice(["drop", "keep"]),
                help="Leave texts with several labels out, or take each such cell for one label.",
            ),
            click.option(
                "--drop-label",
                "drop_labels",
                multiple=True,
                metavar="LABEL",
                help="Leave the rows of a label out; repeatable.",
            ),
            click.option(
                "--drop-conflicts",
                is_flag=True,
                default=None,
                help="Leave out texts that have rows of different labels.",
            ),
            click.option(
                "--keep-html/--clean-html",
                default=None,
                help="Keep HTML in the texts [default: clean it, or as in training].",
            ),
            click.option("--column-names", help="Names for a CSV file without them: text,label."),
            click.option("--encoding", help="Of text files, such as cp1252 [default: UTF-8]."),
            click.option("--sheet", help="The sheet of a spreadsheet [default: first with rows]."),
        ]
    ):
        command = option(command)
    return command


def splitting(command: Command) -> Command:
    """Add the options that choose the data and how to split them."""
    for option in reversed(
        [
            click.option("--data", "source", help="A file, folder, catalogue name or hub:NAME."),
            click.option("--test", "test", help="Another source, for the test rows."),
            click.option("--limit", type=click.IntRange(1), help="Use a sample of N rows."),
            click.option("--train-rows", type=click.IntRange(1), help="Rows for training."),
            click.option("--validation-rows", type=click.IntRange(1), help="Rows for validation."),
            click.option("--test-rows", type=click.IntRange(1), help="Rows for testing."),
            click.option(
                "--balanced/--natural",
                default=None,
                help="Whether such counts of rows have each label equally often [default: no].",
            ),
            NEAR_DUPLICATES,
            click.option(
                "--seed", type=click.IntRange(0), help="For the split and the methods [default: 0]."
            ),
            SET,
        ]
    ):
        command = option(command)
    return command


def probing(command: Command) -> Command:
    """Add the options for further tests of a comparison."""
    for option in reversed(
        [
            ABSTAIN,
            click.option(
                "--canary",
                is_flag=True,
                help="Also fit on shuffled labels: what still beats chance leaks.",
            ),
            click.option(
                "--attack",
                is_flag=True,
                help="Also inject 40 sentences into test texts; count changed answers.",
            ),
        ]
    ):
        command = option(command)
    return command
