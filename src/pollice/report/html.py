"""The report as one HTML page that needs no network, no script and no other file.

Knows nothing about where the numbers come from. Review texts and names are hostile input:
everything is escaped, by the template or by Markup, and the page forbids itself to load anything.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from pollice.judging.results import MethodReport, Mistake, Report
from pollice.predictions.shading import Stretch, shade
from pollice.report import (
    glossary,
    naming,
    plots,
    recommending,
    sections,
    tables,
    unanswered,
    wording,
)
from pollice.report.structured import plain

_TEXT_SHOWN = 600
_PAIRS_SHOWN = 15  # more pairs than this: those without the best method are folded away


@dataclass(frozen=True)
class MatrixCell:
    """A count of a confusion matrix and its share of the gold label's rows."""

    rows: str
    share: float
    right: bool


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: a row a gold label, a column an answer."""

    name: str
    answers: tuple[str, ...]
    rows: tuple[tuple[str, tuple[MatrixCell, ...]], ...]


@dataclass(frozen=True)
class Contents:
    """The headings of the page, gathered while its sections are written."""

    entries: list[tuple[str, str]] = field(default_factory=list)
    """The name of each anchor, and the heading."""

    def heading(self, title: str) -> Markup:
        """Return a heading that the table of contents leads to."""
        anchor = f"section-{len(self.entries) + 1}"
        self.entries.append((anchor, title))
        return Markup('<h2 id="{}">{}</h2>').format(anchor, title)


def to_html(report: Report) -> str:
    """Return the whole page."""
    interval_rows, interval_scale = plots.interval_rows(report)
    pairs = report.pairs
    folded = (
        [pair for pair in pairs if pair.a != report.best.name] if len(pairs) > _PAIRS_SHOWN else []
    )
    page = _template().render(
        report=report,
        version=version("pollice"),
        contents=Contents(),
        recommendation=[_unbroken(sentence) for sentence in recommending.recommendation(report)],
        names=naming.names(report),
        prompts=naming.prompts(report),
        headline=[_unbroken(sentence) for sentence in wording.conclusions(report)],
        warnings=[_unbroken(sentence) for sentence in wording.warnings(report)],
        resolution=wording.resolution(report),
        facts=tables.data_facts(report),
        results=tables.results_table(report, full=True),
        results_notes=tables.results_notes(report),
        interval_rows=interval_rows,
        interval_scale=interval_scale,
        pairs=tables.pairs_table(report.pairs_of_best if folded else pairs),
        folded_pairs=tables.pairs_table(folded),
        matrices=[matrix(method) for method in report.ranked],
        reliability=[plots.reliability_plot(method) for method in report.ranked],
        learning=[
            (method.name, figures)
            for method in report.ranked
            if (figures := plots.learning_plots(method.training))
        ],
        costs=plots.cost_plots(report) if plots.any_cost_known(report) else [],
        costs_numbered=len(report.methods) > plots.MOST_NAMED,
        cutting=unanswered.cutting(report),
        silences=(*unanswered.silences(report), *wording.changes_to_fit(report)),
        truncation=tables.truncation_table(report),
        checks=sections.sections(report, full=True),
        labels_table=tables.labels_table,
        options=options,
        facts_of=facts,
        shown_text=shown_text,
        any_explained=any(_explained(method) for method in report.methods),
        glossary=glossary.GLOSSARY,
        share=wording.share,
        count=wording.count,
    )
    return wording.visible(page)


def _unbroken(sentence: str) -> str:
    """Keep ``p < 0.001`` on one line."""
    return re.sub(r"\bp ([<=]) (?=\d)", "p\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", sentence)


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("pollice.report").joinpath("template.html").read_text(encoding="utf-8")
    return environment.from_string(source)


def matrix(method: MethodReport) -> Matrix:
    """Return a confusion matrix, in the scale's order where the labels are one.

    The column "no answer" is there only where a row has none.
    """
    evaluation = method.evaluation
    judged = evaluation.ordinal
    names, counts = (
        (judged.scale, judged.confusion)
        if judged
        else (evaluation.label_names, evaluation.confusion)
    )
    answers = (*names, "no answer")
    kept = len(answers) if any(row[-1] for row in counts) else len(answers) - 1
    rows = tuple((label, _cells(counts[gold], gold, kept)) for gold, label in enumerate(names))
    return Matrix(method.name, answers[:kept], rows)


def _cells(counts: Sequence[int], gold: int, kept: int) -> tuple[MatrixCell, ...]:
    total = max(sum(counts), 1)
    return tuple(
        MatrixCell(wording.count(rows), round(rows / total, 3), answer == gold)
        for answer, rows in enumerate(counts[:kept])
    )


def options(method: MethodReport) -> Mapping[str, str]:
    """Return a method's options, each value written as JSON."""
    return _each_written(method.options)


def facts(method: MethodReport) -> Mapping[str, str]:
    """Return what fitting a method decided or found, each value written as JSON."""
    return _each_written(method.facts)


def _each_written(values: Mapping[str, Any]) -> Mapping[str, str]:
    return {
        str(name): value if isinstance(value, str) else _written(value)
        for name, value in values.items()
    }


def _written(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False)


def split_text(text: str) -> tuple[str, str]:
    """Return what is shown of a text at once, and the rest, parted between two words."""
    if len(text) <= _TEXT_SHOWN:
        return text, ""
    cut = text.rfind(" ", _TEXT_SHOWN // 2, _TEXT_SHOWN)
    end = cut if cut > 0 else _TEXT_SHOWN
    return text[:end], text[end:].lstrip()


def shown_text(mistake: Mistake) -> tuple[tuple[Stretch, ...], tuple[Stretch, ...]]:
    """Return a mistake's text in shaded stretches: what is shown at once, and the rest."""
    shown, rest = split_text(mistake.text)
    stretches = shade(mistake.text, mistake.words)
    return _between(stretches, 0, len(shown)), _between(
        stretches, len(mistake.text) - len(rest), len(mistake.text)
    )


def _between(stretches: Sequence[Stretch], start: int, end: int) -> tuple[Stretch, ...]:
    found, place = [], 0
    for stretch in stretches:
        part = stretch.text[max(start - place, 0) : max(end - place, 0)]
        found.append(Stretch(text=part, shade=stretch.shade))
        place += len(stretch.text)
    return tuple(stretch for stretch in found if stretch.text)


def _explained(method: MethodReport) -> bool:
    return any(mistake.words for mistake in method.mistakes)
