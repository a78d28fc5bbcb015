"""Excel and OpenDocument spreadsheets -> columns.

Knows nothing about texts or labels.
"""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pollice.data.formats.bounds import check_fits, machine_memory
from pollice.data.formats.columns import Choose, Columns, empty_table
from pollice.data.formats.contents import read_whole
from pollice.errors import DataError, did_you_mean

_READER = Path(__file__).with_name("spreadsheet_rows.py")
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
    names = [_name(value) for value in rows[0][1]]
    chosen = choose(names)
    places = {name: names.index(name) for name in chosen}
    return Columns(
        path=path,
        values={name: [row[place] for _, row in rows[1:]] for name, place in places.items()},
        numbers=[number for number, _ in rows[1:]],
        unit="row",
        notes=_sheet_notes(path, found, sheet),
    )


def _name(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _sheet_notes(path: Path, found: dict[str, Any], sheet: str | None) -> tuple[str, ...]:
    others = [name for name in found["sheets"] if name != found["taken"]]
    if not others or sheet is not None:
        return ()
    return (
        f"{path.name} has several sheets: {found['taken']!r} is read, and not "
        f"{', '.join(map(repr, others))}. Name another with --sheet.",
    )


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
