"""The smallest spreadsheets of each kind, made from rows of strings and numbers."""

import io
import struct
import zipfile
from collections.abc import Sequence
from xml.sax.saxutils import escape

import openpyxl

Rows = Sequence[Sequence[object]]
_ODS = "urn:oasis:names:tc:opendocument:xmlns:"
_END, _FREE, _TABLE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def xlsx(rows: Rows, *, more: dict[str, Rows] | None = None, hidden: Sequence[str] = ()) -> bytes:
    """A workbook whose first sheet is ``Sheet``."""
    book = openpyxl.Workbook()
    for name, content in {"Sheet": rows, **(more or {})}.items():
        sheet = book[name] if name in book.sheetnames else book.create_sheet(name)
        for row in content:
            sheet.append(list(row))
        if name in hidden:
            sheet.sheet_state = "hidden"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def ods(rows: Rows) -> bytes:
    """An OpenDocument file of one sheet (OpenDocument 1.2, part 1, section 9)."""
    names = "".join(f' xmlns:{name}="{_ODS}{name}:1.0"' for name in ("office", "table", "text"))
    table = "".join(
        f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in rows
    )
    content = (
        f'<?xml version="1.0"?><office:document-content{names}><office:body><office:spreadsheet>'
        f'<table:table table:name="Sheet">{table}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", f'<a:manifest xmlns:a="{_ODS}manifest:1.0"/>')
        archive.writestr("content.xml", content)
    return file.getvalue()


def _ods_cell(value: object) -> str:
    text = f"<text:p>{escape(str(value))}</text:p></table:table-cell>"
    if isinstance(value, str):
        return f'<table:table-cell office:value-type="string">{text}'
    return f'<table:table-cell office:value-type="float" office:value="{value}">{text}'


def xls(rows: Rows) -> bytes:
    """A BIFF8 workbook of one sheet in an OLE2 file ([MS-XLS] 2.4 and [MS-CFB] 2)."""
    head = _record(0x809, struct.pack("<HHHHII", 0x600, 5, 0, 0, 0, 0)) + _record(0x42, b"\xb0\x04")
    place = len(head) + 4 + 8 + len("Sheet") + 4
    book = head + _record(0x85, struct.pack("<IHBB", place, 0, 5, 0) + b"Sheet") + _record(0xA, b"")
    sheet = _record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0, 0, 0, 0))
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            sheet += _xls_cell(struct.pack("<HHH", row, column, 0), value)
    return _ole(book + sheet + _record(0xA, b""))


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack("<HH", kind, len(content)) + content


def _xls_cell(place: bytes, value: object) -> bytes:
    if isinstance(value, str):
        text = value.encode("utf-16-le")
        return _record(0x204, place + struct.pack("<HB", len(text) // 2, 1) + text)
    return _record(0x203, place + struct.pack("<d", value))


def _ole(stream: bytes) -> bytes:
    """One stream of 4,096 bytes or more: a table of sectors, a directory, then the stream."""
    stream = stream.ljust(max(4096, -(-len(stream) // 512) * 512), b"\0")
    last = 1 + len(stream) // 512
    sectors = [_TABLE, _END, *range(3, last + 1), _END]
    sectors += [_FREE] * (128 - len(sectors))
    directory = _ole_entry("Root Entry", 5, 1, _END, 0) + _ole_entry(
        "Workbook", 2, _FREE, 2, len(stream)
    )
    numbers = (0, 1, 1, 0, 4096, _END, 0, _END, 0, 0, *[_FREE] * 108)
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    header += struct.pack("<HHHHH6s", 0x3E, 3, 0xFFFE, 9, 6, b"") + struct.pack("<118I", *numbers)
    return header + struct.pack("<128I", *sectors) + directory.ljust(512, b"\0") + stream


def _ole_entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
    stored = name.encode("utf-16-le") + b"\0\0"
    numbers = struct.pack("<HBBIII", len(stored), kind, 1, _FREE, _FREE, child)
    return stored.ljust(64, b"\0") + numbers + bytes(36) + struct.pack("<IQ", start, size)
