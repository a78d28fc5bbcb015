"""A comparison as something to read: on a terminal, as a page, as Markdown and as JSON.

Knows nothing about models: everything comes from evaluations and comparisons.
"""

import json
import os
from pathlib import Path

from pollice.judging.results import (
    Attack,
    Canary,
    Cost,
    DataReport,
    FlipRate,
    MethodReport,
    Mistake,
    Report,
    Spread,
)
from pollice.report.html import to_html
from pollice.report.markdown import to_markdown
from pollice.report.structured import to_json
from pollice.report.terminal import show
from pollice.report.wording import headline, resolution

__all__ = [
    "Attack",
    "Canary",
    "Cost",
    "DataReport",
    "FlipRate",
    "MethodReport",
    "Mistake",
    "Report",
    "Spread",
    "headline",
    "resolution",
    "show",
    "to_html",
    "to_json",
    "to_markdown",
    "write_report",
]


def write_report(report: Report, folder: Path) -> None:
    """Write report.json, report.md and report.html into an existing folder, each atomically."""
    as_json = json.dumps(to_json(report), indent=2, ensure_ascii=False, allow_nan=False)
    _write(folder / "report.json", as_json + "\n")
    _write(folder / "report.md", to_markdown(report))
    _write(folder / "report.html", to_html(report))


def _write(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8", newline="\n")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
