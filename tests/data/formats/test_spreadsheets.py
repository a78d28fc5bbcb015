"""Spreadsheets -> columns, of every kind, and what is refused of them."""

import datetime
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from pollice.data.formats.bounds import machine_memory
from pollice.data.formats.columns import Columns
from pollice.data.tables import read_columns
from pollice.errors import DataError
from spreadsheet_files import Rows, ods, xls, xlsx

ROWS: Rows = [["text", "label"], ["Warm soup, really", 1], ["Cold soup", 0.5]]


def everything(names: Sequence[str]) -> Sequence[str]:
    return [name for name in names if name]


def read(path: Path, content: bytes, sheet: str | None = None) -> Columns:
    path.write_bytes(content)
    return read_columns(path, everything, sheet=sheet)


def fails(path: Path, content: bytes, sentence: str, sheet: str | None = None) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(sentence.format(path=path))}$"):
        read(path, content, sheet)


@pytest.mark.parametrize(
    ("suffix", "make"), [(".xlsx", xlsx), (".XLSX", xlsx), (".xls", xls), (".ods", ods)]
)
def test_every_kind_gives_the_columns_of_a_csv(
    tmp_path: Path, suffix: str, make: Callable[[Rows], bytes]
) -> None:
    columns = read(tmp_path / f"a{suffix}", make(ROWS))
    assert columns.strings("text") == ["Warm soup, really", "Cold soup"]
    assert columns.strings("label") == ["1", "0.5"]
    assert columns.place(1) == "row 3"
    assert columns.notes == ()


def test_dates_truth_values_and_gaps(tmp_path: Path) -> None:
    """Rows without any value are skipped, and the others keep the number that Excel shows."""
    rows: Rows = [
        [],
        ["text", "date", 2024],
        ["a", datetime.date(2024, 1, 5), True],
        [],
        ["b", datetime.datetime(2024, 1, 5, 10, 0, 1), None],
    ]
    columns = read(tmp_path / "a.xlsx", xlsx(rows))
    assert columns.strings("date") == ["2024-01-05", "2024-01-05 10:00:01"]
    assert columns.strings("2024") == ["true", None]
    assert [columns.place(row) for row in (0, 1)] == ["row 3", "row 5"]


def test_the_first_shown_sheet_with_rows_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    content = xlsx([], more={"Old": ROWS, "New": ROWS}, hidden=["Old"])
    columns = read(tmp_path / "a.xlsx", content)
    assert columns.strings("label") == ["1", "0.5"]
    assert columns.notes == (
        "a.xlsx has several sheets: 'New' is read, and not 'Sheet', 'Old'. "
        "Name another with --sheet.",
    )


def test_a_sheet_is_named(tmp_path: Path) -> None:
    content = xlsx(ROWS, more={"Other": [["text"], ["x"]]}, hidden=["Other"])
    columns = read(tmp_path / "a.xlsx", content, "Other")
    assert (columns.strings("text"), columns.notes) == (["x"], ())


def test_a_sheet_that_is_not_there(tmp_path: Path) -> None:
    sentence = "Expected the sheet 'Shet' in {path}, but it has Sheet. Did you mean 'Sheet'?"
    fails(tmp_path / "a.xlsx", xlsx(ROWS), sentence, "Shet")
    sentence = (
        "Expected a spreadsheet that has the sheet 'Sheet', but {path} has no sheets. "
        "Leave the sheet out, or name an .xlsx, .xls or .ods file."
    )
    fails(tmp_path / "a.csv", b"text\na\n", sentence, "Sheet")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "CalamineError"),
        (b"PK\3\4junk", "BadZipFile"),
        (b"<html><table><tr><td>text</td></tr></table></html>", "it is a web page or XML"),
        (b"text\tlabel\na\t1\n", "it is plain text, perhaps CSV"),
    ],
)
def test_what_only_has_the_name_of_a_spreadsheet(
    tmp_path: Path, content: bytes, found: str
) -> None:
    sentence = (
        f"Expected a whole spreadsheet, but {{path}} cannot be read as one ({found}). "
        "Save it again as .xlsx or as CSV."
    )
    fails(tmp_path / "a.xls", content, sentence)


