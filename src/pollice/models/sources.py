"""Where a checkpoint's weights lie: its name becomes a folder that transformers opens.

Knows nothing about what the weights are used for.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pollice.catalogue import (
    HUB_PREFIX,
    Entry,
    checkpoint_names,
    entries,
    fetch,
    fetch_hub,
)
from pollice.errors import SourceError, did_you_mean
from pollice.fetching import cache_folder, keep_folder, require_space
from pollice.progress import stage

# Part of a converted folder's name: raised when a conversion would give other files.
_RECIPE = 1
_JOINED_DIGIT = re.compile(r"[^\d]\d|\d[^\d]|\d\d")


def resolve_checkpoint(name: str) -> Path:
    """Return the folder of weights and tokenizer that ``name`` stands for, fetched if need be.

    ``name`` is a name of the catalogue, a folder with a config.json, a ``.gguf`` file, or
    ``hub:owner/name@revision``. A GGUF file is converted once to bfloat16 safetensors in the
    cache. Raises SourceError when there is no such checkpoint or it cannot be had.
    """
    if name in checkpoint_names():
        return _resolve_entry(entries()[name])
    if name.startswith(HUB_PREFIX):
        return _with_config(fetch_hub(name, "checkpoint"))
    path = Path(name).expanduser()
    if path.is_dir():
        return _with_config(path)
    if path.suffix == ".gguf" and path.is_file():
        return _keep_converted(_file_key(path), lambda: path)
    raise SourceError(
        f"There is no checkpoint '{name}': give a name of the catalogue "
        f"({', '.join(checkpoint_names())}), a folder with a config.json, a .gguf file, or "
        f"hub:owner/name@revision.{did_you_mean(name, checkpoint_names())}"
    )


def prefetch(name: str) -> None:
    """Fetch a checkpoint or data set of the catalogue, ready for use without a network."""
    if name in checkpoint_names():
        resolve_checkpoint(name)
    else:
        fetch(name)


def _with_config(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise SourceError(
            f"The folder {folder} has no config.json: name a folder that transformers saved, "
            "or a .gguf file."
        )
    return folder


def _resolve_entry(entry: Entry) -> Path:
    names = [entry.joined.name] if entry.joined else [Path(file).name for file in entry.files]
    gguf = next((name for name in names if name.endswith(".gguf")), None)
    if gguf is None:
        return fetch(entry.name)
    return _keep_converted(entry.key, lambda: fetch(entry.name) / gguf)


def _file_key(path: Path) -> str:
    """Return what names the conversion of a local file, without reading the whole file."""
    found = path.resolve()
    identity = f"{found}\n{found.stat().st_size}\n{found.stat().st_mtime_ns}"
    return f"{path.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"


def _keep_converted(key: str, find: Callable[[], Path]) -> Path:
    """Return the folder of the converted file; ``find`` is asked for the file when it is not."""

    def fill(folder: Path) -> Mapping[str, Any]:
        gguf = find()
        _convert(gguf, folder)
        return {"converted": gguf.name, "bytes": gguf.stat().st_size, "dtype": "bfloat16"}

    return keep_folder(cache_folder() / "converted" / f"{key}-{_RECIPE}", fill)


def _convert(gguf: Path, folder: Path) -> None:
    """Write the weights as bfloat16 safetensors, and the tokenizer, into ``folder``."""
    # Imported here: they take seconds, and a checkpoint that is a folder already needs neither.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with _quiet_transformers(), stage(f"Converting {gguf.name}", 3, "steps") as advance:
        try:
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
            _split_digits(tokenizer)
            advance(1)
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.bfloat16,
            )
            advance(1)
        except (ValueError, NotImplementedError, KeyError, OSError) as error:
            raise SourceError(
                f"The file {gguf} cannot be opened as a GGUF checkpoint ({_first_line(error)}): "
                "give a language model that transformers knows, or a folder of safetensors."
            ) from error
        require_space(folder, 2 * model.num_parameters())
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        advance(1)


def _split_digits(tokenizer: Any) -> None:
    """Set digits apart before merging, where the vocabulary was learned that way.

    transformers drops this step of a GGUF's tokenizer (``tokenizer.ggml.pre`` "smollm"), and
    then cuts spaces before a number otherwise than in training.
    """
    from tokenizers import pre_tokenizers

    backend = tokenizer.backend_tokenizer
    learned_apart = not any(_JOINED_DIGIT.search(token) for token in tokenizer.get_vocab())
    if isinstance(backend.pre_tokenizer, pre_tokenizers.ByteLevel) and learned_apart:
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep the bars and notes of transformers off the terminal."""
    from transformers import modeling_gguf_pytorch_utils as gguf_reader
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    # The reader of GGUF files shows a bar of its own, which the logging does not govern.
    reader_names: dict[str, Any] = vars(gguf_reader)
    reader_bar = reader_names["tqdm"]
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    reader_names["tqdm"] = partial(reader_bar, disable=True)
    try:
        yield
    finally:
        reader_names["tqdm"] = reader_bar
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
