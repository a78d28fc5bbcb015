"""GGUF -> bfloat16 safetensors: `python -m pollice.models.pretrained.gguf FILE FOLDER`.

Knows nothing about the cache. It runs as a process of its own, since it takes gigabytes that a
longer-lived process would not give back. Each step that is done is a line on standard output.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from pollice.errors import SourceError
from pollice.models.pretrained.converting import run_conversion
from pollice.system.folders import require_space

# A token that holds a digit and anything else, be it another digit.
_JOINED_DIGIT = re.compile(r"[^\d]\d|\d[^\d]|\d\d")


def convert(gguf: Path, folder: Path) -> Iterator[int]:
    """Write the weights as bfloat16 safetensors, and the tokenizer; yield each step's number.

    Raises:
        SourceError: the file is no language model that transformers knows.
    """
    # Imported here: they take seconds.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    from pollice.models.pretrained.explaining import refuse_foreign_code
    from pollice.models.pretrained.safety import refuse_adapter

    refuse_adapter(gguf.parent)  # transformers looks for one beside the file, too
    with _quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                gguf.parent, gguf_file=gguf.name, trust_remote_code=False
            )
            _split_digits(tokenizer)
            yield 1
            model = AutoModelForCausalLM.from_pretrained(
                gguf.parent,
                gguf_file=gguf.name,
                quantization_config=GgufConfig(dequantize=True),
                dtype=torch.bfloat16,
                trust_remote_code=False,
            )
            yield 2
        except (ValueError, NotImplementedError, KeyError, OSError) as error:
            refuse_foreign_code(gguf, error)
            raise SourceError(
                f"The file {gguf} cannot be opened as a GGUF checkpoint ({_first_line(error)}): "
                "give a language model that transformers knows, or a folder of safetensors."
            ) from error
        # bfloat16: two bytes for each weight.
        require_space(folder, 2 * model.num_parameters())
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        yield 3


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


def main(gguf: str, folder: str) -> int:
    """Convert a file, as a process of its own."""
    return run_conversion(convert, gguf, folder)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
