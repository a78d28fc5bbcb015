"""The report as report.json: names in it are added, never changed.

Knows nothing about how a report looks.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

from pollice.judging.results import MethodReport, Report
from pollice.report import recommending, wording

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as plain JSON values; a number that is not finite becomes null."""
    smallest = report.comparison.smallest_detectable_difference
    contents = {
        "pollice": version("pollice"),
        "created": report.created,
        "seed": report.seed,
        "headline": wording.headline(report),
        "recommendation": recommending.recommendation(report),
        "resolution": wording.resolution(report),
        "data": {**vars(report.data), "smallest_detectable_difference": smallest},
        "majority_accuracy": report.majority_accuracy,
        "methods": {method.name: _method(method) for method in report.methods},
        "against_majority": {
            each.pair.a: {
                **vars(each),
                "beats_majority": each.beats_majority,
                "beats_guessing": each.beats_guessing,
            }
            for each in report.comparison.against_majority
        },
        "pairs": report.comparison.pairs,
        "ranking": report.comparison.ranking,
        "failed": report.failed,
    }
    return {name: plain(value) for name, value in contents.items()}


def _method(method: MethodReport) -> dict[str, Any]:
    return {
        "method": method.method,
        "options": method.options,
        "labels_used": method.labels_used,
        **vars(method.evaluation),
        **vars(method.cost),
        "variants": method.variants,
        "training": method.training,
        "mistakes": method.mistakes,
        "facts": method.facts,
        "tuning": method.tuning,
        "spread": method.spread,
        "canary": method.canary,
        "attack": method.attack,
    }


def plain(value: Any) -> Any:
    """Return a value as JSON holds it: no NaN, no tuple, no class, no lone surrogate."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return float(value) if math.isfinite(value) else None
        case np.generic():
            return plain(value.item())
        case str():
            return _LONE_SURROGATE.sub("\ufffd", value)
        case Mapping():
            return {plain(str(key)): plain(entry) for key, entry in value.items()}
        case list() | tuple() | set() | frozenset() | np.ndarray():
            return [plain(entry) for entry in value]
        case _:
            return plain(vars(value) if is_dataclass(value) else str(value))
