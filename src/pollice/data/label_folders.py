"""Folders of text files -> the files, with the label and the part that their folders say.

Knows nothing about tables.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pollice.data.columns import PART_NAMES
from pollice.data.folders import Listing
from pollice.data.formats.bounds import check_fits
from pollice.data.formats.suffixes import LINES
from pollice.errors import DataError, counted

_UNLABELLED_FOLDERS = {"unsup", "unsupervised", "unlabeled", "unlabelled"}
_LARGEST_TEXT = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """One text of a label's folder."""

    path: Path
    id: str
    label: str
    part: str | None


def find_texts(listing: Listing) -> tuple[list[TextFile], tuple[str, ...]]:
    """Return the files of ``label/*.txt`` or ``part/label/*.txt``, and notes on the others.

    Raises:
        DataError: a text, or all of them, are too large.
    """
    paths = [(file, file.relative_to(listing.root)) for file in listing.files]
    depth = (
        3 if any(len(path.parts) > 1 and path.parts[0] in PART_NAMES for _, path in paths) else 2
    )
    inner = [(file, path) for file, path in paths if len(path.parts) == depth]
    if depth == 3:
        inner = [(file, path) for file, path in inner if path.parts[0] in PART_NAMES]
    texts = [
        TextFile(
            path=file,
            id=path.with_suffix("").as_posix(),
            label=path.parts[-2],
            part=PART_NAMES[path.parts[0]] if depth == 3 else None,
        )
        for file, path in inner
        if path.suffix.lower() == LINES and path.parts[-2] not in _UNLABELLED_FOLDERS
    ]
    _check_sizes(listing, texts)
    return texts, tuple(_notes(inner)) if texts else ()


def _notes(inner: list[tuple[Path, Path]]) -> Iterator[str]:
    unlabelled = sorted(
        {path.parent.as_posix() for _, path in inner if path.parts[-2] in _UNLABELLED_FOLDERS}
    )
    if unlabelled:
        yield f"Not read, since their texts have no label: {', '.join(unlabelled)}."
    others = [path.as_posix() for _, path in inner if path.suffix.lower() != LINES]
    if others:
        yield (
            f"{counted(len(others), 'file')} in the folders of labels not read, since only .txt "
            f"is, such as {others[0]}."
        )


def _check_sizes(listing: Listing, texts: list[TextFile]) -> None:
    total = 0
    for text in texts:
        size = text.path.stat().st_size
        total += size
        if size > _LARGEST_TEXT:
            raise DataError(
                f"Expected texts of at most {_LARGEST_TEXT // 2**20} MiB, but {text.path} has "
                f"{size / 2**20:,.0f} MiB. Move it out of the folder."
            )
    check_fits(listing.root, 4 * total)
