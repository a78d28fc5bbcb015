"""A spreadsheet as output: what it can hold, and how it is written with the same bytes every time.

Knows nothing about predictions.
"""

import json
import re
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pollice.errors import PredictionsError

_MOST_ROWS = 1_048_575  # and one of names
_MOST_CHARACTERS = 32_767
_FIXED = datetime(1980, 1, 1, tzinfo=UTC)
_DATES = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*")


def check_sheet(suffix: str, rows: int = 0) -> None:
    """Refuse a spreadsheet that cannot be written; other formats always can.

    Raises:
        PredictionsError: there are too many rows, or what writes it is not installed.
    """
    if suffix != ".xlsx":
        return
    if find_spec("openpyxl") is None:
        raise PredictionsError(
            "Expected openpyxl for a spreadsheet as output, but it is not installed. Install it "
            "with `pip install pollice[xlsx]`, or name a .csv file."
        )
    if rows > _MOST_ROWS:
        raise PredictionsError(
            f"Expected at most {_MOST_ROWS:,} rows for a spreadsheet, but there are "
            f"{rows:,}. Name an output that ends in .csv or .parquet."
        )


def check_cells(name: str, values: Iterable[Any]) -> None:
    """Refuse a text that no cell can hold.

    Raises:
        PredictionsError: a value of the column ``name`` is too long.
    """
    longest = max((len(value) for value in values if isinstance(value, str)), default=0)
    if longest > _MOST_CHARACTERS:
        raise PredictionsError(
            f"Expected cells of at most {_MOST_CHARACTERS:,} characters for a spreadsheet, but the "
            f"column {name!r} has one of {longest:,}. Name an output that ends in .csv or .parquet."
        )


def write_sheet(names: Sequence[str], rows: Iterable[Sequence[Any]], output: Path) -> None:
    """Write one sheet, row by row; the same rows give the same bytes."""
    import openpyxl
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("predictions")

    def cell(value: Any) -> Any:
        if isinstance(value, list | dict | bytes):
            value = json.dumps(value, ensure_ascii=False, default=str)
        if not isinstance(value, str):
            return None if value != value else value  # a sheet has no NaN
        made = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("\ufffd", value))
        made.data_type = "s"  # a text, even if it begins as a formula does
        return made

    sheet.append([cell(name) for name in names])
    for row in rows:
        sheet.append([cell(value) for value in row])
    packed = output.with_name(f"{output.name}.sheet")
    try:
        book.save(packed)
        _repack(packed, output)
    finally:
        packed.unlink(missing_ok=True)


def _repack(packed: Path, output: Path) -> None:
    """Write a spreadsheet without the time at which it was made."""
    moment = _FIXED.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(output, "w") as target:
        for name in source.namelist():
            member = zipfile.ZipInfo(name, _FIXED.timetuple()[:6])
            member.compress_type = zipfile.ZIP_DEFLATED
            with source.open(name) as old, target.open(member, "w", force_zip64=True) as new:
                if name == "docProps/core.xml":
                    new.write(_DATES.sub(rb"\g<1>" + moment, old.read()))
                else:
                    shutil.copyfileobj(old, new, 2**20)
