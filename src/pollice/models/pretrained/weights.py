"""Tokenizer and weights of a checkpoint: on a device, in a data type, complete or refused.

Knows nothing about tasks: what the weights are used for is not its concern.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from jinja2 import TemplateError
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from pollice.errors import CheckpointError
from pollice.system.measuring import release_memory

Dtype = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]

_CONTROL = re.compile(r"[<\[].*[>\]]")
_POOLER = ("pooler.",)  # read by no method as it comes: new heads are trained together with it


def resolve_device(device: Device) -> torch.device:
    """Return the device; ``auto`` is a GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise CheckpointError(
            "device is 'cuda', but no CUDA GPU is at hand. Use device='cpu' or 'auto'."
        )
    return torch.device(device)


def resolve_dtype(dtype: Dtype, device: torch.device) -> torch.dtype:
    """Return the data type; ``auto`` is bfloat16 where the hardware multiplies it natively."""
    if dtype == "auto":
        native = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else torch.cpu._is_avx512_bf16_supported()
        )
        return torch.bfloat16 if native else torch.float32
    return torch.float32 if dtype == "float32" else torch.bfloat16


def on_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return an array as a tensor; a GPU gets it while it is still busy with the one before."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class TextTokenizer:
    """A checkpoint's tokenizer that never turns a text's own words into control tokens."""

    def __init__(self, folder: Path) -> None:
        try:
            with quiet():
                self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"The checkpoint {folder} has no tokenizer that can be read: {error}"
            ) from error
        if not self.tokenizer.is_fast:
            raise CheckpointError(
                f"The checkpoint {folder} has no fast tokenizer (tokenizer.json). "
                "Convert it once with transformers and save it beside the weights."
            )
        files = self.tokenizer.vocab_files_names.values()
        if not any((folder / name).is_file() for name in files):  # transformers makes an empty one
            raise CheckpointError(
                f"The checkpoint {folder} has no tokenizer: expected {' or '.join(files)} beside "
                "the weights. Save the checkpoint's tokenizer there."
            )

    @cached_property
    def _plain(self) -> Tokenizer:
        """The same tokenizer, blind to control tokens, and with nothing added around a text."""
        content = json.loads(self.tokenizer.backend_tokenizer.to_str())
        for token in content["added_tokens"]:  # none is left out: the ids of the others would move
            token["special"] |= bool(_CONTROL.fullmatch(token["content"]))
        content["post_processor"] = None
        plain = Tokenizer.from_str(json.dumps(content))
        plain.encode_special_tokens = True
        plain.no_truncation()
        plain.no_padding()
        del content
        release_memory()  # before the weights come: the words as JSON are hundreds of MiB
        return plain

    @cached_property
    def control_tokens(self) -> frozenset[int]:
        """The ids that no text may contain; the one for unknown words is none of them."""
        control = {
            token
            for token, text in self.tokenizer.added_tokens_decoder.items()
            if text.special or _CONTROL.fullmatch(text.content)
        }
        roles = {**self.tokenizer.special_tokens_map}
        unknown = roles.pop("unk_token", None)
        if unknown not in roles.values():
            control.discard(self.tokenizer.unk_token_id)
        return frozenset(control)

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode texts as plain words: ``<eos>`` or ``[SEP]`` in them is text."""
        encoded = self._plain.encode_batch([_encodable(text) for text in texts])
        return [self._without_control(encoding.ids) for encoding in encoded]

    def _without_control(self, tokens: list[int]) -> list[int]:
        if self.control_tokens.isdisjoint(tokens):
            return tokens
        return [token for token in tokens if token not in self.control_tokens]

    def encode_markup(self, text: str) -> tuple[int, ...]:
        """Encode our own words: control tokens in them count, and none is added."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def is_unknown(self, token: int) -> bool:
        """Tell whether a token stands for something the vocabulary lacks."""
        return bool(token == self.tokenizer.unk_token_id)

    @property
    def has_chat_template(self) -> bool:
        """Whether the checkpoint was trained on conversations."""
        return bool(self.tokenizer.chat_template)

    @cached_property
    def start(self) -> tuple[int, ...]:
        """The tokens that every sequence starts with: BOS, or none."""
        tokens = self.tokenizer("a")["input_ids"]
        return (tokens[0],) if tokens[0] == self.tokenizer.bos_token_id else ()

    def render_chat(self, turns: Sequence[tuple[str, str]]) -> str:
        """Render (role, content) turns up to where the model's answer starts.

        Where the checkpoint knows no system turn, it becomes the beginning of the user's.
        """
        try:
            return self._render(turns)
        except TemplateError as error:
            if turns[0][0] != "system":
                raise CheckpointError(
                    f"The chat template of this checkpoint refuses the prompt: {error}. "
                    "Use another checkpoint."
                ) from error
        (_, instructions), (role, content), *others = turns
        return self.render_chat([(role, f"{instructions}\n\n{content}"), *others])

    def _render(self, turns: Sequence[tuple[str, str]]) -> str:
        messages = [{"role": role, "content": content} for role, content in turns]
        rendered: str = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return rendered

    @property
    def pad(self) -> int:
        """The id that fills a batch; never attended to."""
        pad: int | None = self.tokenizer.pad_token_id
        return 0 if pad is None else pad

    def save(self, folder: Path) -> None:
        """Save the tokenizer as `load` reads it."""
        self.tokenizer.save_pretrained(folder)


