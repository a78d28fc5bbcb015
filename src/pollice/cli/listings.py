"""Lists on the terminal: a data set, the catalogue, methods and options, a model's anatomy.

Knows nothing about comparisons and reports.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from pollice.catalogue.entries import Entry
from pollice.cli.terminal import Terminal
from pollice.data.summary import DatasetSummary, TextsSummary
from pollice.errors import counted
from pollice.methods import find_method, method_names, method_options, method_summary
from pollice.system.plain_text import one_line

if TYPE_CHECKING:
    from pollice.models.pretrained.architecture import Anatomy

_SHOWN_CHARACTERS = 160
_SHOWN_REPEATED = 5
_MEGABYTE = 1_000_000


def show_summary(source: str, summary: DatasetSummary) -> None:
    """Print what to know of a data set before learning from it."""
    console = Terminal()
    console.print(f"[bold]{escape(one_line(source))}[/]: {counted(summary.rows, 'labelled row')}")
    for reason, rows in summary.dropped.items():
        console.print(f"  left out: {counted(rows, 'row')} ({escape(one_line(reason))})")
    words = summary.words
    console.print(
        f"  words in a text: {words['p5']:,} to {words['p95']:,} (5th to 95th percentile), "
        f"median {words['p50']:,}, longest {words['max']:,}"
    )
    console.print(
        f"  repeats: {summary.exact_duplicates:,} exact and "
        f"{counted(summary.near_duplicates, 'near duplicate')}; a split takes each text "
        "once, and its copies never fall on another side"
    )
    if summary.contradictory_texts:
        console.print(
            f"  {counted(summary.contradictory_texts, 'text has', 'texts have')} copies with "
            "different labels; a split takes the commonest of them"
        )
    for text, labels in list(summary.repeated_texts.items())[:_SHOWN_REPEATED]:
        rows = sum(labels.values())
        found = ", ".join(f"{one_line(label)} {count:,}" for label, count in labels.items())
        line = (
            f"  often: {_short(text)} ({counted(rows, 'row')}, {rows / summary.rows:.1%}: {found})"
        )
        console.print(escape(line), highlight=False)
    if len(summary.repeated_texts) > _SHOWN_REPEATED:
        console.print(
            f"  and {counted(len(summary.repeated_texts) - _SHOWN_REPEATED, 'text')} more"
        )
    for label, rows in summary.labels.items():
        share = f"{counted(rows, 'row')} ({rows / summary.rows:.1%})"
        console.print(f"\n[bold]{escape(one_line(label))}[/]: {share}")
        for text in summary.examples[label]:
            console.print(f"  · {escape(_short(text))}", highlight=False)


def show_texts(source: str, summary: TextsSummary) -> None:
    """Print what to know of texts without labels, and how to go on."""
    console = Terminal()
    console.print(
        f"[bold]{escape(one_line(source))}[/]: {counted(summary.rows, 'text')} without labels, "
        f"{summary.empty:,} of them empty"
    )
    words = summary.words
    console.print(
        f"  words in a text: {words['p5']:,} to {words['p95']:,} (5th to 95th percentile), "
        f"median {words['p50']:,}, longest {words['max']:,}"
    )
    console.print(
        f"  repeats: {summary.exact_duplicates:,} exact and "
        f"{counted(summary.near_duplicates, 'near duplicate')}"
    )
    scripts = ", ".join(f"{name} {texts:,}" for name, texts in summary.scripts.items())
    console.print(f"  mostly in the script: {scripts or 'none'}")
    for text in summary.examples:
        console.print(f"  · {escape(_short(text))}", highlight=False)
    line = (
        "\nNo labels were found. If a column holds them, name it with --label-column. If there "
        f"is none, pollice gives labels: pollice label {one_line(source)} --labels "
        "negative,positive -o labelled.csv"
    )
    console.print(escape(line), highlight=False)


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS]}…"


def show_catalogue(entries: Mapping[str, Entry]) -> None:
    """Print names, sizes and licences of what can be fetched."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("name", "what", "MB", "licence", "description"):
        table.add_column(column, justify="right" if column == "MB" else "left")
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].kind, item[0])):
        size = "" if entry.size is None else f"{entry.size / _MEGABYTE:,.0f}"
        table.add_row(name, entry.kind, size, escape(entry.licence), escape(entry.description))
    Terminal().print(table)


