"""Several labels in one cell: lists such as ``["food"]``, and labels joined as ``food,staff``.

Knows nothing about texts, and nothing about what a label means.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from pollice.data.formats.columns import Columns
from pollice.data.label_spelling import fold

_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_SEPARATORS = (",", "|", ";")
_SURE_SEPARATORS = ("/", "&", "+", " and ")
"""Common within names: they join labels only where all parts are labels too."""
_FEW_JOINED = 3


def label_strings(columns: Columns, name: str) -> list[str | None]:
    """Return a column of labels as strings: a list as it is written in JSON.

    Raises:
        DataError: a value is neither a string, a number, a truth value nor a list of these.
    """
    listed = {row: value for row, value in enumerate(columns.values[name]) if _is_list(value)}
    if not listed:
        return columns.strings(name)
    values = [None if _is_list(value) else value for value in columns.values[name]]
    plain = Columns(
        path=columns.path, values={name: values}, numbers=columns.numbers, unit=columns.unit
    )
    strings = plain.strings(name)
    for row, value in listed.items():
        strings[row] = json.dumps([str(item) for item in value], ensure_ascii=False)
    return strings


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str | int | float) for item in value)


def lists_of(labels: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the items of each label that is written as a list, as in JSON, Python or NumPy."""
    found = {label: items for label in labels if (items := _quoted_items(label)) is not None}
    if all(label.startswith("[") and label.endswith("]") for label in labels):
        # Without quotes, brackets make a list only where every label has them: not [deleted].
        bare = {label: label[1:-1].split(",") for label in labels if label not in found}
        found |= {
            label: tuple(item.strip() for item in items if item.strip())
            for label, items in bare.items()
        }
    return found


def _quoted_items(label: str) -> tuple[str, ...] | None:
    if len(label) < 2 or _BRACKETS.get(label[0]) != label[-1]:
        return None
    inner = label[1:-1]
    if listed := _json_items(label):
        return tuple(item.strip() for item in listed if item.strip())
    items = [
        re.sub(r"\\(.)", r"\1", match[1] or match[2] or "") for match in _QUOTED.finditer(inner)
    ]
    # NumPy writes no commas between the items.
    if not items or _QUOTED.sub("", inner).strip(", \t\r\n"):
        return () if label[0] == "[" and not inner.strip() else None
    return tuple(item.strip() for item in items if item.strip())


def _json_items(label: str) -> list[str]:
    try:
        items = json.loads(label)
    except (ValueError, RecursionError):
        return []
    if isinstance(items, dict) and [*items] == ["choices"]:  # Label Studio's cells in CSV
        items = items["choices"]
    strings = isinstance(items, list) and all(isinstance(item, str) for item in items)
    return items if strings else []


def joined_labels(labels: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the parts of each label that joins others, as ``food,staff`` joins food and staff.

    A separator alone says nothing, as names may hold a comma: the parts must occur as labels too,
    or in another order, or (but for a comma with a blank after it) in several joined labels.
    """
    for separator in _SEPARATORS:
        split = {label: _parts(label, separator) for label in labels}
        joined = {label: parts for label, parts in split.items() if len(parts) > 1}
        alone = {fold(label) for label, parts in split.items() if len(parts) == 1}
        found = _joining(joined, alone, separator)
        if found:
            return found
    alone = set(map(fold, labels))
    for separator in _SURE_SEPARATORS:
        split = {label: _parts(label, separator) for label in labels}
        found = {
            label: parts
            for label, parts in split.items()
            if len(parts) > 1 and alone.issuperset(map(fold, parts))
        }
        if found:
            return found
    return {}


def _parts(label: str, separator: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in label.split(separator) if part.strip())


def _joining(
    joined: Mapping[str, tuple[str, ...]], alone: set[str], separator: str
) -> dict[str, tuple[str, ...]]:
    folded = {label: tuple(map(fold, parts)) for label, parts in joined.items()}
    orders = Counter(tuple(sorted(parts)) for parts in set(folded.values()))
    known = set(alone)
    for parts in folded.values():
        if orders[tuple(sorted(parts))] > 1:
            known.update(parts)
    sure = any(known.issuperset(parts) for parts in folded.values())
    if sure:
        return {
            label: parts for label, parts in joined.items() if not known.isdisjoint(folded[label])
        }
    times = Counter(part for parts in folded.values() for part in set(parts))
    names = any(f"{separator} " in label for label in joined) and separator == ","
    if len(joined) >= _FEW_JOINED and not names and min(times.values()) > 1:
        return dict(joined)
    return {}