def _encodable(text: str) -> str:
    """Return the text with lone surrogates replaced: no tokenizer can encode them."""
    return text.encode("utf-8", "replace").decode("utf-8")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' own bars and warnings off the terminal."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def load_causal(
    folder: Path, *, dtype: torch.dtype, device: torch.device, **options: Any
) -> PreTrainedModel:
    """Load a causal language model, in evaluation mode; refuse those that fill gaps instead."""
    config = read_config(folder)
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        raise CheckpointError(
            f"The checkpoint {folder} ({config.model_type}) fills gaps in a text and does not "
            "predict its next word, so it cannot be prompted. Use a causal language model, or use "
            "this one with the method features or finetune."
        )
    return _placed(_load(AutoModelForCausalLM, folder, dtype=dtype, **options), device)


def load_encoder(folder: Path, *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """Load an encoder without a head, in evaluation mode."""
    return _placed(_load(AutoModel, folder, allow_new=_POOLER, dtype=dtype), device)


def load_classifier(
    folder: Path,
    label_names: Sequence[str] | None = None,
    *,
    new_head: bool,
    dtype: torch.dtype,
    **options: Any,
) -> PreTrainedModel:
    """Load an encoder with a classification head.

    Args:
        folder: The checkpoint.
        label_names: The labels of a new head; None keeps those of the checkpoint.
        new_head: Whether the head may be newly initialised, because it will be trained.
        dtype: The data type of the weights.
        options: Fields of the configuration to change.
    """
    if label_names is not None:
        options |= {
            "num_labels": len(label_names),
            "id2label": dict(enumerate(label_names)),
            "label2id": {name: code for code, name in enumerate(label_names)},
        }
    return _load(
        AutoModelForSequenceClassification,
        folder,
        allow_new=_POOLER if new_head else (),
        new_head=new_head,
        dtype=dtype,
        ignore_mismatched_sizes=new_head,
        **options,
    )


def dropout_options(folder: Path, attention_dropout: float) -> dict[str, float]:
    """Return the configuration's own names for the dropout of attention weights."""
    config = read_config(folder)
    names = ("attention_probs_dropout_prob", "attention_dropout")  # BERT's, DistilBERT's
    return {name: attention_dropout for name in names if hasattr(config, name)}


def _load(
    kind: Any,
    folder: Path,
    *,
    allow_new: tuple[str, ...] = (),
    new_head: bool = False,
    **options: Any,
) -> PreTrainedModel:
    """Load weights; refuse a checkpoint in which some would be newly initialised."""
    try:
        with quiet():
            model, facts = kind.from_pretrained(folder, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"The checkpoint {folder} cannot be loaded as {kind.__name__}: {_first_line(error)}"
        ) from error
    unfit = {name for name, *_ in facts["mismatched_keys"]}  # of another size than configured
    encoder = f"{model.base_model_prefix}."
    new = sorted(
        name
        for name in facts["missing_keys"] | unfit
        if not name.removeprefix(encoder).startswith(allow_new)
        and not (new_head and not name.startswith(encoder))
    )
    if new:
        raise CheckpointError(
            f"The checkpoint {folder} has no weights for {', '.join(new[:3])}: they would be "
            "newly initialised, and the scores would be random. Use a checkpoint that has them, "
            "train them with the method finetune, or use a causal checkpoint with the method "
            "prompt."
        )
    model.eval()
    loaded: PreTrainedModel = model
    return loaded


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _placed(model: Any, device: torch.device) -> PreTrainedModel:
    placed: PreTrainedModel = model.to(device)
    return placed


def read_config(folder: Path) -> Any:
    """Read a checkpoint's configuration, without its weights."""
    return AutoConfig.from_pretrained(folder)


def link_checkpoint(source: Path, folder: Path) -> None:
    """Put a checkpoint's files into a folder: by hard links where the file system can."""
    for path in sorted(source.iterdir()):
        if path.is_file() and path.name != "manifest.json":
            try:
                os.link(path.resolve(), folder / path.name)  # the Hub's files are symbolic links
            except OSError:  # another file system, or one without links
                shutil.copy2(path, folder / path.name)