def show_methods() -> None:
    """Print every method with one line on what it does."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for name in method_names():
        table.add_row(f"[bold]{name}[/]", escape(method_summary(name)))
    console = Terminal()
    console.print(table)
    console.print("\nOptions and their defaults: pollice methods NAME", highlight=False)


def show_method(name: str) -> None:
    """Print a method's options with their types, defaults and meaning."""
    console = Terminal()
    find_method(name)
    console.print(f"[bold]{name}[/]: {escape(method_summary(name))}\n")
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("option", "default", "what it does"):
        table.add_column(column, overflow="fold")
    for option in method_options(name):
        shown = "required" if option.required else escape(repr(option.default))
        table.add_row(
            option.name, shown, f"{escape(option.description)} [dim]({escape(option.type)})[/]"
        )
    console.print(table)
    console.print(f"\nSet one with: --set {name}.option=value", highlight=False)


def show_anatomy(anatomy: "Anatomy") -> None:
    """Print an architecture; other names for a field stand behind it, in the report's words."""
    console = Terminal()
    kind = "causal language model" if anatomy.causal else "encoder"
    console.print(f"[bold]{escape(anatomy.name)}[/]: {escape(anatomy.family)}, {kind}\n")
    for title, rows in (
        ("architecture", _shape_rows(anatomy)),
        ("parameters", _parameter_rows(anatomy)),
        ("memory", _memory_rows(anatomy)),
    ):
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column(title, width=46, no_wrap=True)
        table.add_column("", width=33, justify="right", no_wrap=True)
        for name, value in rows:
            table.add_row(escape(name), escape(value))
        console.print(table)
        console.print()


def _shape_rows(anatomy: "Anatomy") -> list[tuple[str, str]]:
    window = "none" if anatomy.window is None else str(anatomy.window)
    if 0 < anatomy.windowed_layers < anatomy.layers:
        window += f" (in {anatomy.windowed_layers} of {anatomy.layers} layers)"
    rows = [
        ("layers (n_layers)", str(anatomy.layers)),
        ("width (dim, d_model)", str(anatomy.width)),
        ("feed-forward width (hidden_dim)", str(anatomy.feed_forward)),
        ("heads (n_heads)", str(anatomy.heads)),
        ("key/value heads (n_kv_heads)", str(anatomy.key_value_heads)),
        ("head size (head_dim)", str(anatomy.head_size)),
        ("window (window_size)", window),
        ("context (context_len)", "any" if anatomy.context is None else str(anatomy.context)),
        ("vocabulary (vocab_size)", str(anatomy.vocabulary)),
        ("activation", anatomy.activation),
        ("norm", anatomy.norm),
        ("positions", anatomy.positions),
    ]
    if anatomy.gated:
        both = "feed-forward hidden (both halves of the gate)"
        rows.insert(3, (both, str(anatomy.feed_forward_halves)))
    return rows


def _parameter_rows(anatomy: "Anatomy") -> list[tuple[str, str]]:
    rows = [("embedding parameters", f"{anatomy.embedding_parameters:,}")]
    if anatomy.head_parameters:
        rows.append(("output embedding parameters", f"{anatomy.head_parameters:,}"))
    rows.append(("other parameters", f"{anatomy.other_parameters:,}"))
    return [*rows, ("all parameters", f"{anatomy.parameters:,}")]


def _memory_rows(anatomy: "Anatomy") -> list[tuple[str, str]]:
    rows = [
        ("weights in fp32", _mebibytes(anatomy.weight_bytes("fp32"))),
        ("weights in bf16", _mebibytes(anatomy.weight_bytes("bf16"))),
        ("weights in int8", _mebibytes(anatomy.weight_bytes("int8"))),
        ("weights in NF4", _mebibytes(anatomy.weight_bytes("nf4"))),
        ("weights in NF4, doubly quantized", _mebibytes(anatomy.weight_bytes("nf4", double=True))),
    ]
    if anatomy.key_value_bytes is not None:
        rows.append(("keys and values of a token, bf16", f"{anatomy.key_value_bytes:,} bytes"))
    return rows


def _mebibytes(amount: int) -> str:
    return f"{amount / 2**20:,.0f} MiB"
