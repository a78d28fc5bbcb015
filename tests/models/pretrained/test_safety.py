"""Nothing that comes with a checkpoint runs: it is refused in a sentence before it is opened."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import pollice
from foreign_code import (
    MARKER,
    change,
    plant_code,
    with_foreign_architecture,
    with_foreign_tokenizer,
)
from pollice.errors import CheckpointError
from pollice.models.pretrained.architecture import inspect_checkpoint
from pollice.models.pretrained.gguf import convert
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import (
    load_causal,
    load_classifier,
    load_encoder,
    read_config,
)
from tiny import tiny_causal, tiny_encoder

CPU = torch.device("cpu")
OPENERS = ("from_pretrained", "from_config")
FOREIGN = (
    "The checkpoint {} needs Python code of its own (auto_map), and pollice never runs code that "
    "comes with a checkpoint. Use one whose architecture and tokenizer transformers has itself."
)


@pytest.fixture
def agreeing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer whatever is asked on the terminal with yes."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")


def fails(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=f"^{re.escape(sentence)}$"):
        call()


def causal(folder: Path) -> Any:
    return load_causal(folder, dtype=torch.float32, device=CPU)


def calls_of(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) in OPENERS:
            yield node


def test_every_checkpoint_is_opened_without_its_code() -> None:
    """PEFT has no code to trust: it is given the configuration, so that it reads no other."""
    opened = 0
    for path in Path(pollice.__file__).parent.rglob("*.py"):
        for call in calls_of(path):
            said = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            place = f"{path.name}:{call.lineno}"
            if ast.unparse(call.func).startswith("PeftModel."):
                assert said["config"] == "config", place
            else:
                assert said.get("trust_remote_code") == "False", place
            opened += 1
    assert opened > 6


@pytest.mark.usefixtures("agreeing")
@pytest.mark.parametrize(
    "opened",
    [
        causal,
        read_config,
        TextTokenizer,
        lambda folder: load_encoder(folder, dtype=torch.float32, device=CPU),
        lambda folder: load_classifier(folder, ("a", "b"), new_head=True, dtype=torch.float32),
        lambda folder: inspect_checkpoint(str(folder)),
    ],
)
def test_code_of_a_checkpoint_never_runs(tmp_path: Path, opened: Callable[[Path], object]) -> None:
    folder = with_foreign_tokenizer(tiny_causal(tmp_path / "theirs", "gemma3"))
    fails(lambda: opened(folder), FOREIGN.format(folder))
    assert not (tmp_path / MARKER).exists()


@pytest.mark.usefixtures("agreeing")
def test_a_checkpoint_whose_code_transformers_has_too_needs_none(tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "theirs", "bert")
    plant_code(folder)
    change(folder / "config.json", auto_map={"AutoConfig": "theirs.X", "AutoModel": "theirs.X"})
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["theirs.X", None]})
    model = load_encoder(folder, dtype=torch.float32, device=CPU)
    assert model.config.model_type == "bert"
    assert TextTokenizer(folder).encode_texts(["the film"])[0]
    assert inspect_checkpoint(str(folder)).family == "bert"
    assert not (tmp_path / MARKER).exists()


@pytest.mark.usefixtures("agreeing")
def test_the_folder_of_a_gguf_file_is_no_way_in_either(tmp_path: Path) -> None:
    folder = with_foreign_architecture(tiny_causal(tmp_path / "theirs", "gemma3"))
    (folder / "tiny.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(Exception, match="cannot be opened as a GGUF checkpoint"):
        list(convert(folder / "tiny.gguf", tmp_path / "converted"))
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"^Expected whole weights in "):
        list(convert(folder / "tiny.gguf", tmp_path / "converted"))
    assert not (tmp_path / MARKER).exists()


def test_code_for_generating_is_left_alone(tmp_path: Path) -> None:
    folder = tiny_causal(tmp_path / "theirs", "gemma3")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(f"open({MARKER!r}, 'w')")
    change(folder / "generation_config.json", custom_generate="theirs", custom_pipelines={"a": {}})
    change(folder / "config.json", custom_pipelines={"a": {"impl": "theirs.X"}})
    assert causal(folder).config.model_type == "gemma3_text"


class Program:
    """A pickle that starts a process when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        code = f"open({MARKER!r}, 'w')"
        return subprocess.check_call, ([sys.executable, "-c", code],)


def pickled(folder: Path, content: Any) -> Path:
    torch.save(content, folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize("harmless", [True, False])
def test_weights_as_a_pickle_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, harmless: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tiny_causal(tmp_path / "theirs", "gemma3")
    content = load_file(folder / "model.safetensors") if harmless else Program()
    (folder / "model.safetensors").unlink()
    sentence = (
        f"The checkpoint {folder} holds its weights as a pickle (pytorch_model.bin), which can run "
        "code when it is read, so pollice reads safetensors alone. Name a revision with "
        "safetensors, or convert it once with transformers' save_pretrained."
    )
    fails(lambda: causal(pickled(folder, content)), sentence)
    assert not (tmp_path / MARKER).exists()


def test_a_pickle_beside_safetensors_is_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert causal(pickled(tiny_causal(tmp_path / "theirs", "gemma3"), Program()))
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize("named", ["pytorch_model.bin", "../other/model.safetensors", "/a.bin"])
def test_an_index_names_safetensors_of_its_own_folder_alone(tmp_path: Path, named: str) -> None:
    folder = pickled(tiny_causal(tmp_path / "theirs", "gemma3"), Program())
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(weights, named)}))
    sentence = (
        f"Expected safetensors files of the same folder in {index}, but it names {named!r}. "
        "Fetch the checkpoint again from where it was published."
    )
    fails(lambda: causal(folder), sentence)
    index.write_text('{"weight_map": 3}')
    sentence = (
        f"Expected a list of weights in {index}, but it cannot be read as one. Fetch the "
        "checkpoint again from where it was published."
    )
    fails(lambda: causal(folder), sentence)


