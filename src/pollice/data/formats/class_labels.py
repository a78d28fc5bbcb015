"""Names of classes that Hugging Face's ``datasets`` writes beside a table.

Knows nothing about texts, and nothing about what a label means.
"""

import json
from collections.abc import Mapping
from typing import Any

ClassNames = Mapping[str, Mapping[str, str]]
"""Of each column, the name of each code, such as ``{"label": {"0": "negative"}}``."""


def names_in_schema(schema: Any) -> ClassNames:
    """Return the class names in the metadata of an Arrow schema; none where it has none."""
    stored = (schema.metadata or {}).get(b"huggingface")
    return {} if stored is None else names_in_json(stored, ("info", "features"))


def names_in_json(content: bytes, keys: tuple[str, ...]) -> ClassNames:
    """Return the class names of the features below some keys of a JSON object."""
    try:
        features = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    for key in keys:
        features = features.get(key) if isinstance(features, dict) else None
    return names_in_features(features)


def names_in_features(features: Any) -> ClassNames:
    """Return the class names of features as ``datasets`` writes them."""
    found = {}
    for column, feature in features.items() if isinstance(features, dict) else ():
        names = feature.get("names") if isinstance(feature, dict) else None
        if names and isinstance(names, list) and all(isinstance(name, str) for name in names):
            found[column] = {str(code): name for code, name in enumerate(names)}
    return found
