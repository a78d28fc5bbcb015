"""A program of its own: a spreadsheet on standard input -> its rows, one JSON array a line.

It is a process apart, so that no file can take more memory than it may, or end pollice: a cell
at the far corner of a sheet makes the reader ask for the whole rectangle at once.
Knows nothing about pollice: it imports nothing of it.
"""

import io
import json
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from python_calamine import (
    CalamineError,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
)


def main(sheet: str, memory: int) -> None:
    """Write what was found as a JSON object, then the rows that are not empty with their number."""
    _limit_memory(memory)
    try:
        with CalamineWorkbook.from_filelike(io.BytesIO(sys.stdin.buffer.read())) as workbook:
            names, rows = _read(workbook, sheet)
    except PasswordError:
        _write({"error": "password"})
    except MemoryError:
        _write({"error": "memory"})
    except (CalamineError, OSError, ValueError, OverflowError) as error:
        _write({"error": type(error).__name__})
    else:
        _write(names)
        for row in rows:
            _write(row)


def _limit_memory(memory: int) -> None:
    _, hardest = resource.getrlimit(resource.RLIMIT_AS)
    limit = memory if hardest == resource.RLIM_INFINITY else min(memory, hardest)
    # Some systems do not know this limit: there a file that is too large ends this program alone.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, hardest))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read(workbook: CalamineWorkbook, wanted: str) -> tuple[dict[str, Any], list[Any]]:
    tables = [found for found in workbook.sheets_metadata if found.typ == SheetTypeEnum.WorkSheet]
    shown = [found.name for found in tables if found.visible == SheetVisibleEnum.Visible]
    names = [found.name for found in tables]
    for name in [wanted] if wanted in names else [] if wanted else shown or names:
        rows = list(_rows(workbook, name))
        if len(rows) > 1 or wanted:
            merged = _fill_merged(workbook, name, rows)
            return {"sheets": names, "taken": name, "merged": merged}, rows
    return {"sheets": names, "taken": None, "merged": 0}, []


def _fill_merged(workbook: CalamineWorkbook, name: str, rows: list[Any]) -> int:
    """Give each row of cells that were merged over rows their value; return how many got one."""
    sheet = workbook.get_sheet_by_name(name)
    first = (sheet.start or (0, 0))[1]  # rows begin with the first column that is used
    by_number = dict(rows)
    filled = 0
    for (top, left), (bottom, right) in sheet.merged_cell_ranges or ():
        place = left - first
        if left != right or top + 1 not in by_number or place < 0:
            continue
        for number in range(top + 2, bottom + 2):
            row = by_number.get(number)
            if row is not None and place < len(row) and row[place] == "":
                row[place] = by_number[top + 1][place]
                filled += 1
    return filled


def _rows(workbook: CalamineWorkbook, name: str) -> Iterator[tuple[int, list[Any]]]:
    for number, row in enumerate(workbook.get_sheet_by_name(name).iter_rows(), start=1):
        if any(value != "" for value in row):
            # Dates and times as pandas writes them into CSV.
            plain = [v if isinstance(v, str | bool | int | float) else str(v) for v in row]
            yield number, plain


def _write(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
