"""A checkpoint's tokenizer, to which every word of a text is text.

Knows nothing about models and prompts.
"""

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import (
    AutoTokenizer,
)

from pollice.errors import CheckpointError
from pollice.models.plain_tokenizer import PlainTokenizer
from pollice.models.pretrained.chat_sandbox import TemplateRefusal, render_template
from pollice.models.pretrained.explaining import first_line, opening
from pollice.models.pretrained.safety import check_tokenizer_files
from pollice.models.pretrained.weights import read_config
from pollice.system.measuring import release_memory

_CONTROL = re.compile(r"[<\[].*[>\]]")


class TextTokenizer:
    """A checkpoint's tokenizer that never turns a text's own words into control tokens."""

    def __init__(self, folder: Path) -> None:
        words = _embeddings(folder)
        with opening(folder, "has no tokenizer that can be read"):
            check_tokenizer_files(folder)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
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
        if words is not None:
            self._check_words(folder, words)

    def _check_words(self, folder: Path, words: int) -> None:
        """Refuse words that the model has no embedding for."""
        # Control tokens are never read in a text: Gemma 3 has one more of them than embeddings.
        read = set(self.tokenizer.get_vocab().values()) - self.control_tokens
        highest = max(read, default=0)
        if highest >= words:
            raise CheckpointError(
                f"Expected a tokenizer of at most {words:,} words, as many as the model of "
                f"{folder} has embeddings, but found a word with the number {highest:,}. Put the "
                "tokenizer that the model was trained with there."
            )

    @cached_property
    def plain(self) -> PlainTokenizer:
        """The same tokenizer, blind to control tokens, and with nothing added around a text."""
        content = json.loads(self.tokenizer.backend_tokenizer.to_str())
        for token in content["added_tokens"]:  # none is left out: the ids of the others would move
            token["special"] |= bool(_CONTROL.fullmatch(token["content"]))
        # This step would put [CLS], [SEP] or BOS around each text.
        content["post_processor"] = None
        plain = PlainTokenizer(json.dumps(content), self.control_tokens)
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
        # In GPT-2 one token is both unknown and end of text: then it stays a control token.
        if unknown not in roles.values():
            control.discard(self.tokenizer.unk_token_id)
        return frozenset(control)

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode texts as plain words: ``<eos>`` or ``[SEP]`` in them is text."""
        return self.plain.encode_texts(texts)

    def encode_markup(self, text: str) -> tuple[int, ...]:
        """Encode our own words: control tokens in them count, and none is added."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False))

    def spell(self, tokens: Sequence[int]) -> str:
        """Return the text that tokens stand for, control tokens too, blanks as they are."""
        return str(self.tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False))

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
        except (TemplateRefusal, ValueError) as error:
            if turns[0][0] != "system":
                raise CheckpointError(
                    "The chat template of this checkpoint refuses the prompt: "
                    f"{first_line(error).rstrip('.')}. Use another checkpoint."
                ) from error
        # This ends: the first turn is then the user's, and a second refusal is an error.
        (_, instructions), (role, content), *others = turns
        return self.render_chat([(role, f"{instructions}\n\n{content}"), *others])

    def _render(self, turns: Sequence[tuple[str, str]]) -> str:
        # The template that transformers would take of several; which special tokens there are.
        template: str = self.tokenizer.get_chat_template()
        roles = {
            role: [str(one) for one in token] if isinstance(token, list) else str(token)
            for role, token in self.tokenizer.special_tokens_map.items()
        }
        return render_template(template, tuple(turns), json.dumps(roles))

    @property
    def pad(self) -> int:
        """The id that fills a batch; never attended to."""
        pad: int | None = self.tokenizer.pad_token_id
        return 0 if pad is None else pad

    def save(self, folder: Path) -> None:
        """Save the tokenizer as `load` reads it."""
        self.tokenizer.save_pretrained(folder)


def _embeddings(folder: Path) -> int | None:
    """Return how many words the model beside a tokenizer has embeddings for; None: no model."""
    if not (folder / "config.json").exists():
        return None
    words: int | None = getattr(read_config(folder).get_text_config(), "vocab_size", None)
    return words
