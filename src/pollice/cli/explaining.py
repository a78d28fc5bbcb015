"""The command explain: which words and sentences of a text moved its answer.

Knows nothing about how that is found.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pollice.cli.judging import predictor_folder
from pollice.cli.options import JSON
from pollice.cli.work import waiting
from pollice.errors import OptionError

if TYPE_CHECKING:
    from pollice.predictions.explain import Explanation

_STYLES = {
    3: "black on bright_cyan",
    2: "black on cyan",
    1: "cyan",
    0: "",
    -1: "yellow",
    -2: "black on yellow",
    -3: "black on bright_yellow",
}
_SHOWN = 10


@click.command()
@click.argument("predictor", type=click.Path(path_type=Path))
@click.argument("text")
@click.option("--label", help="Explain this label [default: the most probable one].")
@JSON
def explain(predictor: Path, text: str, label: str | None, as_json: bool) -> None:
    """Show which words and sentences of TEXT moved the answer of a saved PREDICTOR.

    TEXT is the text itself, or - to read it from standard input. Sentences, then words, are left
    out one by one and the rest is judged again, at most 64 times. For `baseline` the weights are
    exact and nothing is left out.
    """
    from pollice.predictions.explain import explain as explain_text
    from pollice.runs.predictors import load_predictor
    from pollice.system.folders import read_manifest

    folder = predictor_folder(predictor)
    names = read_manifest(folder).get("label_names", ())
    if label is not None and names and label not in names:
        raise OptionError(
            f"Expected --label to be one of {', '.join(map(str, names))}, but found {label!r}."
        )
    if text == "-":
        text = _read_standard_input()
    with waiting("loading the predictor"):
        loaded = load_predictor(folder)
    with waiting("explaining"):
        found = explain_text(loaded, text, label=label)
    if as_json:
        click.echo(json.dumps(_as_json(found), indent=2, ensure_ascii=False))
    else:
        _show(found)


def _read_standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig").removesuffix("\n")
    except UnicodeDecodeError:
        raise OptionError(
            "Expected a text in UTF-8 on standard input, but found other bytes. "
            "Convert it first, for example with iconv."
        ) from None


def _as_json(found: "Explanation") -> dict[str, Any]:
    def written(pieces: Any) -> list[dict[str, Any]]:
        return [{**asdict(piece), "text": found.text[piece.start : piece.end]} for piece in pieces]

    return {
        "label": found.label,
        "probability": found.probability,
        "truncated": found.truncated,
        "exact": found.exact,
        "sentences": written(found.sentences),
        "words": written(found.words),
    }


def _show(found: "Explanation") -> None:
    """Print the answer, the shaded text, and the words that moved it most."""
    from rich.text import Text

    from pollice.cli.terminal import Terminal
    from pollice.predictions.shading import shade

    console = Terminal()
    console.print(Text(f"{found.label} {found.probability:.3f}", style="bold"))
    if found.truncated:
        console.print(Text("The text was cut to fit: what was cut moved nothing."))
    shaded = Text()
    for stretch in shade(found.text, found.words or found.sentences):
        shaded.append(stretch.text, style=_STYLES[stretch.shade])
        shaded.append(f"[{stretch.sign}]" if stretch.sign else "", style="dim")
    console.print()
    console.print(shaded)
    console.print()
    legend = Text("[+] to [+++]", style=_STYLES[2])
    legend.append(f" speaks for {found.label}, ", style="none")
    legend.append("[-] to [---]", style=_STYLES[-2])
    legend.append(" against it; the rest says little or was not looked at.", style="none")
    console.print(legend)
    weights = "exact weights" if found.exact else "each left out, and the rest judged again"
    console.print(Text(f"Log-odds of {found.label} ({weights}):"))
    for piece in found.most_telling(_SHOWN):
        line = " ".join(found.text[piece.start : piece.end].split())
        console.print(Text(f"  {piece.weight:+.2f}  {line}", no_wrap=True, overflow="ellipsis"))
