import json
from pathlib import Path
from typing import Any

import pytest

from pollice.errors import SourceError
from pollice.models.pretrained.sources import resolve_checkpoint

# The smallest files that the reader of GGUF accepts as a Llama.
WIDTH, HEADS, LAYERS = 32, 2, 1
TOKENS = ["<|endoftext|>", *(chr(code) for code in range(33, 127)), "Ġ", "Ċ", "ĠĠ"]


@pytest.fixture
def tiny_gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    numpy = pytest.importorskip("numpy")
    gguf = pytest.importorskip("gguf")
    pytest.importorskip("transformers")
    monkeypatch.setenv("POLLICE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_token_types([3] + [1] * (len(TOKENS) - 1))
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(0)
    random = numpy.random.default_rng(0)
    shapes = {
        "token_embd.weight": (len(TOKENS), WIDTH),
        "output_norm.weight": (WIDTH,),
        "blk.0.attn_norm.weight": (WIDTH,),
        "blk.0.ffn_norm.weight": (WIDTH,),
        **{f"blk.0.attn_{part}.weight": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")},
        "blk.0.ffn_gate.weight": (2 * WIDTH, WIDTH),
        "blk.0.ffn_up.weight": (2 * WIDTH, WIDTH),
        "blk.0.ffn_down.weight": (WIDTH, 2 * WIDTH),
    }
    for name, shape in shapes.items():
        writer.add_tensor(name, random.normal(0, 0.1, shape).astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_folder_that_was_saved_is_itself(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert resolve_checkpoint(str(tmp_path)) == tmp_path


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        resolve_checkpoint(str(tmp_path))

    assert str(caught.value) == (
        f"The folder {tmp_path} has no config.json, but is empty: name a folder that "
        "transformers saved, or a .gguf file."
    )


def test_an_unknown_name_is_said_with_the_accepted_forms() -> None:
    with pytest.raises(SourceError) as caught:
        resolve_checkpoint("gema-3-270m")

    assert str(caught.value) == (
        "There is no checkpoint 'gema-3-270m': give a name of the catalogue (distilbert, gemma-2b, "
        "gemma-3-270m, gemma-7b, minilm, mistral-7b-instruct, smollm2-135m-instruct), a folder "
        "with a config.json, a .gguf file, or hub:owner/name@revision. "
        "Did you mean 'gemma-3-270m'?"
    )


def test_a_gguf_file_becomes_bfloat16_safetensors_once(
    tiny_gguf: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = resolve_checkpoint(str(tiny_gguf))
    written = (folder / "manifest.json").stat().st_mtime_ns
    shown = capfd.readouterr()
    again = resolve_checkpoint(str(tiny_gguf))

    assert again == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == written
    assert json.loads((folder / "manifest.json").read_text())["converted"] == "tiny.gguf"
    assert (shown.out, shown.err) == ("", "")
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert model.config.hidden_size == WIDTH


def test_a_converted_tokenizer_sets_digits_apart(tiny_gguf: Path) -> None:
    """Spaces before a number stay together, as in the training of the vocabulary."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve_checkpoint(str(tiny_gguf)))

    assert tokenizer.tokenize("a  12\n") == ["a", "ĠĠ", "1", "2", "Ċ"]


def test_a_broken_gguf_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("POLLICE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(100))

    with pytest.raises(
        SourceError,
        match=r"^The file .+broken\.gguf cannot be opened as a GGUF checkpoint \(.+\): give a "
        r"language model that transformers knows, or a folder of safetensors\.$",
    ):
        resolve_checkpoint(str(path))

    assert list((tmp_path / "cache" / "converted").glob("broken*/")) == []


@pytest.mark.weights
def test_gemma_tokenizes_as_published() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve_checkpoint("gemma-3-270m"))

    assert tokenizer("The capital of France is")["input_ids"] == [2, 818, 5279, 529, 7001, 563]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 1, 0)
    text = "Loved it 😀🎬 — naïve\n\n  café\ttab"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


@pytest.mark.weights
def test_smollm2_keeps_its_chat_template_and_answers() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve_checkpoint("smollm2-135m-instruct")
    # Typed as anything: transformers describes what these return too widely to be used.
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    messages = [{"role": "user", "content": "What is the capital of France?"}]

    asked = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answered = model.generate(**asked, max_new_tokens=10, do_sample=False)

    assert tokenizer("<|im_start|>hi<|im_end|>")["input_ids"] == [1, 6004, 2]
    assert "Paris" in tokenizer.decode(answered[0, asked["input_ids"].shape[1] :])
