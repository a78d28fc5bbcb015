"""The columns of a table that have a role: text, label, id and split.

Knows nothing about formats, and nothing about what a label means.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pollice.data.formats.columns import Columns, TextOptions, find_column, shorten
from pollice.data.rating_bins import NO_BINS, read_bins
from pollice.errors import DataError, OptionError, did_you_mean

_USUAL_TEXTS = "text review content sentence comment comments answer opinion response feedback"
_USUAL_TEXTS += " verbatim message body tweet reviews answers opinions responses messages"
TEXT_COLUMNS = tuple(_USUAL_TEXTS.split())
LABEL_COLUMNS = ("label", "sentiment", "category", "class", "polarity", "rating")
ID_COLUMNS = ("id",)
SPLIT_COLUMNS = ("split",)
_MOST_SHOWN = 100  # names of a table's columns, in an error
_PERHAPS_TEXT: tuple[str, ...] = ("title", "headline", "subject", "summary", "body", "message")
_PERHAPS_TEXT += ("description", "feedback", "answer", "response")
_PERHAPS_LABEL = ("stars", "score", "target", "opinion", "emotion", "stance", "topic")
"""Never taken unasked, but named where another column was taken."""
NO_COLUMN = "none"
"""Given for a column that is not to be read, though it exists."""
PART_NAMES = dict.fromkeys(("train", "training"), "train")
PART_NAMES |= dict.fromkeys(("validation", "valid", "val", "dev"), "validation")
PART_NAMES |= dict.fromkeys(("test", "testing"), "test")
"""What sources call their parts, and what pollice calls them."""

_SHOWN_NAMES = 5  # usual names of a column, in an error


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a source; columns that are None are found by their usual names."""

    text_column: str | None = None
    label_column: str | None = None
    id_column: str | None = None
    split_column: str | None = None
    label_names: Mapping[str, str] | None = None
    """The name of each label code, such as ``{"0": "negative", "1": "positive"}``."""
    merge_labels: Literal["case"] | None = None
    """``"case"``: labels that differ only in case or blanks are merged to the commonest of them."""
    rating_bins: str | None = None
    """Labels for ratings, such as ``"negative<3<=positive"``; the bin ``drop`` is left out.
    ``"none"``: every number is a label, however many there are."""
    several_labels: Literal["drop", "keep"] | None = None
    """Texts with several labels in their cell: leave them out, or take the cell for one label."""
    drop_labels: tuple[str, ...] = ()
    """Labels whose rows are left out."""
    drop_conflicts: bool = False
    """Whether the rows of a text that has different labels are left out."""
    keep_html: bool = False
    """Whether tags and entities stay in the texts."""
    encoding: str | None = None
    """How a text file's bytes spell letters, such as ``"cp1252"``; None: UTF-8."""
    column_names: tuple[str, ...] | None = None
    """The names of the columns of a CSV or TSV file whose first line is a row already."""
    sheet: str | None = None
    """The sheet of a spreadsheet; None takes the first visible one with rows."""

    def __post_init__(self) -> None:
        for name, value, allowed in [
            ("merge_labels", self.merge_labels, ("case",)),
            ("several_labels", self.several_labels, ("drop", "keep")),
        ]:
            if value is not None and value not in allowed:
                raise OptionError(
                    f"Expected {' or '.join(map(repr, allowed))} for {name}, but found {value!r}."
                )
        if self.rating_bins in (None, NO_BINS):
            return
        read_bins(str(self.rating_bins))
        if self.label_names is not None:
            raise OptionError(
                "Expected names for label codes or bins for ratings, but found both. Leave "
                "--label-names or --rating-bins out."
            )

    @property
    def text(self) -> TextOptions:
        """What is known of text files."""
        return TextOptions(encoding=self.encoding, column_names=self.column_names)


USUAL = ReadOptions()


def find_columns(
    path: Path,
    names: Sequence[str],
    options: ReadOptions,
    *,
    labelled: bool,
    preferred: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """Return the column of each role: text and, if they exist, label, id and split.

    ``preferred`` is for each role a column that is looked for before those of usual names.

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
        if given is not None and is_no_column(given, names) and not needed:
            continue
        usual = (preferred[role], *usual) if role in preferred else usual
        name = find_column(names, (given,) if given else usual)
        if name is not None:
            _check_once(path, names, name, role)
            found[role] = name
        elif given:
            raise DataError(
                f"Expected the {role} column {given!r} in {path}, but {_said_names(names)}."
                f"{did_you_mean(given, names)}"
            )
        elif needed:
            some = ", ".join([*dict.fromkeys(usual)][:_SHOWN_NAMES])
            raise DataError(
                f"Expected a {role} column named {some} or alike in "
                f"{path}, but {_said_names(names)}. Name it with --{role}-column "
                f"(in Python: {role}_column)."
            )
    return found


def is_no_column(given: str, names: Sequence[str]) -> bool:
    """Tell whether an option says that no column is to be read; a column may have that name."""
    return given.casefold() == NO_COLUMN and find_column(names, (given,)) is None


def _said_names(names: Sequence[str]) -> str:
    if not any(names):
        return "it has no columns with names"
    shown = ", ".join(map(shorten, names[:_MOST_SHOWN]))
    more = f" and {len(names) - _MOST_SHOWN:,} more" if len(names) > _MOST_SHOWN else ""
    return f"its columns are {shown}{more}"


def _check_once(path: Path, names: Sequence[str], name: str, role: str) -> None:
    """Refuse a column whose name two columns have: which of them counts would be chance."""
    places = [str(place) for place, other in enumerate(names, start=1) if other == name]
    if len(places) > 1:
        raise DataError(
            f"Expected one column named {name!r} in {path}, but its columns "
            f"{' and '.join(places)} have that name. Rename one of them, or name another with "
            f"--{role}-column."
        )


def column_notes(
    path: Path,
    names: Sequence[str],
    options: ReadOptions,
    found: Mapping[str, str],
    preferred: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, ...]:
    """Return a sentence for each role that several columns could have, unless one was named.

    Also one where the preferred column of texts does not exist.
    """
    roles: list[tuple[str, str | None, tuple[str, ...]]] = [
        ("text", options.text_column, TEXT_COLUMNS + _PERHAPS_TEXT)
    ]
    if options.rating_bins is None:
        roles.append(("label", options.label_column, LABEL_COLUMNS + _PERHAPS_LABEL))
    notes = []
    for role, given, usual in roles:
        if role in preferred and find_column(names, (preferred[role],)) is not None:
            continue
        if role == "text" and role in preferred and given is None:
            notes.append(
                f"The predictor learned from the column {preferred[role]!r}, but {path} has none: "
                f"{found[role]!r} is judged. Name another with --text-column."
            )
            continue
        others = [
            name
            for name in names
            if name.casefold() in usual and name not in found.values() and name.strip()
        ]
        if role in found and given is None and others:
            also = ", ".join(map(repr, others))
            notes.append(
                f"The {role} column of {path} is {found[role]!r}. Others could be it too: {also}. "
                f"Name another with --{role}-column."
            )
    return tuple(notes)


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
                f"on {columns.place(row)}. Fill it in, name another column with --id-column, or "
                "number the rows with --id-column none."
            )
        if value in first:
            raise DataError(
                f"Expected every id once, but the column {name!r} of {columns.path} holds "
                f"{value!r} on {columns.place(first[value])} and {columns.place(row)}. "
                "Make the ids unique, or number the rows with --id-column none."
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
                f"but {columns.place(row)} holds {value or ''!r}. Name another column with "
                "--split-column, or leave the parts out with --split-column none."
            )
        parts.append(part)
    return parts
