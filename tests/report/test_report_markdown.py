import re
from dataclasses import replace

from hostile_report import hostile_report
from pollice.report import headline, to_markdown
from pollice.report.markdown import escape
from report_samples import five_methods, simple_report


def test_escape_leaves_no_markup() -> None:
    assert escape("a|b\n<img src=x> *c* [d](e) `f` & _g_") == (
        r"a\|b &lt;img src=x&gt; \*c\* [d\](e) \`f\` &amp; \_g\_"
    )


def test_escape_leaves_numbers_readable() -> None:
    assert escape("+4.2 points [1.8, 6.6] (p = 0.002)") == r"\+4.2 points [1.8, 6.6] (p = 0.002)"
    assert escape("x (+4.2)") == "x (+4.2)"
    assert escape("# not a heading") == r"\# not a heading"
    assert escape("[x]: y") == r"[x\]: y"


def cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def test_every_table_has_as_many_cells_in_every_row() -> None:
    for report in (five_methods(), hostile_report(), simple_report({"only": 0.8})):
        blocks = to_markdown(report).split("\n\n")
        tables = [block for block in blocks if block.startswith("|")]
        assert tables
        for table in tables:
            assert len({cells(line) for line in table.splitlines()}) == 1


def test_hostile_text_is_no_html() -> None:
    written = to_markdown(hostile_report())
    written.encode("utf-8")
    assert "<script" not in written
    assert "<img" not in written
    assert r"[d\](javascript" in written
    assert "](" not in written.replace(r"\](", "")


def test_the_conclusion_stands_first() -> None:
    report = five_methods()
    assert to_markdown(report).splitlines()[2] == f"**{escape(headline(report))}**"


def test_planned_memory_stands_beside_the_measured() -> None:
    report = five_methods()
    planned = replace(
        report.methods[0],
        cost=replace(report.methods[0].cost, predicted_memory_mib=812.4),
    )
    text = to_markdown(replace(report, methods=(planned, *report.methods[1:])))
    (head,) = (line for line in text.splitlines() if line.startswith("| method | accuracy"))
    assert head.endswith("| peak MiB | planned MiB |")
    (row,) = (
        line
        for line in text.splitlines()
        if line.startswith(f"| {planned.name} |") and "812" in line
    )
    assert row.endswith("| 812 |")
