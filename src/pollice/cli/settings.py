"""The command line's options become an experiment's plain content, checked for their form only.

Knows nothing about what the options mean.
"""

import json
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pollice.errors import OptionError, did_you_mean

if TYPE_CHECKING:
    from pollice.data.reading import ReadOptions

_SPLITTING = ("train_rows", "validation_rows", "test_rows", "balanced", "near_duplicates")
_READ_AS_GIVEN = (
    "text_column",
    "label_column",
    "id_column",
    "split_column",
    "merge_labels",
    "rating_bins",
    "several_labels",
    "drop_conflicts",
    "keep_html",
    "encoding",
    "sheet",
)
_USUAL_METHODS = ("baseline", "features", "finetune", "prompt")


def content_of(
    path: Path | None, names: tuple[str, ...], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the experiment as plain types: the file, or the demo, under the options given."""
    if path is not None:
        from pollice.runs.folder import read_toml

        content = read_toml(path)
    elif given["source"] is None:
        content = tomllib.loads(files("pollice.cli").joinpath("demo.toml").read_text("utf-8"))
        if not has_lexicon():
            del content["methods"]["lexicon"]
    else:
        content = {"methods": {name: {} for name in _USUAL_METHODS}}
    data = _table(content, "data")
    for key, value in [("source", given["source"]), ("test", given["test"])]:
        if value is not None:
            data[key] = value
    if given["limit"] is not None:
        data["limit"] = given["limit"]
    _table(data, "read").update(read_fields(given))
    _table(content, "split").update(
        {key: given[key] for key in _SPLITTING if given[key] is not None}
    )
    for key in ("seed", "abstain_below"):
        if given[key] is not None:
            content[key] = given[key]
    content |= {key: True for key in ("canary", "attack") if given[key]}
    methods = _table(content, "methods")
    if names:
        content["methods"] = _named_methods(names, methods)
    _apply_settings(content["methods"], given["settings"])
    return content


def has_lexicon() -> bool:
    """Tell whether the method lexicon can be used here."""
    from pollice.methods import LEXICON_PACKAGE

    return find_spec(LEXICON_PACKAGE) is not None


def add_lexicon(content: dict[str, Any], label_names: Sequence[str]) -> str | None:
    """Add the method lexicon to the usual methods, or return a sentence that says why not."""
    from pollice.data.scales import find_scale

    if find_scale(label_names) is None:
        return (
            "The method lexicon is left out: it knows good and bad words only, and the labels "
            f"{', '.join(label_names)} name no scale of opinions."
        )
    if not has_lexicon():
        return "The method lexicon is left out. Install it with: pip install 'pollice[lexicon]'."
    content["methods"] = {"lexicon": {}, **content["methods"]}
    return None


def _table(content: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the table of a name, which is empty where there is none yet."""
    table: Any = content.setdefault(name, {})
    if not isinstance(table, dict):
        raise OptionError(
            f"Expected a table of options for {name} in the experiment, but found {table!r}. "
            "Write each option as a line of its own below the table's name."
        )
    return table


def _named_methods(names: tuple[str, ...], methods: dict[str, Any]) -> dict[str, Any]:
    pairs = [name.partition("=") for name in names]
    check_distinct([own for own, _, _ in pairs], "--method", "METHOD")
    return {
        own: {**_table(methods, own), **({"method": kind} if kind else {})}
        for own, _, kind in pairs
    }


def check_distinct(names: Sequence[str], place: str, meant: str) -> None:
    """Refuse two of one name, of which one would be lost."""
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise OptionError(
            f"Expected a name of its own for everything compared, but {place} gives {name!r} "
            f"{times} times. Write {name}-2={meant} for another."
        )


def options_of(method: str, settings: tuple[str, ...]) -> dict[str, Any]:
    """Return the options that ``METHOD.option=value`` give to one method."""
    methods: dict[str, Any] = {method: {}}
    _apply_settings(methods, settings)
    return {**methods[method]}


def _apply_settings(methods: dict[str, Any], settings: tuple[str, ...]) -> None:
    for setting in settings:
        place, separator, value = setting.partition("=")
        name, dot, option = place.partition(".")
        if not (separator and dot and option):
            raise OptionError(
                f"Expected --set METHOD.option=value, but found {setting!r}. "
                "Write for example --set finetune.epochs=2."
            )
        if name not in methods:
            raise OptionError(
                f"--set names the method {name!r}, but this comparison has: "
                f"{', '.join(methods)}.{did_you_mean(name, methods)}"
            )
        _table(methods, name)[option] = _value(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return {"none": None}.get(text.lower(), text)


def bytes_of(size: str | None) -> int | None:
    """Return the bytes that a size such as ``15GiB`` names; None: no size is given."""
    from pollice.memory.planner import read_size

    return None if size is None else read_size(size)


def read_options(given: Mapping[str, Any]) -> "ReadOptions":
    """Return how a source is read, from the command's options."""
    from pollice.data.reading import ReadOptions

    return ReadOptions(**read_fields(given))


def read_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that say how a source is read, without those not given."""
    fields = {key: given[key] for key in _READ_AS_GIVEN if given[key] is not None}
    if given["drop_labels"]:
        fields["drop_labels"] = tuple(given["drop_labels"])
    if given["column_names"] is not None:
        fields["column_names"] = tuple(name.strip() for name in given["column_names"].split(","))
    if given["label_names"] is not None:
        fields["label_names"] = _label_names(given["label_names"])
    return fields


def _label_names(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(separator and code.strip() and name.strip() for code, separator, name in pairs):
        raise OptionError(f"Expected --label-names like 0=negative,1=positive, but found {text!r}.")
    return {code.strip(): name.strip() for code, _, name in pairs}
