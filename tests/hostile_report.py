"""A report whose every text was written by someone who wishes us ill."""

from dataclasses import replace

from pollice.judging.metrics import evaluate
from pollice.judging.results import Mistake, Report
from report_samples import method_report, predictions, report_of

SCRIPT = "<script>alert(1)</script>"
IMAGE = "\"><img src=x onerror=alert(1)> '"
NASTY = f"{SCRIPT}{IMAGE}|a|\n\n# b `c` [d](javascript:e) \x00\x1b[31m\ud800\u202e{{{{ 7*7 }}}}"


def hostile_report() -> Report:
    """Return a report with hostile names, labels, ids, options and review texts."""
    labels = (SCRIPT, IMAGE + "\ud800")
    tables = {NASTY: predictions(0.8, labels=labels), IMAGE: predictions(0.7, labels=labels)}
    mistake = Mistake(
        id=NASTY, text=NASTY * 20, gold=labels[0], predicted=labels[1], probability=0.9
    )
    methods = [
        method_report(
            name,
            table,
            method=SCRIPT,
            options={SCRIPT: IMAGE, "nested": {IMAGE: [NASTY]}},
            variants={SCRIPT: evaluate(table)},
            mistakes=(mistake,),
        )
        for name, table in tables.items()
    ]
    report = report_of(methods, tables)
    return replace(report, data=replace(report.data, repeated_texts={NASTY: {SCRIPT: 7}}))
