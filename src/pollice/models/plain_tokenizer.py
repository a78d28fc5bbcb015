"""A tokenizer to which every word of a text is text.

Knows nothing about checkpoints: it is made from the JSON of `tokenizers`. PyTorch and transformers
are not needed here, so that predictors which were exported read texts in the very same way.
"""

from collections.abc import Sequence

from tokenizers import Tokenizer


class PlainTokenizer:
    """Turns texts into token ids, with nothing around them and without control tokens.

    Args:
        content: The tokenizer as JSON, its control tokens marked special and without the step that
            adds tokens around a text.
        control: The ids that no text may contain.
    """

    def __init__(self, content: str, control: frozenset[int]) -> None:
        self.control = control
        self._tokenizer = Tokenizer.from_str(content)
        # It means: read special tokens in a text as plain words. It counts only for those marked
        # special, and it is not part of the JSON.
        self._tokenizer.encode_special_tokens = True
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def to_json(self) -> str:
        """Return what a tokenizer with the same ids is made from."""
        content: str = self._tokenizer.to_str()
        return content

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode texts as plain words: ``<eos>`` or ``[SEP]`` in them is text."""
        encoded = self._tokenizer.encode_batch([_encodable(text) for text in texts])
        return [self._without_control(encoding.ids) for encoding in encoded]

    def _without_control(self, tokens: list[int]) -> list[int]:
        # The vocabulary itself may still build a control token out of plain pieces.
        if self.control.isdisjoint(tokens):
            return tokens
        return [token for token in tokens if token not in self.control]


def _encodable(text: str) -> str:
    """Return the text with lone surrogates replaced: no tokenizer can encode them."""
    return text.encode("utf-8", "replace").decode("utf-8")
