"""What of a checkpoint could run code of its own: refused before transformers opens it.

Knows nothing about tasks, and does not check that the weights are the right ones.

Every ``from_pretrained`` and ``from_config`` says ``trust_remote_code=False`` besides: without it
transformers asks on the terminal, and a ``y`` runs the checkpoint's Python files.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from safetensors import SafetensorError
from transformers import PreTrainedConfig

from pollice.errors import CheckpointError
from pollice.models.pretrained.devices import quiet

FAULTS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)
"""What transformers raises about files that it cannot open."""

_SAFE = ".safetensors"
_PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
_LAYERS = ("attn_implementation", "_attn_implementation", "experts_implementation")
"""Where a configuration says whose code computes its layers."""


@contextmanager
def opening(folder: Path, fault: str) -> Iterator[None]:
    """Say as a CheckpointError what transformers raises inside the block; ``fault`` begins it."""
    try:
        with quiet():
            yield
    except FAULTS as error:
        refuse_foreign_code(folder, error)
        raise CheckpointError(f"The checkpoint {folder} {fault}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its kind."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def refuse_foreign_code(name: str | Path, error: Exception) -> None:
    """Raise a CheckpointError where an error says that a checkpoint's own code is needed."""
    # transformers has no error of its own for it; what it says always names the argument.
    if "trust_remote_code" in str(error):
        raise CheckpointError(
            f"The checkpoint {name} needs Python code of its own (auto_map), and pollice never "
            "runs code that comes with a checkpoint. Use one whose architecture and tokenizer "
            "transformers has itself."
        ) from error


def check_config(name: str | Path, revision: str | None = None) -> None:
    """Refuse a configuration that names code elsewhere, or weights in another format.

    Args:
        name: A folder, or a repository of the Hub.
        revision: Of the repository.

    Raises:
        CheckpointError: it has layers computed by a kernel of the Hub, or takes its weights from
            a file that is not safetensors.
    """
    content: dict[str, Any]
    # Plain JSON: no class of a model is looked up, so nothing has been fetched or run yet.
    content, _ = PreTrainedConfig.get_config_dict(name, revision=revision or "main")
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
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    # Beside safetensors a pickle is harmless: with use_safetensors=True it is never opened.
    if pickles and not any(folder.glob(f"*{_SAFE}")):
        raise CheckpointError(
            f"The checkpoint {folder} holds its weights as a pickle ({', '.join(pickles[:3])}), "
            "which can run code when it is read, so pollice reads safetensors alone. Name a "
            "revision with safetensors, or convert it once with transformers' save_pretrained."
        )
    for index in sorted(folder.glob("*.index.json")):
        named = [str(name) for name in _weight_map(index).values()]
        # A name with a folder in it, such as ../x.safetensors, could lead anywhere.
        odd = [name for name in named if PurePath(name).name != name or not name.endswith(_SAFE)]
        if odd:
            raise CheckpointError(
                f"Expected safetensors files of the same folder in {index}, but it names "
                f"{odd[0]!r}. Fetch the checkpoint again from where it was published."
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
    except (ValueError, TypeError, KeyError):
        raise CheckpointError(
            f"Expected a list of weights in {index}, but it cannot be read as one. Fetch the "
            "checkpoint again from where it was published."
        ) from None
