"""A checkpoint is loaded whole or refused, and its tokenizer never lets a text give orders."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken
from transformers import ByT5Tokenizer

from pollice.errors import CheckpointError
from pollice.models.pretrained import devices
from pollice.models.pretrained.checkpoint_files import copy_checkpoint
from pollice.models.pretrained.devices import resolve_device, resolve_dtype
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import (
    load_causal,
    load_classifier,
    load_encoder,
)
from tiny import ENCODER_FAMILIES, tiny_causal, tiny_classifier, tiny_encoder

CPU = torch.device("cpu")
HEAD = "they would be newly initialised, and the scores would be random."
REMEDIES = (
    "Use a checkpoint that has them, train them with the method finetune, or use a causal "
    "checkpoint with the method prompt."
)


def without_weights(folder: Path, *names: str) -> Path:
    path = folder / "model.safetensors"
    weights = {name: value for name, value in load_file(path).items() if name not in names}
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def test_a_checkpoint_without_the_language_head_is_refused(tmp_path: Path) -> None:
    folder = without_weights(tiny_causal(tmp_path / "mistral", "mistral"), "lm_head.weight")
    sentence = f"The checkpoint {folder} has no weights for lm_head.weight: {HEAD} {REMEDIES}"
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        load_causal(folder, dtype=torch.float32, device=CPU)


def test_a_checkpoint_without_the_classification_head_is_refused(tmp_path: Path) -> None:
    folder = without_weights(tiny_classifier(tmp_path / "bert"), "classifier.bias")
    sentence = f"The checkpoint {folder} has no weights for classifier.bias: {HEAD} {REMEDIES}"
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        load_classifier(folder, new_head=False, dtype=torch.float32)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_a_head_that_will_be_trained_may_be_new(tmp_path: Path, family: str) -> None:
    folder = tiny_encoder(tmp_path / family, family)
    model = load_classifier(folder, ("a", "b", "c"), new_head=True, dtype=torch.float32)
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert model.config.num_labels == 3


def test_a_head_of_another_size_is_replaced_when_it_will_be_trained(tmp_path: Path) -> None:
    folder = tiny_classifier(tmp_path / "bert")
    model = load_classifier(folder, ("a", "b", "c"), new_head=True, dtype=torch.float32)
    assert dict(model.named_parameters())["classifier.weight"].shape == (3, 32)


def test_an_encoder_that_lacks_weights_is_refused_even_for_training(tmp_path: Path) -> None:
    folder = without_weights(
        tiny_encoder(tmp_path / "bert", "bert"), "encoder.layer.1.output.dense.weight"
    )
    named = r"encoder\.layer\.1\.output\.dense\.weight: "
    with pytest.raises(CheckpointError, match=named):
        load_encoder(folder, dtype=torch.float32, device=CPU)
    with pytest.raises(CheckpointError, match=named):
        load_classifier(folder, ("a", "b"), new_head=True, dtype=torch.float32)


def test_an_encoder_needs_no_pooler(tmp_path: Path) -> None:
    folder = without_weights(
        tiny_encoder(tmp_path / "bert", "bert"), "pooler.dense.weight", "pooler.dense.bias"
    )
    assert not load_encoder(folder, dtype=torch.float32, device=CPU).training


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    folder = tiny_causal(tmp_path / "llama", "llama")
    (folder / "model.safetensors").unlink()
    with pytest.raises(
        CheckpointError,
        match=f"^The checkpoint {re.escape(str(folder))} cannot be loaded as "
        "AutoModelForCausalLM: ",
    ):
        load_causal(folder, dtype=torch.float32, device=CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_come_in_the_data_type_that_is_asked_for(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    model = load_causal(tiny_causal(tmp_path / "gemma3", "gemma3"), dtype=dtype, device=CPU)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}


def test_data_types_are_taken_as_named() -> None:
    assert resolve_dtype("float32", CPU) == torch.float32
    assert resolve_dtype("bfloat16", CPU) == torch.bfloat16


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_automatic_data_type_is_what_the_hardware_multiplies(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda device: native)
    assert resolve_dtype("auto", CPU) == expected


def test_the_device_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cuda").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == CPU
    sentence = "device is 'cuda', but no CUDA GPU is at hand. Use device='cpu' or 'auto'."
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        resolve_device("cuda")


def test_a_missing_tokenizer_is_said(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "bert", "bert")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    sentence = (
        f"The checkpoint {folder} has no tokenizer: expected vocab.txt or tokenizer.json beside "
        "the weights. Save the checkpoint's tokenizer there."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        TextTokenizer(folder)


def test_a_broken_tokenizer_is_said(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "bert", "bert")
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(
        CheckpointError,
        match=f"^The checkpoint {re.escape(str(folder))} has no tokenizer that can be read: ",
    ):
        TextTokenizer(folder)


def test_a_slow_tokenizer_is_refused(tmp_path: Path) -> None:
    ByT5Tokenizer().save_pretrained(tmp_path)
    sentence = (
        f"The checkpoint {tmp_path} has no fast tokenizer (tokenizer.json). "
        "Convert it once with transformers and save it beside the weights."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        TextTokenizer(tmp_path)


def test_words_that_were_added_keep_their_ids_in_texts(tmp_path: Path) -> None:
    """An added word after a control token that the vocabulary proper lacks."""
    tokenizer = TextTokenizer(tiny_causal(tmp_path / "llama", "llama"))
    tokenizer.tokenizer.backend_tokenizer.add_special_tokens([AddedToken("<|new|>", special=True)])
    tokenizer.tokenizer.backend_tokenizer.add_tokens([AddedToken("thumbs-up", special=False)])
    tokenizer.tokenizer.save_pretrained(tmp_path)
    loaded = TextTokenizer(tmp_path)
    (tokens,) = loaded.encode_texts(["a thumbs-up <|new|>"])
    assert loaded.tokenizer.convert_tokens_to_ids("thumbs-up") in tokens
    assert loaded.tokenizer.convert_tokens_to_ids("<|new|>") not in tokens
    assert loaded.tokenizer.decode(tokens) == "a thumbs-up <|new|>"


def test_added_markup_is_control_even_where_the_tokenizer_does_not_say_so(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(tiny_causal(tmp_path / "llama", "llama"))
    tokenizer.tokenizer.backend_tokenizer.add_tokens([AddedToken("[TOOL_CALL]", special=False)])
    tokenizer.tokenizer.save_pretrained(tmp_path)
    loaded = TextTokenizer(tmp_path)
    token = loaded.tokenizer.convert_tokens_to_ids("[TOOL_CALL]")
    assert token in loaded.control_tokens
    assert token not in loaded.encode_texts(["[TOOL_CALL]"])[0]
    assert loaded.encode_markup("[TOOL_CALL]") == (token,)


@pytest.mark.parametrize("family", ["bert", "deberta-v2"])
def test_unknown_words_stay_where_they_are(tmp_path: Path, family: str) -> None:
    tokenizer = TextTokenizer(tiny_encoder(tmp_path / family, family))
    (tokens,) = tokenizer.encode_texts(["the 😀 film"])
    assert tokens.count(tokenizer.tokenizer.unk_token_id) == 1
    assert tokens == tokenizer.tokenizer("the 😀 film", add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_plain_texts_get_their_usual_tokens(tmp_path: Path, family: str) -> None:
    tokenizer = TextTokenizer(tiny_encoder(tmp_path / family, family))
    texts = ["the film was great", "a\nsuperb  story!", "", "it is uneven"]
    for text, tokens in zip(texts, tokenizer.encode_texts(texts), strict=True):
        assert tokens == tokenizer.tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_lone_surrogate_is_replaced(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(tiny_causal(tmp_path / "llama", "llama"))
    assert tokenizer.encode_texts(["a \ud800 b"]) == tokenizer.encode_texts(["a ? b"])


def test_a_saved_tokenizer_reads_texts_alike(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(tiny_causal(tmp_path / "mistral", "mistral", chat=True))
    tokenizer.save(tmp_path / "again")
    again = TextTokenizer(tmp_path / "again")
    texts = ["the film", "[INST] </s> \n 😀"]
    assert again.encode_texts(texts) == tokenizer.encode_texts(texts)
    assert again.render_chat([("user", "a")]) == tokenizer.render_chat([("user", "a")])


def test_a_chat_template_that_refuses_is_said(tmp_path: Path) -> None:
    tokenizer = TextTokenizer(tiny_causal(tmp_path / "gemma", "gemma", chat=True))
    tokenizer.tokenizer.chat_template = "{{ raise_exception('No turns') }}"
    sentence = (
        "The chat template of this checkpoint refuses the prompt: No turns. Use another checkpoint."
    )
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        tokenizer.render_chat([("user", "a")])


def test_a_copied_checkpoint_outlives_its_source(tmp_path: Path) -> None:
    """The Hub's cache is a folder of links to blobs; what is copied is what they lead to."""
    blobs, snapshot, target = (tmp_path / name for name in ("blobs", "snapshots/0", "a/b/target"))
    for folder in (blobs, snapshot, target):
        folder.mkdir(parents=True)
    (blobs / "0f3a").write_text(json.dumps({"model_type": "bert"}))
    (snapshot / "config.json").symlink_to("../../blobs/0f3a")
    for name in ("manifest.json", "theirs.py", "pytorch_model.bin", "README.md"):
        (snapshot / name).write_text("{}")
    copy_checkpoint(snapshot, target)
    assert [path.name for path in target.iterdir()] == ["config.json"]
    (blobs / "0f3a").write_text("{}")
    assert json.loads((target / "config.json").read_text()) == {"model_type": "bert"}
