"""The endings of file names that say a format.

Knows nothing about what is in the files.
"""

from pathlib import Path

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
SEPARATED = (".csv", ".tsv")
JSON = (".json", ".jsonl", ".ndjson")
ARROW = (".arrow", ".feather", ".ipc")
SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
FASTTEXT = (".ft", ".fasttext")
TABLES = (*SEPARATED, *JSON, ".parquet", *ARROW, *SPREADSHEETS, *FASTTEXT)
"""The endings of tables that are also looked for in folders."""
LINES = ".txt"
"""A table where it is named, but one text where it lies in a label's folder."""
ZIP = ".zip"
_HIDDEN = {"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db"}


def plain_suffix(name: str) -> str:
    """Return the format in a file's name, such as ``".csv"``, without the compression."""
    name = name.lower()
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    return Path(name).suffix


def is_hidden(name: str) -> bool:
    """Return whether systems and editors put such a file or folder beside those of a person.

    Such as ``.DS_Store``, ``._reviews.csv``, ``.ipynb_checkpoints``, ``__MACOSX`` and the locks
    ``~$reviews.xlsx`` of an open spreadsheet.
    """
    return name.startswith((".", "~$")) or name.casefold() in _HIDDEN
