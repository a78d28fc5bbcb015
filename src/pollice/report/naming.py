"""What each name in a report is: its method, its checkpoint, its examples and labels; what it asks.

Knows nothing about terminals, Markdown or HTML.
"""

from collections.abc import Mapping

from pollice.errors import counted
from pollice.judging.results import MethodReport, Report
from pollice.report import wording

_METHODS: Mapping[str, str] = {
    "baseline": "n-grams and logistic regression",
    "features": "vectors of a frozen encoder and logistic regression",
    "finetune": "an encoder, all weights trained",
    "lexicon": "a list of English words and their polarity",
    "lora": "a language model tuned by an adapter",
    "nli": "entailment of “This text is LABEL.”",
    "prompt": "a language model asked for the label",
    "trainer": "an encoder, trained by Hugging Face's Trainer",
}


def names(report: Report) -> tuple[tuple[str, str], ...]:
    """Return each name of the report with what it is, the most accurate first."""
    return tuple((method.name, identity(method)) for method in report.ranked)


def identity(method: MethodReport) -> str:
    """Return what is behind a name, such as ``prompt: …; checkpoint gemma-3-270m; 4 examples``."""
    known = _METHODS.get(method.method)
    facts = [f"{method.method}: {known}" if known else method.method]
    checkpoint = method.options.get("checkpoint")
    if checkpoint and method.method not in ("baseline", "lexicon"):
        facts.append(f"checkpoint {checkpoint}")
    shots = method.options.get("shots")
    if isinstance(shots, int):
        facts.append(f"{counted(shots, 'example')} in the prompt" if shots else "no examples")
    facts.append(_labels(method.labels_used))
    return wording.one_line("; ".join(facts))


def _labels(used: int | None) -> str:
    return "no labels" if used == 0 else wording.counted_or_unknown(used, "label")


def prompts(report: Report) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return for each method that asks a language model all that it asks, in full."""
    return tuple(
        (method.name, tuple(str(question) for question in asked))
        for method in report.ranked
        if isinstance(asked := method.facts.get("asked"), list | tuple) and asked
    )
