"""The report on a terminal, from 80 columns up.

Knows nothing about where the numbers come from.
"""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from pollice.errors import counted
from pollice.judging.results import Report
from pollice.report import sections, tables, unanswered, wording

_ENOUGH = 10_000  # columns of a terminal, for any table
_PAIRS_SHOWN = 15  # more pairs than this: only those of the best method
_STYLES = {"best": "bold", "method": "", "variant": "dim", "scale": "italic dim"}


def show(report: Report, console: Console) -> None:
    """Print the report: data, results, pairs, what was cut, and the conclusion last."""
    data = report.data
    copies = counted(data.copies_left_out, "copy of a text", "copies of texts")
    _say(
        console,
        f"{data.source}: {tables.split_rows(data)}, seed {report.seed}"
        f"{f'; {copies} left out' if data.copies_left_out else ''}",
    )
    _table(console, tables.results_table(report))
    for note in tables.results_notes(report):
        _say(console, note)
    _pairs(report, console)
    if report.any_cut:
        _table(console, tables.truncation_table(report))
    _checks(report, console)
    console.print()
    _say(console, unanswered.cutting(report))
    for sentence in (*unanswered.silences(report), *wording.changes_to_fit(report)):
        _say(console, sentence)
    _say(console, wording.resolution(report))
    console.print()
    _say(console, wording.headline(report), style="bold")


def _pairs(report: Report, console: Console) -> None:
    if not report.pairs:
        return
    few = len(report.pairs) <= _PAIRS_SHOWN
    shown = report.pairs if few else report.pairs_of_best
    _table(console, tables.pairs_table(shown))
    if not few:
        left_out = len(report.pairs) - len(shown)
        said = f"{counted(left_out, 'more pair')}, without {report.best.name},"
        _say(console, f"{said} {'is' if left_out == 1 else 'are'} in report.html.")


def _checks(report: Report, console: Console) -> None:
    for section in (*sections.sections(report), *sections.confusions(report)[:1]):
        if section.table:
            _table(console, section.table)
        else:
            console.print()
            _say(console, section.title, style="bold")
        for sentence in section.sentences:
            _say(console, sentence)


def _table(console: Console, table: tables.Table) -> None:
    console.print()
    _say(console, table.caption, style="bold")
    grid = Grid(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in table.columns:
        grid.add_column(
            Text(column.title),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric,
            vertical="bottom",
        )
    for row in table.rows:
        indented = ("  " + row.cells[0], *row.cells[1:])
        cells = indented if row.kind == "variant" and row.cells[-1] == "" else row.cells
        grid.add_row(*map(_cell, cells), style=_STYLES[row.kind])
    unbounded = console.options.update(max_width=_ENOUGH)
    if Measurement.get(console, unbounded, grid).maximum > console.width:
        grid.padding = (0, 0)  # rather less air than half a name
    console.print(grid)


def _cell(written: str) -> Text:
    indent = " " * (len(written) - len(written.lstrip(" ")))
    return Text(indent + wording.one_line(written), no_wrap=True, overflow="ellipsis")


def _say(console: Console, sentence: str, style: str = "") -> None:
    console.print(Text(wording.one_line(sentence), style=style, overflow="fold"))
