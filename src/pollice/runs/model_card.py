"""The model card of an exported predictor: what it was trained on, how good it is, how to use it.

Knows nothing about forms, and nothing about the Hub.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pollice.catalogue.entries import entries

CARD = "README.md"


def write_card(folder: Path, manifest: Mapping[str, Any], source: Path, judged_on: str) -> None:
    """Write the card into an exported predictor's folder.

    Args:
        folder: Where it goes.
        manifest: What the folder's manifest will say.
        source: The predictor that was exported; the report of its run is read if it is there.
        judged_on: What the export was judged on, as a clause.
    """
    run = source.resolve().parent.parent
    report = _read_report(run / "report.json")
    measured = report.get("methods", {}).get(source.resolve().parent.name, {})
    sections = [
        _header(manifest),
        _what_it_is(manifest),
        _data(report),
        _figures(measured, manifest, judged_on),
        _reading(measured),
        _licence(manifest),
        _USE,
    ]
    text = "\n\n".join(section for section in sections if section) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")


def _read_report(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _header(manifest: Mapping[str, Any]) -> str:
    tags = "library_name: pollice\npipeline_tag: text-classification\ntags:\n- pollice"
    return f"---\n{tags}\n---\n\n# A judge of opinions: {_plain(', '.join(_labels(manifest)))}"


def _labels(manifest: Mapping[str, Any]) -> list[str]:
    return [str(name) for name in manifest.get("label_names", [])]


def _what_it_is(manifest: Mapping[str, Any]) -> str:
    form = manifest.get("form") or "as it was saved"
    return (
        f"Made by pollice {version('pollice')}, method `{_plain(manifest.get('method'))}`, form: "
        f"{_plain(form)}."
    )


def _data(report: Mapping[str, Any]) -> str:
    data = report.get("data")
    if not data:
        return ""
    source = Path(str(data.get("source"))).name  # not where it lay on the disk of its maker
    return (
        f"## Data\n\nSource: {_plain(source)}. Training rows {data.get('train_rows')}, validation "
        f"rows {data.get('validation_rows')}, test rows {data.get('test_rows')}. The ids of the "
        f"test rows have the sha256 `{data.get('test_ids_sha256')}`."
    )


def _figures(measured: Mapping[str, Any], manifest: Mapping[str, Any], judged_on: str) -> str:
    lines = ["## Figures"]
    if measured.get("accuracy_interval"):
        low, high = measured["accuracy_interval"]
        lines.append(
            f"On {measured.get('rows')} test rows, before the export: accuracy "
            f"{measured['accuracy']:.3f}, 95 % interval [{low:.3f}, {high:.3f}]; macro F1 "
            f"{measured['macro_f1']:.3f}; expected calibration error "
            f"{measured['expected_calibration_error']:.3f}."
        )
    gate = manifest.get("gate")
    if gate:
        lines.append(
            f"The exported form gives {gate['same_labels']:.1%} of the labels of the predictor "
            f"that it was made from, on {_plain(judged_on)}."
        )
    return "\n\n".join(lines) if len(lines) > 1 else ""


def _reading(measured: Mapping[str, Any]) -> str:
    cut = measured.get("truncated_rows")
    if cut is None:
        return ""
    limit = measured.get("options", {}).get("max_tokens")
    return (
        f"## Truncation and calibration\n\nAt most {limit} tokens of a text are read; {cut} of "
        f"{measured.get('rows')} test rows were cut. Calibration: "
        f"{_plain(measured.get('facts', {}).get('calibration', 'as the method gives it'))}."
    )


def _licence(manifest: Mapping[str, Any]) -> str:
    name = str(manifest.get("options", {}).get("checkpoint") or "")
    if not name:
        return ""
    known = {entry.name: entry.licence for entry in entries().values()}
    shown = name if name in known or name.startswith("hub:") else Path(name).name
    licence = known.get(name, "see where it comes from")
    return f"## Licence of the base\n\n{_plain(shown)}: {_plain(licence)}."


_USE = """## How to use it

```
pollice predict FOLDER texts.csv -o labelled.csv
```

`FOLDER` is this folder. `manifest.json` names the labels, the form, and the hash of every file."""


def _plain(value: Any) -> str:
    """Return a value that cannot end a line or begin markup."""
    return " ".join(str(value).replace("<", "(").replace(">", ")").replace("`", "'").split())
