import io

import pytest
from rich.console import Console

from hostile_report import hostile_report
from pollice.judging.results import Report
from pollice.report import headline, show, wording
from report_samples import five_methods, simple_report


def shown(report: Report, width: int) -> str:
    output = io.StringIO()
    show(report, Console(file=output, width=width, color_system=None))
    return output.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_an_ordinary_report_has_every_number_whole(width: int) -> None:
    report = five_methods()
    text = shown(report, width)
    assert "…" not in text
    for method in report.methods:
        line = next(
            line for line in text.splitlines() if line.split()[:1] == [method.name] and "[" in line
        )
        assert wording.accuracy(method.evaluation) in line
        assert wording.quantity(method.cost.peak_memory_mib) in line


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    many = simple_report({f"a-rather-long-method-name-{n}": 0.6 + n / 40 for n in range(12)})
    for report in (five_methods(), many, hostile_report(), simple_report({"only": 0.8})):
        assert max(map(len, shown(report, width).splitlines())) <= width


def test_a_row_is_one_line() -> None:
    report = five_methods()
    lines = shown(report, 80).splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("finetune"))
    names = [line.split("  ")[0] or line.strip().split()[0] for line in lines[first : first + 10]]
    assert names == [
        *("finetune", "features", "prompt-4", "raw", "batch", "prompt", "raw", "batch"),
        *("baseline", "majority label"),
    ]


def test_the_conclusion_is_last() -> None:
    report = five_methods()
    text = " ".join(shown(report, 80).split())
    assert text.endswith(headline(report))


def test_pairs_read_as_sentences() -> None:
    assert "finetune cannot be told from features" in " ".join(shown(five_methods(), 80).split())


def test_many_pairs_are_cut_to_those_of_the_best() -> None:
    text = shown(simple_report({f"m-{n}": 0.6 + n / 40 for n in range(12)}), 80)
    assert "55 more pairs, without m-11, are in report.html." in text


def test_nothing_in_a_name_steers_the_terminal() -> None:
    text = shown(hostile_report(), 80)
    text.encode("utf-8")
    assert not {"\x1b", "\x00", "\u202e"} & set(text)
    assert "[red]" in shown(simple_report({"[red]": 0.8}), 80)
