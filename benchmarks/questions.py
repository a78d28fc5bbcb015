"""The prompt that every contender is given: as pieces for pollice, as one string for the peers.

Knows nothing about how a contender scores it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pollice.models.batching import cut
from pollice.models.causal.prompts import Example, Pieces, assemble
from pollice.models.causal.questions import Template, default_template
from pollice.models.pretrained.tokenizer import TextTokenizer


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked, of texts that are cut already."""

    label_names: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]
    """(text, label), cut already."""
    all_questions: bool
    """Whether pollice asks all its default questions, or the first one alone as its peers do."""

    @property
    def template(self) -> Template:
        """The default template, of one question or of all."""
        template = default_template(self.label_names)
        if self.all_questions:
            return template
        return Template(questions=template.questions[:1])

    @property
    def words(self) -> tuple[str, ...]:
        """The one word of each label, with the space before it."""
        words = self.template.questions[0].words
        return tuple(f" {words[name][0]}" for name in self.label_names)

    @property
    def ending(self) -> str:
        """What stands after every text."""
        return f"{self.template.after}{self.template.questions[0].answer}"

    @property
    def lead(self) -> str:
        """The examples as a string."""
        shown = dict(zip(self.label_names, self.words, strict=True))
        return "".join(
            f"{text}{self.ending}{shown[label]}{self.template.separator}"
            for text, label in self.examples
        )

    def prompts(self, texts: Sequence[str]) -> list[str]:
        """Return the whole string for each text."""
        return [f"{self.lead}{text}{self.ending}" for text in texts]

    def pieces(self, tokenizer: TextTokenizer) -> Pieces:
        """Return what pollice makes of the same."""
        encoded = tokenizer.encode_texts([text for text, _ in self.examples])
        examples = [
            Example(tokens=tuple(tokens), label=label)
            for tokens, (_, label) in zip(encoded, self.examples, strict=True)
        ]
        return assemble(self.template, self.label_names, tokenizer, examples)


def asked(content: dict[str, Any]) -> Asked:
    """Read what a job says is asked."""
    return Asked(
        label_names=tuple(content["label_names"]),
        examples=tuple((text, label) for text, label in content["examples"]),
        all_questions=content.get("all_questions", False),
    )


def cut_text(tokenizer: TextTokenizer, text: str, limit: int) -> str:
    """Cut a text at its end, so that whoever encodes what is left gets at most ``limit`` tokens."""
    left = text.strip()
    tokens = tokenizer.encode_texts([left])[0]
    room = limit
    while len(tokens) > limit:
        left = tokenizer.tokenizer.decode(cut(tokens, room, "head")).strip()
        tokens = tokenizer.encode_texts([left])[0]
        room -= 1
    return left


def same_tokens(given: Asked, texts: Sequence[str], tokenizer: TextTokenizer) -> int:
    """Count the texts whose pieces, joined, are the very tokens of the peers' string."""
    pieces = given.pieces(tokenizer)
    encoded = tokenizer.encode_texts(texts)
    return sum(
        [*pieces.prefix, *tokens, *pieces.endings[0].tokens]
        == [*tokenizer.start, *tokenizer.encode_markup(prompt)]
        for tokens, prompt in zip(encoded, given.prompts(texts), strict=True)
    )
