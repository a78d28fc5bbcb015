"""Cells of CSV that no spreadsheet takes for a formula, and the way back.

Knows nothing about tables.
"""

import re
from collections.abc import Iterable

_FORMULA = "[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]"
"""What a spreadsheet takes for the beginning of a formula, its wide forms too
(https://owasp.org/www-community/attacks/CSV_Injection)."""
_ARMED = re.compile(f"'*{_FORMULA}")
_DISARMED = re.compile(f"'+{_FORMULA}")
_NEGATIVE = re.compile(r"-\d+(\.\d+)?([eE][+-]?\d+)?")
_OWN_COLUMN = "probability:"


def disarm(cell: str) -> str:
    """Return a cell with an apostrophe before what a spreadsheet would take for a formula.

    A plain negative number such as ``-1`` can do nothing, and stays. A cell that begins with
    apostrophes before such a sign gets one more, so that `rearm` gives back every cell.
    """
    if _ARMED.match(cell) is None or _NEGATIVE.fullmatch(cell):
        return cell
    return f"'{cell}"


def rearm(cell: str) -> str:
    """Return the cell that `disarm` was given."""
    return cell[1:] if _DISARMED.match(cell) else cell


def may_be_disarmed(columns: Iterable[str]) -> bool:
    """Tell by its columns whether a table is one that pollice wrote, so that it is read back."""
    return any(name.startswith(_OWN_COLUMN) for name in columns)
