"""The columns of a table that have a role: text, label, id and split.

Knows nothing about formats, and nothing about what a label means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pollice.data.formats.columns import Columns, find_column
from pollice.errors import DataError, did_you_mean

TEXT_COLUMNS = ("text", "review", "content", "sentence", "comment")
LABEL_COLUMNS = ("label", "sentiment", "category", "class", "polarity", "rating")
ID_COLUMNS = ("id",)
SPLIT_COLUMNS = ("split",)
PART_NAMES = dict.fromkeys(("train", "training"), "train")
PART_NAMES |= dict.fromkeys(("validation", "valid", "val", "dev"), "validation")
PART_NAMES |= dict.fromkeys(("test", "testing"), "test")
"""What sources call their parts, and what pollice calls them."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a source; columns that are None are found by their usual names."""

    text_column: str | None = None
    label_column: str | None = None
    id_column: str | None = None
    split_column: str | None = None
    label_names: Mapping[str, str] | None = None
    """The name of each label code, such as ``{"0": "negative", "1": "positive"}``."""
    keep_html: bool = False
    """Whether tags and entities stay in the texts."""
    sheet: str | None = None
    """The sheet of a spreadsheet; None takes the first visible one with rows."""


USUAL = ReadOptions()


def find_columns(
    path: Path, names: Sequence[str], options: ReadOptions, *, labelled: bool
) -> dict[str, str]:
    """Return the column of each role: text and, if they exist, label, id and split.

    Raises:
        DataError: a column that is named or needed does not exist.
    """
    wanted: list[tuple[str, str | None, tuple[str, ...], bool]] = [
        ("text", options.text_column, TEXT_COLUMNS, True),
        ("label", options.label_column, LABEL_COLUMNS, labelled),
        ("id", options.id_column, ID_COLUMNS, False),
    ]
    if labelled:
        wanted.append(("split", options.split_column, SPLIT_COLUMNS, False))
    found = {}
    for role, given, usual, needed in wanted:
        name = find_column(names, (given,) if given else usual)
        if name is not None:
            found[role] = name
        elif given:
            raise DataError(
                f"Expected the {role} column {given!r} in {path}, but its columns are "
                f"{', '.join(names)}.{did_you_mean(given, names)}"
            )
        elif needed:
            raise DataError(
                f"Expected a {role} column named {', '.join(usual)} in {path}, but its columns "
                f"are {', '.join(names)}. Give the name of the {role} column."
            )
    return found


def unique_ids(columns: Columns, name: str) -> list[str]:
    """Return the ids of a column.

    Raises:
        DataError: an id is missing or stands in two rows.
    """
    first: dict[str, int] = {}
    for row, value in enumerate(columns.strings(name)):
        if value is None:
            raise DataError(
                f"Expected an id in every row, but the column {name!r} of {columns.path} is empty "
                f"on {columns.place(row)}. Fill it in, or name another id column."
            )
        if value in first:
            raise DataError(
                f"Expected every id once, but the column {name!r} of {columns.path} holds "
                f"{value!r} on {columns.place(first[value])} and {columns.place(row)}. "
                "Make the ids unique, or name another id column."
            )
        first[value] = row
    return list(first)


def read_parts(columns: Columns, name: str) -> list[str]:
    """Return each row's part: ``"train"``, ``"validation"`` or ``"test"``.

    Raises:
        DataError: a row has another part.
    """
    parts = []
    for row, value in enumerate(columns.strings(name)):
        part = PART_NAMES.get((value or "").lower())
        if part is None:
            raise DataError(
                f"Expected train, validation or test in the column {name!r} of {columns.path}, "
                f"but {columns.place(row)} holds {value or ''!r}. Name another split column."
            )
        parts.append(part)
    return parts
