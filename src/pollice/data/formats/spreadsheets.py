"""Excel and OpenDocument spreadsheets -> columns.

Knows nothing about texts or labels.
"""

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pollice.data.formats.bounds import check_fits, machine_memory
from pollice.data.formats.columns import Choose, Columns, empty_table, title_above
from pollice.data.formats.contents import read_whole
from pollice.data.formats.dialects import name_of, names_below, survey_rows
from pollice.errors import DataError, counted, did_you_mean

_READER = Path(__file__).with_name("spreadsheet_rows.py")
_AHEAD = 20
_UNCALCULATED = re.compile(rb"</f>\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>")
"""A formula without the value that it had when it was last calculated."""
_PAGES = (b"<html", b"<!doctype", b"<table", b"<?xml")


def read_spreadsheet(path: Path, choose: Choose, sheet: str | None) -> Columns:
    """Read columns of a sheet: the given one, or the first visible one with rows.

    Raises:
        DataError: the file is damaged or protected, has no such sheet, or is too large.
    """
    content = read_whole(path)
    _check_unpacked(path, content)
    found, rows = _read_rows(path, content, sheet)
    if sheet is not None and found["taken"] is None:
        raise DataError(
            f"Expected the sheet {sheet!r} in {path}, but it has {', '.join(found['sheets'])}."
            f"{did_you_mean(sheet, found['sheets'])}"
        )
    if not rows:
        raise empty_table(path)
    uncalculated = _count_uncalculated(content)
    names = [_name(value) for value in rows[0][1]]
    chosen = _chosen(path, choose, names, rows[1:], found)
    skipped = survey_rows([[str(value) for value in row] for _, row in rows[1:3]])
    kept = rows[1 + skipped :]
    places = {name: names.index(name) for name in chosen}
    return Columns(
        path=path,
        values={name: [row[place] for _, row in kept] for name, place in places.items()},
        numbers=[number for number, _ in kept],
        unit="row",
        notes=_sheet_notes(path, {**found, "formulas": uncalculated}, sheet, skipped),
    )


def _chosen(
    path: Path,
    choose: Choose,
    names: Sequence[str],
    rows: Sequence[tuple[int, list[Any]]],
    found: dict[str, Any],
) -> Sequence[str]:
    """Return the chosen columns; say so if their names are further down, or in another sheet."""
    try:
        return choose(names)
    except DataError as error:
        below = names_below(choose, ((n, list(map(_name, row))) for n, row in rows[:_AHEAD]))
        if below is not None:
            raise title_above(path, f"row {below}") from error
        others = [name for name in found["sheets"] if name != found["taken"]]
        if not others:
            raise
        raise type(error)(
            f"{error} This is the sheet {found['taken']!r}; others are "
            f"{', '.join(map(repr, others))}: name one with --sheet."
        ) from error


def _name(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return name_of(str(value))


def _sheet_notes(
    path: Path, found: dict[str, Any], sheet: str | None, skipped: int
) -> tuple[str, ...]:
    notes = []
    others = [name for name in found["sheets"] if name != found["taken"]]
    if others and sheet is None:
        notes.append(
            f"{path.name} has several sheets: {found['taken']!r} is read, and not "
            f"{', '.join(map(repr, others))}. Name another with --sheet."
        )
    if skipped:
        notes.append(
            f"{path.name}: {counted(skipped, 'row')} below the first left out, which a survey tool "
            "wrote as further headers."
        )
    if found["merged"]:
        notes.append(
            f"{path.name}: {counted(found['merged'], 'row')} of merged cells got the value of the "
            "cell that they were merged to."
        )
    if found["formulas"]:
        notes.append(
            f"{path.name}: {counted(found['formulas'], 'formula has', 'formulas have')} no saved "
            "value, and count as empty cells. Open the file in a spreadsheet program, save it, and "
            "read it again."
        )
    return tuple(notes)


def _count_uncalculated(content: bytes) -> int:
    """Return how many formulas of an Excel file have no saved value: they are read as empty."""
    found = 0
    if not content.startswith(b"PK"):
        return 0
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/") and name.endswith(".xml"):
                found += len(_UNCALCULATED.findall(archive.read(name)))
    return found


def _check_unpacked(path: Path, content: bytes) -> None:
    """Refuse a packed spreadsheet that promises to be larger than the memory."""
    if content.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                check_fits(path, 2 * sum(member.file_size for member in archive.infolist()))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise _broken(path, type(error).__name__) from error


def _read_rows(
    path: Path, content: bytes, sheet: str | None
) -> tuple[dict[str, Any], Sequence[tuple[int, list[Any]]]]:
    memory = machine_memory() // 2
    # -P: a file beside the program or in this folder cannot stand in for a module.
    command = [sys.executable, "-P", str(_READER), sheet or "", str(memory)]
    reader = subprocess.run(
        command, input=content, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    )
    lines = reader.stdout.splitlines()
    found = json.loads(lines[0]) if lines and reader.returncode == 0 else {"error": "memory"}
    if reader.returncode > 0:
        found = {"error": "its reader failed"}
    match found.get("error"):
        case None:
            return found, [tuple(json.loads(line)) for line in lines[1:]]
        case "password":
            raise DataError(
                f"Expected a spreadsheet without a password, but {path} has one. "
                "Save it again without."
            )
        case "memory":
            raise DataError(
                f"Expected a spreadsheet that is read within {memory / 2**30:,.1f} GiB, half of "
                f"this machine's memory, but {path} needs more. Check the file, or save its sheet "
                "as CSV."
            )
    raise _broken(path, _disguise(content) or found["error"])


def _disguise(content: bytes) -> str | None:
    """Return what a file is that only has the name of a spreadsheet: a page or a text."""
    start = content[:1000].lstrip().lower()
    if start.startswith(_PAGES):
        return "it is a web page or XML"
    if start and b"\0" not in start and start.isascii():
        return "it is plain text, perhaps CSV"
    return None


def _broken(path: Path, found: str) -> DataError:
    return DataError(
        f"Expected a whole spreadsheet, but {path} cannot be read as one ({found}). "
        "Save it again as .xlsx or as CSV."
    )
