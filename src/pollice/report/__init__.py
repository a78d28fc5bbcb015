"""A comparison as something to read: on a terminal, as a page, as Markdown and as JSON.

Knows nothing about models: everything comes from evaluations and comparisons.
"""

import json
from pathlib import Path

from pollice.judging.results import Report
from pollice.report.html import to_html
from pollice.report.markdown import to_markdown
from pollice.report.structured import to_json
from pollice.report.terminal import show
from pollice.report.wording import headline, resolution
from pollice.system.folders import write_text

__all__ = ["headline", "resolution", "show", "to_html", "to_json", "to_markdown", "write_report"]


def write_report(report: Report, folder: Path | str) -> None:
    """Write report.json, report.md and report.html into an existing folder, each atomically."""
    as_json = json.dumps(to_json(report), indent=2, ensure_ascii=False, allow_nan=False)
    place = Path(folder)
    write_text(place / "report.json", as_json + "\n")
    write_text(place / "report.md", to_markdown(report))
    write_text(place / "report.html", to_html(report))
