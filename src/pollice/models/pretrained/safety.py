"""What of a checkpoint could run code or lead elsewhere: refused before transformers opens it.

Knows nothing about tasks, and does not check that the weights are the right ones.

Every ``from_pretrained`` and ``from_config`` says ``trust_remote_code=False`` besides: without it
transformers asks on the terminal, and a ``y`` runs the checkpoint's Python files.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from transformers import PreTrainedConfig

from pollice.errors import CheckpointError
from pollice.models.pretrained.config_bounds import check_bounds

_SAFE = ".safetensors"
_PICKLES = (".bin", ".ckpt", ".dill", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth")
_PICKLE_INDEXES = tuple(f"{suffix}.index.json" for suffix in _PICKLES)
_TOKENIZER_NAMES = ("added_tokens", "merges", "spiece", "tokenizer", "vocab")
_LAYERS = ("attn_implementation", "_attn_implementation", "experts_implementation")
"""Where a configuration says whose code computes its layers."""


def check_config(name: str | Path, revision: str | None = None) -> None:
    """Refuse a configuration of odd sizes, code elsewhere, or weights in another format.

    Args:
        name: A folder, or a repository of the Hub.
        revision: Of the repository.

    Raises:
        CheckpointError: it has layers computed by a kernel of the Hub, takes its weights from a
            file that is not safetensors, or has sizes that no model has.
    """
    content: dict[str, Any]
    # Plain JSON: no class of a model is looked up, so nothing has been fetched or run yet.
    content, _ = PreTrainedConfig.get_config_dict(name, revision=revision or "main")
    check_bounds(str(name), _entries(content))
    for key, value in _entries(content):
        # transformers fetches native code from the Hub for such a value: "owner/kernel".
        # As text, since the value may map parts of the model to names.
        if key in _LAYERS and "/" in str(value):
            raise CheckpointError(
                f"The configuration of {name} has its layers computed by code of the Hub "
                f"({key} is {value!r}), which pollice never runs. Take {key} out of its "
                "config.json."
            )
    named = str(content.get("transformers_weights") or _SAFE)
    if not named.endswith((_SAFE, f"{_SAFE}.index.json")):
        raise CheckpointError(
            f"The configuration of {name} takes the weights from {named!r}, but pollice reads "
            "safetensors alone. Take transformers_weights out of its config.json."
        )


def _entries(content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the entries of a configuration and of those inside it."""
    for key, value in content.items():
        yield key, value
        # A model of text and images has a configuration for each part, inside its own.
        if isinstance(value, Mapping):
            yield from _entries(value)


def check_weights(folder: Path) -> None:
    """Refuse weights that are not safetensors, or that lie outside the folder, and an adapter.

    A pickle is a program: reading it can run anything. transformers would read one where there is
    no safetensors file, or where an index names it.

    Raises:
        CheckpointError: the folder has such weights, or an adapter_config.json.
    """
    refuse_adapter(folder)
    check_links(folder)
    weights = sorted(folder.glob(f"*{_SAFE}"))
    pickles = sorted(path.name for path in folder.iterdir() if _is_named_as_pickle(path))
    # Beside safetensors a pickle is harmless: with use_safetensors=True it is never opened.
    if pickles and not weights:
        raise CheckpointError(
            f"The checkpoint {folder} holds its weights as a pickle ({', '.join(pickles[:3])}), "
            "which can run code when it is read, so pollice reads safetensors alone. Name a "
            "revision with safetensors, or convert it once with transformers' save_pretrained."
        )
    for path in weights:
        _check_is_safetensors(path)
    for index in sorted(folder.glob("*.index.json")):
        named = [str(name) for name in _weight_map(index).values()]
        # A name with a folder in it, such as ../x.safetensors, could lead anywhere.
        odd = [name for name in named if PurePath(name).name != name or not name.endswith(_SAFE)]
        # An index of pickles beside safetensors is not read, as they are not.
        if odd and not (weights and index.name.endswith(_PICKLE_INDEXES)):
            raise CheckpointError(
                f"Expected safetensors files of the same folder in {index}, but it names "
                f"{odd[0][:80]!r}. Fetch the checkpoint again from where it was published."
            )


def _is_named_as_pickle(path: Path) -> bool:
    return path.suffix in _PICKLES or path.name.endswith(_PICKLE_INDEXES)


def _check_is_safetensors(path: Path) -> None:
    """Refuse another kind of file under the name of safetensors, as a pickle."""
    with path.open("rb") as file:
        start = file.read(9)
    # Eight bytes are the header's length, and the header is JSON (its format's description).
    if start[8:] == b"{":
        return
    # torch.save writes a zip of pickles, and pickle itself begins with the byte 80.
    is_pickle = start.startswith((b"PK", b"\x80"))
    found = "a pickle, which can run code when it is read" if is_pickle else "something else"
    raise CheckpointError(
        f"Expected safetensors in {path}, but found {found}. Fetch the checkpoint again from where "
        "it was published."
    )


def check_tokenizer_files(folder: Path) -> None:
    """Refuse a tokenizer that is kept as a pickle, and links that lead out of the folder.

    Raises:
        CheckpointError: there is such a file, and no tokenizer.json that is read in its place.
    """
    check_links(folder)
    if (folder / "tokenizer.json").is_file():
        return
    pickles = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix in _PICKLES and path.name.startswith(_TOKENIZER_NAMES)
    )
    if pickles:
        raise CheckpointError(
            f"The checkpoint {folder} holds its tokenizer as a pickle ({pickles[0]}), which can "
            "run code when it is read, so pollice reads tokenizer.json alone. Convert it once with "
            "transformers and save it beside the weights."
        )


def check_links(folder: Path) -> None:
    """Refuse symbolic links out of a checkpoint's folder, but for those of the Hub's cache.

    There, snapshots/REVISION is a folder of links into the folder blobs beside snapshots.

    Raises:
        CheckpointError: a link leads elsewhere.
    """
    home = folder.resolve()
    allowed = [home]
    if home.parent.name == "snapshots":
        allowed.append(home.parent.parent / "blobs")
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            target = path.resolve()
            if not any(target.is_relative_to(place) for place in allowed):
                raise CheckpointError(
                    f"Expected a checkpoint's own files in {folder}, but {path.name} is a link to "
                    f"{target}, outside of it. Put the file itself there."
                )


def refuse_adapter(folder: Path) -> None:
    """Refuse a folder with an adapter of PEFT: transformers would add it to the weights.

    Raises:
        CheckpointError: there is an adapter_config.json.
    """
    if (folder / "adapter_config.json").exists():
        raise CheckpointError(
            f"Expected whole weights in {folder}, but there is an adapter (adapter_config.json). "
            "Merge it into its base with PEFT and save that, or take the adapter's files away."
        )


def _weight_map(index: Path) -> Mapping[str, Any]:
    try:
        content: Mapping[str, Any] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return dict(content)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CheckpointError(
            f"Expected a list of weights in {index}, but it cannot be read as one. Fetch the "
            "checkpoint again from where it was published."
        ) from None
