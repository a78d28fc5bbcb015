"""The report as GitHub Markdown.

Knows nothing about where the numbers come from.
"""

import re
from collections.abc import Sequence

from pollice.judging.results import MethodReport, Report
from pollice.report import glossary, naming, recommending, sections, tables, unanswered, wording

# A bracket is text unless it closes a link, an image or a definition; # + - only begin a line.
_SPECIAL = re.compile(r"([\\`*_|~$]|\](?=[(\[:])|^[#+-])")
_TEXT_SHOWN = 200


def to_markdown(report: Report) -> str:
    """Return the report as one Markdown document."""
    blocks = ["# pollice report", f"**{escape(wording.headline(report))}**"]
    blocks.append(_listed(recommending.recommendation(report)))
    blocks += [escape(wording.resolution(report)), "## Names", _named(naming.names(report))]
    blocks += ["## Data", _named(tables.data_facts(report))]
    blocks += ["## Results", _table(tables.results_table(report, full=True))]
    blocks += [escape(note) for note in tables.results_notes(report)]
    if report.pairs:
        blocks += ["## Pairs", _table(tables.pairs_table(report.pairs))]
    blocks += ["## Rows cut", escape(unanswered.cutting(report))]
    blocks += [escape(sentence) for sentence in unanswered.silences(report)]
    blocks += [escape(sentence) for sentence in wording.changes_to_fit(report)]
    blocks += [_table(tables.truncation_table(report))] if report.any_cut else []
    for section in (*sections.sections(report, full=True), *sections.confusions(report)):
        blocks += _check(section)
    for name, questions in naming.prompts(report):
        blocks += [f"## What {escape(name)} asks", *_between(_asked(questions))]
    blocks.append("## Most confident mistakes")
    blocks += [_mistakes(method) for method in report.ranked if method.mistakes]
    blocks += ["## What the words mean", _glossary()]
    return wording.visible("\n\n".join(blocks) + "\n")


def escape(text: str) -> str:
    """Return text on one line that Markdown shows as it is: no markup, no HTML, no table."""
    escaped = wording.one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    return _SPECIAL.sub(r"\\\1", escaped.replace(">", "&gt;"))


def _named(facts: Sequence[tuple[str, str]]) -> str:
    return _listed([f"{name}: {fact}" for name, fact in facts])


def _listed(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {escape(sentence)}" for sentence in sentences)


def _asked(questions: Sequence[str]) -> list[str]:
    """Return each question as a block of code: four blanks first, so nothing in it is markup."""
    return ["\n".join(f"    {line}" for line in _lines(question)) for question in questions]


def _between(blocks: Sequence[str]) -> list[str]:
    """Put a line between blocks of code, which would be one block without it."""
    return [part for block in blocks for part in (block, "or")][:-1]


def _lines(text: str) -> list[str]:
    return wording.visible(text).splitlines() or [""]


def _check(section: sections.Section) -> list[str]:
    told = [escape(sentence) for sentence in section.sentences]
    return [f"## {section.title}", *told, *([_table(section.table)] if section.table else [])]


def _table(table: tables.Table) -> str:
    head = [escape(column.title) for column in table.columns]
    rule = ["---:" if column.numeric else ":---" for column in table.columns]
    return "\n".join([_line(head), _line(rule), *(_row(row) for row in table.rows)])


def _row(row: tables.Row) -> str:
    cells = [escape(cell) for cell in row.cells]
    if row.kind == "variant" and row.cells[-1] == "":
        cells[0] = f"&nbsp;&nbsp;{cells[0]}"
    if row.kind == "best":
        cells[0] = f"**{cells[0]}**"
    return _line(cells)


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _mistakes(method: MethodReport) -> str:
    lines = [_line(["gold", "answered", "probability", "id", "text"]), _line([":---"] * 5)]
    for mistake in method.mistakes:
        text = wording.one_line(mistake.text)
        shown = text if len(text) <= _TEXT_SHOWN else f"{text[:_TEXT_SHOWN]}…"
        cells = [mistake.gold, mistake.predicted, wording.share(mistake.probability)]
        lines.append(_line([escape(cell) for cell in [*cells, mistake.id, shown]]))
    return "\n".join([f"### {escape(method.name)}", "", *lines])


def _glossary() -> str:
    return "\n".join(f"- {term}: {escape(meaning)}" for term, meaning in glossary.GLOSSARY.items())