def test_empty_sheets(tmp_path: Path) -> None:
    sentence = "Expected a table, but {path} is empty. Name a file with at least one row."
    fails(tmp_path / "a.xlsx", xlsx([]), sentence)


def test_a_cell_at_the_far_corner_takes_no_more_than_half_of_the_memory(tmp_path: Path) -> None:
    """Its rectangle would be half a terabyte: the reader's process ends, and pollice goes on."""
    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = "text", "label"
    book.save(tmp_path / "a.xlsx")
    sentence = (
        f"Expected a spreadsheet that is read within {machine_memory() / 2**31:,.1f} GiB, half of "
        "this machine's memory, but {path} needs more. Check the file, or save its sheet as CSV."
    )
    fails(tmp_path / "a.xlsx", (tmp_path / "a.xlsx").read_bytes(), sentence)


def test_a_spreadsheet_that_promises_to_unpack_to_more_than_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(xlsx(ROWS))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("more", b"")
        archive.getinfo("more").file_size = 2 * machine_memory()
    with pytest.raises(DataError) as raised:
        read_columns(path, everything)
    assert re.fullmatch(
        rf"Expected a table that fits into the [\d.]+ GiB of this machine, but {path} needs "
        r"[\d.]+ GiB\. Check the file, or split it\.",
        str(raised.value),
    )


def build(path: Path, make: Callable[[Any], None]) -> Columns:
    book = openpyxl.Workbook()
    make(book.active)
    book.save(path)
    return read_columns(path, text_and_label)


def text_and_label(names: Sequence[str]) -> Sequence[str]:
    if not {"text", "label"} <= set(names):
        raise DataError(f"No text and label among {', '.join(names)}.")
    return ["text", "label"]


def test_every_row_of_merged_cells_has_their_value(tmp_path: Path) -> None:
    def make(sheet: Any) -> None:
        for row in (["text", "label"], ["a", "pos"], ["b", None], ["c", "neg"], ["d", None]):
            sheet.append(row)
        sheet.merge_cells("B2:B3")
        sheet.merge_cells("A4:B4")

    columns = build(tmp_path / "a.xlsx", make)
    assert columns.values == {"text": ["a", "b", "c", "d"], "label": ["pos", "pos", "", ""]}
    assert columns.notes == (
        "a.xlsx: 1 row of merged cells got the value of the cell that they were merged to.",
    )


def test_a_title_above_the_names_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"

    def make(sheet: Any) -> None:
        for row in (["Survey of May"], [], ["text", "label"], ["a", "pos"]):
            sheet.append(row)

    with pytest.raises(DataError) as raised:
        build(path, make)
    assert str(raised.value) == (
        f"Expected the names of the columns at the top of {path}, but they are on row 3. Delete "
        "what is above them."
    )


def test_a_sheet_without_the_names_names_the_other_sheets(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    about: Rows = [["About"], ["These are reviews."]]
    path.write_bytes(xlsx(about, more={"Data": [["text", "label"], ["a", "pos"]]}))
    with pytest.raises(DataError) as raised:
        read_columns(path, text_and_label)
    assert str(raised.value) == (
        "No text and label among About. This is the sheet 'Sheet'; others are 'Data': name one "
        "with --sheet."
    )


def test_a_formula_without_a_value_is_said(tmp_path: Path) -> None:
    """A program that writes spreadsheets does not calculate them."""

    def make(sheet: Any) -> None:
        for row in (["text", "label"], ["a", '="pos"'], ["b", '="neg"'], ["c", "neg"]):
            sheet.append(row)

    columns = build(tmp_path / "a.xlsx", make)
    assert columns.strings("label") == [None, None, "neg"]
    assert columns.notes == (
        "a.xlsx: 2 formulas have no saved value, and count as empty cells. Open the file in a "
        "spreadsheet program, save it, and read it again.",
    )


def test_further_lines_of_names_are_left_out_as_in_csv(tmp_path: Path) -> None:
    def make(sheet: Any) -> None:
        sheet.append(["id", "text", "label"])
        sheet.append([None, "Open-Ended Response", "Response"])
        sheet.append([1, "a", "pos"])

    columns = build(tmp_path / "a.xlsx", make)
    assert columns.values == {"text": ["a"], "label": ["pos"]}
    assert columns.notes == (
        "a.xlsx: 1 row below the first left out, which a survey tool wrote as further headers.",
    )
