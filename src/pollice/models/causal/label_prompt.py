"""What a causal language model is asked for the label: the same in training, scoring, and saved.

Knows nothing about models, and nothing about how examples are chosen.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from pollice.errors import CheckpointError, PromptError
from pollice.method import OPTIONS
from pollice.models.batching import cut
from pollice.models.causal.prompts import Ending, Pieces, without_control_words
from pollice.models.causal.questions import (
    Template,
    custom_template,
    default_template,
    template_to_train,
)
from pollice.models.pretrained.options import LanguageModelOptions, ReadingOptions
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import read_config
from pollice.predictions.saved_files import damaged, read_label_names, read_saved_json

Chat = Literal["auto", "always", "never"]
"""Whether texts are asked about in the turns of a conversation."""


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class AskingOptions(LanguageModelOptions):
    """How a causal language model is asked for the label."""

    template: str | None = None
    """A prompt with {text} in it that ends where the label comes; None: the built-in questions."""
    label_words: Mapping[str, Sequence[str]] = Field(default_factory=dict)
    """For each label, the words that mean it; their probabilities are summed."""
    descriptions: Mapping[str, str] = Field(default_factory=dict)
    """For each label, what it means in a few words; for the built-in questions only."""
    instructions: str = ""
    """What stands before everything, or in the system turn of a chat checkpoint."""
    chat: Chat = "auto"
    """auto: in the turns of a conversation where the checkpoint has a chat template."""
    chat_template: str | None = None
    """A chat template in Jinja, in place of the checkpoint's own."""

    def asked_template(self, label_names: tuple[str, ...], *, to_train: bool = False) -> Template:
        """Return all of the prompt but the text and the examples.

        Args:
            label_names: The labels.
            to_train: Whether every label must have words of its own that the first token tells
                apart, which are then trained.

        Raises:
            PromptError: the template or the words do not fit the labels, or a template of the
                user's own leaves no place for descriptions.
        """
        if self.template is not None:
            if self.descriptions:
                raise PromptError(
                    "Expected descriptions or a template, but both are given, and only the "
                    "built-in questions use descriptions. Put what the labels mean into the "
                    "template, or leave it out."
                )
            template = custom_template(self.template, self.label_words, label_names)
        elif to_train:
            template = template_to_train(label_names, self.label_words, self.descriptions)
        else:
            template = default_template(label_names, self.label_words, self.descriptions)
        return replace(template, instructions=self.instructions)

    def read_tokenizer(self, checkpoint: Path) -> TextTokenizer:
        """Return the checkpoint's tokenizer with the chat template that is to be used, or none.

        Raises:
            CheckpointError: a conversation is asked for, but there is no chat template.
        """
        tokenizer = TextTokenizer(checkpoint)
        if self.chat_template is not None:
            tokenizer.tokenizer.chat_template = self.chat_template
        if self.chat == "never":
            tokenizer.tokenizer.chat_template = None
        if self.chat == "always" and not tokenizer.has_chat_template:
            raise CheckpointError(
                f"chat is 'always', but the checkpoint {checkpoint} has no chat template and none "
                "is given. Give one with chat_template, or use chat='auto'."
            )
        return tokenizer


@plain_dataclass(frozen=True, kw_only=True)
class LabelPrompt:
    """All that is asked but the text: the same in training, in scoring, and once saved."""

    label_names: tuple[str, ...]
    pieces: Pieces
    settings: ReadingOptions

    @property
    def sha256(self) -> str:
        """The hash of all that is asked but the text: equal hashes ask the same."""
        content = json.dumps(
            [asdict(self.pieces), self.settings.max_tokens, self.settings.long_text]
        )
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def answers(self) -> int:
        """How many answers each question has: the labels, or the poles of their scale."""
        return min((len(ending.words) for ending in self.pieces.endings), default=0)

    @property
    def facts(self) -> dict[str, Any]:
        """How long the prompt is, and its name."""
        return {
            "questions": len(self.pieces.endings),
            "prefix_tokens": len(self.pieces.prefix),
            "prompt_sha256": self.sha256,
        }

    def read(
        self, tokenizer: TextTokenizer, texts: Sequence[str]
    ) -> tuple[list[list[int]], list[int]]:
        """Return the tokens of each text, cut, and how many there were before."""
        encoded = tokenizer.encode_texts([without_control_words(text) for text in texts])
        kept = [
            cut(tokens, self.settings.max_tokens, self.settings.long_text) for tokens in encoded
        ]
        return kept, [len(tokens) for tokens in encoded]

    def check_room(self, checkpoint: Path) -> None:
        """Refuse a prompt that leaves the checkpoint no room for a text."""
        context = getattr(read_config(checkpoint), "max_position_embeddings", None)
        around = len(self.pieces.prefix) + max(map(_depth, self.pieces.endings))
        if context is not None and around + self.settings.max_tokens > context:
            raise PromptError(
                f"The checkpoint reads {context} tokens, but instructions, examples and question "
                f"take {around} and a text up to {self.settings.max_tokens}. Lower shots, "
                "example_tokens or max_tokens."
            )

    def save(self, folder: Path) -> None:
        """Write prompt.json."""
        content = {**asdict(self), "sha256": self.sha256}
        (folder / "prompt.json").write_text(json.dumps(content, indent=2), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        path = folder / "prompt.json"
        content = read_saved_json(path, "pieces", "settings", "sha256")
        label_names = read_label_names(path, content)
        try:
            pieces = _pieces(content["pieces"])
            prompt = cls(
                label_names=label_names,
                pieces=pieces,
                settings=ReadingOptions(**content["settings"]),
            )
        except (KeyError, TypeError, ValueError):
            raise damaged(path, "a prompt as tokens", "it cannot be read as one") from None
        if prompt.sha256 != content["sha256"]:
            raise damaged(path, "the prompt of its sha256", "another one stands there")
        return prompt


def ready_tokenizer(checkpoint: Path) -> TextTokenizer:
    """Return a checkpoint's tokenizer, with all made that its first text needs.

    Use it before the weights are loaded: its words as JSON take hundreds of MiB for a moment. Left
    to the first text, they would come on top of the weights, and once for each thread that asks.
    """
    tokenizer = TextTokenizer(checkpoint)
    tokenizer.encode_texts([""])
    return tokenizer


def first_tokens(pieces: Pieces) -> Pieces:
    """Return the prompt with words cut to their first tokens, which tell the labels apart.

    So the answer position alone decides, as in training.
    """
    return replace(
        pieces,
        endings=tuple(
            replace(
                ending,
                words=tuple(
                    # A set: two words of a label that begin alike would count its probability
                    # twice.
                    tuple((token,) for token in sorted({word[0] for word in words}))
                    for words in ending.words
                ),
            )
            for ending in pieces.endings
        ),
    )


def _depth(ending: Ending) -> int:
    """Return how many tokens after the text's last one the last that is read stands."""
    longest = max(len(word) for label_words in ending.words for word in label_words)
    return len(ending.tokens) + longest - 1


def _pieces(content: Mapping[str, Any]) -> Pieces:
    return Pieces(
        prefix=tuple(content["prefix"]),
        endings=tuple(
            Ending(
                tokens=tuple(ending["tokens"]),
                words=tuple(
                    tuple(tuple(word) for word in label_words) for label_words in ending["words"]
                ),
            )
            for ending in content["endings"]
        ),
    )
