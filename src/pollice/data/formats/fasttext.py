"""Lines of fastText, ``__label__good warm soup``, or one text a line -> columns.

Knows nothing about what a label means. Source: fasttext.cc/docs/en/supervised-tutorial.html.
"""

import json
import re
from pathlib import Path
from typing import Any

from pollice.data.formats.columns import USUAL_TEXT, Choose, Columns, TextOptions, empty_table
from pollice.data.formats.dialects import NAMES, name_of, names_below
from pollice.data.formats.lines import read_lines
from pollice.errors import DataError

_LABEL = re.compile(r"(?:^|(?<=\s))__label__(\S+)")


def read_fasttext(path: Path, choose: Choose, text: TextOptions = USUAL_TEXT) -> Columns:
    """Read one text a line, with its labels where a line has some; blank lines are left out.

    Several labels of a line become a JSON list.

    Raises:
        DataError: the file has no lines, or is not UTF-8.
    """
    numbered = enumerate(read_lines(path, text.encoding), 1)
    lines = [(number, line.strip()) for number, line in numbered if line.strip()]
    if not lines:
        raise empty_table(path)
    labels = [_label(line) for _, line in lines]
    columns: dict[str, list[Any]] = {"text": [_LABEL.sub("", line).strip() for _, line in lines]}
    notes: tuple[str, ...] = ()
    if any(label is not None for label in labels):
        columns["label"] = labels
    else:
        _check_no_header(path, lines[0][1], choose)
        notes = (f"{path.name} has no __label__: each of its {len(lines):,} lines is one text.",)
    return Columns(
        path=path,
        values={name: columns[name] for name in choose(list(columns))},
        numbers=[number for number, _ in lines],
        unit="line",
        notes=notes,
    )


def _check_no_header(path: Path, line: str, choose: Choose) -> None:
    """Refuse a table whose name ends in .txt: its first line has the names that are looked for."""
    for mark, named in NAMES.items():
        cells = [name_of(cell.strip('"')) for cell in line.split(mark)]
        if len(cells) > 1 and names_below(choose, [(1, cells)]) is not None:
            raise DataError(
                f"Expected one text a line in {path}, but its first line names columns that are "
                f"parted by {named}. Rename it so that it ends in .csv."
            )


def _label(line: str) -> str | None:
    found = _LABEL.findall(line)
    if len(found) > 1:
        return json.dumps(found, ensure_ascii=False)
    return found[0] if found else None
