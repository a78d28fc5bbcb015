"""The door through which a method gets others: by name and options, or as a saved predictor.

Knows nothing about any method, and nothing about how they are found.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pollice.method import Method
from pollice.predictions.predictor import Predictor


@dataclass(frozen=True, kw_only=True)
class Registry:
    """How methods are found, and how saved predictors are loaded."""

    names: Callable[[], Sequence[str]]
    find: Callable[[str], type[Method]]
    create: Callable[[str, Mapping[str, Any]], Method]
    load: Callable[[Path], Predictor]