def test_weights_in_several_files_are_taken(tmp_path: Path) -> None:
    folder = tiny_causal(tmp_path / "theirs", "gemma3")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = [f"model-{number}-of-2.safetensors" for number in (1, 2)]
    named = {name: files[row % 2] for row, name in enumerate(weights)}
    for file in files:
        content = {name: weights[name] for name in weights if named[name] == file}
        save_file(content, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": named}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert causal(folder).num_parameters() == sum(value.numel() for value in weights.values())


def test_a_configuration_names_no_weights_in_another_format(tmp_path: Path) -> None:
    folder = pickled(tiny_causal(tmp_path / "theirs", "gemma3"), Program())
    change(folder / "config.json", transformers_weights="adapter_model.bin")
    sentence = (
        f"The configuration of {folder} takes the weights from 'adapter_model.bin', but pollice "
        "reads safetensors alone. Take transformers_weights out of its config.json."
    )
    fails(lambda: causal(folder), sentence)


def test_an_adapter_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    folder = tiny_causal(tmp_path / "theirs", "gemma3")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    sentence = (
        f"Expected whole weights in {folder}, but there is an adapter (adapter_config.json). "
        "Merge it into its base with PEFT and save that, or take the adapter's files away."
    )
    fails(lambda: causal(folder), sentence)


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_layers_of_the_hub_are_refused(tmp_path: Path, key: str) -> None:
    folder = tiny_causal(tmp_path / "theirs", "gemma3")
    change(folder / "config.json", text_config={key: "somebody/kernel"})
    sentence = (
        f"The configuration of {folder} has its layers computed by code of the Hub ({key} is "
        "'somebody/kernel'), which pollice never runs. Take {} out of its config.json."
    ).replace("{}", key)
    fails(lambda: causal(folder), sentence)
    fails(lambda: inspect_checkpoint(str(folder)), sentence)


@pytest.mark.parametrize(
    "quantization",
    [
        {"quant_method": "gptq", "bits": 4},
        {"quant_method": "torchao", "quant_type": {"default": {"_type": "os.system"}}},
        {"quant_method": "compressed-tensors"},
        {"quant_method": "quark"},
        {"quant_method": ["os"]},
        "os.system",
    ],
)
def test_a_quantization_that_is_not_installed_is_said(tmp_path: Path, quantization: Any) -> None:
    folder = tiny_causal(tmp_path / "theirs", "gemma3")
    change(folder / "config.json", quantization_config=quantization)
    with pytest.raises(CheckpointError, match=rf"^The checkpoint {re.escape(str(folder))} \w+ "):
        causal(folder)


@pytest.mark.parametrize("name", ["os.system", "theirs.TheirTokenizer", "subprocess:Popen"])
def test_the_class_of_a_tokenizer_is_one_of_transformers_own(tmp_path: Path, name: str) -> None:
    folder = tiny_causal(tmp_path / "theirs", "gemma3")
    plant_code(folder)
    change(folder / "tokenizer_config.json", tokenizer_class=name)
    kind = type(TextTokenizer(folder).tokenizer)
    assert kind.__module__.startswith("transformers.")
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "access to attribute '__class__'"),
        ("{{ cycler.__init__.__globals__.os.system('x') }}", "access to attribute '__init__'"),
        ("{{ lipsum.__globals__.os }}", "access to attribute '__globals__'"),
        ("{% include '/etc/passwd' %}", "no loader for this environment"),
        ("{% import 'os' as os %}{{ os }}", "no loader for this environment"),
        ("{{ messages.append(1) }}", "access to attribute 'append'"),
        ("{{ '%s' % 1 / 0 }}", ""),
        ("{{ range(10 ** 9) }}", ""),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages[0]['role'] + 1 }}", "can only concatenate"),
        ("{{ open('x') }}", "'open' is undefined"),
        ("{% for", ""),
    ],
)
def test_a_chat_template_reaches_nothing_outside(tmp_path: Path, template: str, said: str) -> None:
    tokenizer = TextTokenizer(tiny_causal(tmp_path / "theirs", "gemma", chat=True))
    tokenizer.tokenizer.chat_template = template
    for turns in ([("user", "a")], [("system", "b"), ("user", "a")]):
        with pytest.raises(
            CheckpointError,
            match=r"^The chat template of this checkpoint refuses the prompt: .*"
            rf"{re.escape(said)}.*\. Use another checkpoint\.$",
        ):
            tokenizer.render_chat(turns)
