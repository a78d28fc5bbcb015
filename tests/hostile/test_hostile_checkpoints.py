"""Checkpoints that are broken, cut, swapped or made to harm: each is refused in one sentence."""

import hashlib
import json
import os
import pickle
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import Invoke
from foreign_code import MARKER, change
from pollice.catalogue.hub import check_blobs
from pollice.errors import UserError
from pollice.models.causal import adapters
from pollice.models.causal.adapters import AdapterShape
from pollice.models.pretrained.checkpoint_files import copy_checkpoint
from pollice.models.pretrained.tokenizer import TextTokenizer
from pollice.models.pretrained.weights import load_causal, load_classifier, load_encoder
from tiny import tiny_causal, tiny_encoder

CPU = torch.device("cpu")
WEIGHTS = "model.safetensors"


class Program:
    """A pickle that writes a file when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (MARKER,)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two checkpoints that are as they should be."""
    home = tmp_path_factory.mktemp("made")
    tiny_causal(home / "causal", "gemma3")
    tiny_encoder(home / "encoder", "bert")
    return home


@pytest.fixture
def causal(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a causal checkpoint to be spoiled; the working directory is beside it."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(made / "causal", tmp_path / "theirs"))


@pytest.fixture
def encoder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "encoder", tmp_path / "theirs"))


def opened(folder: Path) -> Any:
    """Open a causal checkpoint as a method does."""
    TextTokenizer(folder)
    return load_causal(folder, dtype=torch.float32, device=CPU)


def refused(call: Callable[[], object], said: str) -> None:
    """Expect an error of one line that exits with 2 and says so."""
    with pytest.raises(UserError) as caught:
        call()
    sentence = str(caught.value)
    assert re.search(said, sentence), sentence
    assert len(sentence.splitlines()) == 1
    assert sentence.endswith(".")
    assert caught.value.exit_code == 2
    assert not Path(MARKER).exists()


def deep(levels: int = 150_000) -> str:
    return "[" * levels + "]" * levels


WHOLE = "Expected a whole number from "
CONFIGURATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown activation": ({"hidden_activation": "nope"}, "nope"),
    "no heads": ({"num_attention_heads": 0}, f"{WHOLE}1 to 4,096 for num_attention_heads .*0"),
    "heads below none": ({"num_attention_heads": -4}, f"{WHOLE}.*found -4"),
    "half a head": ({"num_key_value_heads": 0.5}, f"{WHOLE}.*found 0.5"),
    "an unknown data type": ({"dtype": "float99"}, "float99"),
    "a width as text": ({"hidden_size": "32"}, f"{WHOLE}1 to 1,000,000 for hidden_size .*'32'"),
    "a width that is true": ({"hidden_size": True}, f"{WHOLE}.*found True"),
    "a huge width": ({"hidden_size": 10**12}, f"{WHOLE}.*found 1000000000000"),
    "another width": ({"hidden_size": 36}, "weights have other shapes than its config.json gives"),
    "10 million layers": ({"num_hidden_layers": 10_000_000}, f"{WHOLE}1 to 1,000 for num_hidden"),
    "no layers": ({"num_hidden_layers": 0}, f"{WHOLE}1 to 1,000 for num_hidden_layers"),
    "10 million layers inside": (
        {"text_config": {"num_hidden_layers": 10_000_000}},
        f"{WHOLE}1 to 1,000 for num_hidden_layers",
    ),
    "a list of layers": ({"num_hidden_layers": [2, -1]}, f"{WHOLE}.*found -1"),
    "heads as a table": ({"num_attention_heads": {"a": 1}}, f"{WHOLE}.*found {{'a': 1}}"),
    "words of a huge number": ({"vocab_size": 10**400}, f"{WHOLE}.*found 10{{59}}\\.\\.\\."),
    "an unknown architecture": ({"model_type": "theirs"}, "theirs"),
    "labels as a number": ({"id2label": 3}, "has no configuration that can be read"),
    "kinds of layers as text": ({"layer_types": "x"}, "has no configuration|cannot be"),
}


@pytest.mark.parametrize("case", CONFIGURATIONS)
def test_a_broken_configuration_is_refused(case: str, causal: Path) -> None:
    entries, said = CONFIGURATIONS[case]
    change(causal / "config.json", layer_types=None)
    change(causal / "config.json", **entries)
    refused(lambda: opened(causal), said)


@pytest.mark.parametrize("case", list(CONFIGURATIONS)[:15])
def test_inspect_says_a_broken_configuration(case: str, causal: Path, invoke: Invoke) -> None:
    entries, _ = CONFIGURATIONS[case]
    change(causal / "config.json", **entries)
    code, output, error = invoke("inspect", str(causal))
    if case == "another width":  # without weights there is nothing to compare it with
        assert code == 0
        return
    assert (code, output) == (2, "")
    assert "Traceback" not in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "content",
    [deep(), "[]", '"a"', "{", "", "{'a': 1}", '{"model_type": 3}', '{"model_type": ["bert"]}'],
    ids=["deep", "list", "text", "cut", "empty", "python", "number", "kinds"],
)
def test_a_configuration_that_is_none_is_refused(causal: Path, content: str) -> None:
    (causal / "config.json").write_text(content)
    refused(lambda: opened(causal), "has no configuration that can be read")


def without_layers(folder: Path, layers: int) -> None:
    change(folder / "config.json", num_hidden_layers=layers, layer_types=None)


def test_layers_that_the_configuration_leaves_out_are_said(causal: Path) -> None:
    without_layers(causal, 1)
    sentence = (
        f"Expected a model of all the layers that the checkpoint {causal} has weights for, but its "
        "configuration gives 1 in model.layers, without a place for "
        "model.layers.1.input_layernorm.weight. Fetch its config.json again from where it was "
        "published."
    )
    refused(lambda: opened(causal), f"^{re.escape(sentence)}$")


def test_layers_without_weights_are_said(causal: Path) -> None:
    without_layers(causal, 5)
    refused(lambda: opened(causal), "has no weights for model.layers.3.")


@pytest.mark.parametrize("layers", [1, 3])
def test_layers_of_an_encoder_must_fit(encoder: Path, layers: int) -> None:
    change(encoder / "config.json", num_hidden_layers=layers)
    refused(
        lambda: load_encoder(encoder, dtype=torch.float32, device=CPU),
        "all the layers" if layers == 1 else "has no weights for",
    )
    refused(
        lambda: load_classifier(encoder, ("a", "b"), new_head=True, dtype=torch.float32),
        "all the layers" if layers == 1 else "has no weights for",
    )


def changed_weights(folder: Path, **weights: torch.Tensor | None) -> None:
    content = {**load_file(folder / WEIGHTS), **weights}
    kept = {name: value for name, value in content.items() if value is not None}
    save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})


NORM = "model.norm.weight"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(causal: Path, number: float) -> None:
    weights = load_file(causal / WEIGHTS)[NORM]
    weights[3] = number
    changed_weights(causal, **{NORM: weights})
    sentence = (
        f"Expected finite numbers in the weights of {causal}, but {NORM} holds NaN or infinity. "
        "Fetch the checkpoint again from where it was published."
    )
    refused(lambda: opened(causal), f"^{re.escape(sentence)}$")


def test_missing_weights_are_refused(causal: Path) -> None:
    changed_weights(causal, **{NORM: None})
    refused(lambda: opened(causal), f"has no weights for {NORM}")


def test_weights_of_another_shape_are_refused(causal: Path) -> None:
    changed_weights(causal, **{NORM: torch.ones(7)})
    refused(lambda: opened(causal), "its weights have other shapes than its config.json gives")


def test_weights_that_a_layer_has_no_place_for_are_refused(causal: Path) -> None:
    name = "model.layers.0.self_attn.q_proj.bias"
    changed_weights(causal, **{name: torch.ones(32)})
    refused(lambda: opened(causal), f"without a place for {name}")


def test_weights_of_another_head_are_no_fault(encoder: Path) -> None:
    changed_weights(encoder, **{"cls.predictions.bias": torch.ones(3)})
    assert load_encoder(encoder, dtype=torch.float32, device=CPU)


def test_more_words_than_embeddings_are_refused(causal: Path, made: Path) -> None:
    path = causal / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["extra"] = 5_000
    path.write_text(json.dumps(content))
    words = json.loads((causal / "config.json").read_text())["vocab_size"]
    sentence = (
        f"Expected a tokenizer of at most {words:,} words, as many as the model of {causal} has "
        "embeddings, but found a word with the number 5,000. Put the tokenizer that the model was "
        "trained with there."
    )
    refused(lambda: opened(causal), f"^{re.escape(sentence)}$")


def test_a_configuration_of_more_words_than_embeddings_is_refused(causal: Path) -> None:
    change(causal / "config.json", vocab_size=50_000)
    refused(lambda: opened(causal), "its weights have other shapes than its config.json gives")


def plain_pickle(path: Path, content: Any) -> None:
    path.write_bytes(pickle.dumps(content))


def zipped_pickle(path: Path, content: Any) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(content))


@pytest.mark.parametrize("write", [plain_pickle, zipped_pickle], ids=["plain", "zip"])
@pytest.mark.parametrize("content", [{"a": 1}, Program()], ids=["harmless", "program"])
@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl"]
)
def test_a_pickle_alone_is_refused(
    causal: Path, write: Callable[[Path, Any], None], content: Any, name: str
) -> None:
    (causal / WEIGHTS).unlink()
    write(causal / name, content)
    refused(lambda: opened(causal), f"holds its weights as a pickle \\({name}\\), which can run")


@pytest.mark.parametrize("write", [plain_pickle, zipped_pickle], ids=["plain", "zip"])
def test_a_pickle_under_the_name_of_safetensors_is_refused(
    causal: Path, write: Callable[[Path, Any], None]
) -> None:
    write(causal / WEIGHTS, Program())
    sentence = (
        f"Expected safetensors in {causal / WEIGHTS}, but found a pickle, which can run code when "
        "it is read. Fetch the checkpoint again from where it was published."
    )
    refused(lambda: opened(causal), f"^{re.escape(sentence)}$")


def test_an_index_of_pickles_is_refused(causal: Path) -> None:
    weights = load_file(causal / WEIGHTS)
    (causal / WEIGHTS).unlink()
    part = "pytorch_model-00001-of-00001.bin"
    plain_pickle(causal / part, Program())
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, part)}
    (causal / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    refused(lambda: opened(causal), "holds its weights as a pickle")
    (causal / part).unlink()
    refused(lambda: opened(causal), "holds its weights as a pickle")


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda content: content[:-100],
    "cut in the header": lambda content: content[:40],
    "empty": lambda content: b"",
    "random": lambda content: bytes(range(256)) * 8,
    "a header too long": lambda content: (2**63).to_bytes(8, "little") + content[8:],
    "a header of brackets": lambda content: (90_000).to_bytes(8, "little") + b"{" * 90_000,
    "web page": lambda content: b"<!doctype html><title>Sign in</title>",
}


@pytest.mark.parametrize("case", SPOILED)
def test_damaged_weights_are_refused(causal: Path, case: str) -> None:
    path = causal / WEIGHTS
    path.write_bytes(SPOILED[case](path.read_bytes()))
    refused(lambda: opened(causal), re.escape(str(causal)))


def sharded(folder: Path, part: str) -> None:
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).rename(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, part)}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "part",
    ["../outside.safetensors", "/outside.safetensors", "a/b.safetensors", "x.bin", "..", ""],
)
def test_an_index_never_points_outside(causal: Path, part: str) -> None:
    shutil.copy(causal / WEIGHTS, causal.parent / "outside.safetensors")
    sharded(causal, part)
    refused(lambda: opened(causal), f"names {re.escape(repr(part))}")


def test_an_index_of_a_missing_part_is_said(causal: Path) -> None:
    sharded(causal, "model-00002-of-00002.safetensors")
    refused(lambda: opened(causal), re.escape(str(causal)))


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.json"])
def test_a_link_out_of_the_folder_is_not_followed(causal: Path, name: str) -> None:
    outside = causal.parent / "outside"
    (causal / name).rename(outside)
    (causal / name).symlink_to("../outside")
    sentence = (
        f"Expected a checkpoint's own files in {causal}, but {name} is a link to {outside}, "
        "outside of it. Put the file itself there."
    )
    refused(lambda: opened(causal), f"^{re.escape(sentence)}$")
    target = causal.parent / "target"
    target.mkdir()
    refused(lambda: copy_checkpoint(causal, target), f"^{re.escape(sentence)}$")
    assert list(target.iterdir()) == []


def test_the_links_of_the_hubs_cache_are_followed(causal: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "models--x" / "blobs", tmp_path / "models--x" / "snapshots" / "0"
    shutil.copytree(causal, blobs)
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert opened(snapshot)
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("../../../theirs/config.json")
    refused(lambda: opened(snapshot), "config.json is a link to")


def test_a_changed_file_of_the_hubs_cache_is_refused(tmp_path: Path) -> None:
    """Large files are named by their sha256 there; of small ones the name says nothing sure."""
    content = b'{"a": 1}'
    name = hashlib.sha256(content).hexdigest()
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "0"
    for folder in (blobs, snapshot):
        folder.mkdir(parents=True)
    (blobs / name).write_bytes(content)
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{name}")
    (blobs / ("0" * 40)).write_bytes(content)
    (snapshot / "config.json").symlink_to(f"../../blobs/{'0' * 40}")
    check_blobs(snapshot)
    (blobs / name).write_bytes(content.replace(b"1", b"2"))
    sentence = (
        f"Expected the file that the Hub gave for {snapshot}, but {blobs / name} in its cache was "
        "changed or damaged since. Delete that file, and it is fetched again."
    )
    refused(lambda: check_blobs(snapshot), f"^{re.escape(sentence)}$")


@pytest.mark.parametrize("name", ["tokenizer.pickle", "vocab.pkl", "tokenizer.bin", "vocab.bin"])
def test_a_tokenizer_as_a_pickle_is_refused(causal: Path, name: str) -> None:
    (causal / "tokenizer.json").unlink()
    plain_pickle(causal / name, Program())
    refused(lambda: opened(causal), f"holds its tokenizer as a pickle \\({name}\\), which can run")


@pytest.mark.parametrize("content", [b"{", b"[]", bytes(range(256)), deep().encode(), b"{}"])
def test_a_damaged_tokenizer_is_refused(causal: Path, content: bytes) -> None:
    (causal / "tokenizer.json").write_bytes(content)
    refused(lambda: opened(causal), "has no tokenizer")


def adapter(causal: Path) -> tuple[Any, Path]:
    """Return a base, and the folder of an adapter for it."""
    folder = causal.parent / "adapter"
    shape = AdapterShape(rank=2, alpha=4, dropout=0.0, targets="all")
    tuned = adapters.attach(opened(causal), shape, seed=0)
    adapters.save_adapter(tuned, folder, base_sha256="a")
    return opened(causal), folder


def pickled_adapter(path: Path) -> None:
    path.unlink()
    plain_pickle(path.with_name("adapter_model.bin"), Program())


def adapter_of_nan(path: Path) -> None:
    weights = load_file(path)
    name = sorted(weights)[0]
    save_file({**weights, name: weights[name] * float("nan")}, path, metadata={"format": "pt"})


def adapter_of_fewer_layers(path: Path) -> None:
    weights = load_file(path)
    del weights[sorted(weights)[0]]
    save_file(weights, path, metadata={"format": "pt"})


def adapter_of_another_rank(path: Path) -> None:
    weights = {name: torch.cat([value, value]) for name, value in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (pickled_adapter, "^Expected an adapter as safetensors, but "),
        (adapter_of_nan, "holds NaN or infinity"),
        (adapter_of_fewer_layers, "^Expected an adapter for the layers of its base in "),
        (adapter_of_another_rank, "has an adapter that cannot be loaded"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "has an adapter that cannot be"),
        (lambda path: plain_pickle(path, Program()), "has an adapter that cannot be loaded"),
    ],
    ids=["pickle", "nan", "fewer layers", "another rank", "cut short", "renamed pickle"],
)
def test_a_broken_adapter_is_refused(
    causal: Path, spoil: Callable[[Path], None], said: str
) -> None:
    base, folder = adapter(causal)
    spoil(folder / "adapter_model.safetensors")
    refused(lambda: adapters.load_adapter(base, folder), said)


def test_a_copy_shares_no_file_with_its_source(causal: Path) -> None:
    """A change of one is no change of the other."""
    target = causal.parent / "target"
    target.mkdir()
    copy_checkpoint(causal, target)
    assert (target / WEIGHTS).read_bytes() == (causal / WEIGHTS).read_bytes()
    assert not (target / WEIGHTS).samefile(causal / WEIGHTS)


@pytest.mark.skipif(os.name != "posix", reason="files are linked on POSIX systems alone")
def test_a_large_file_of_our_own_cache_is_linked_and_no_longer_written(
    causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, other = causal.parent / "target", causal.parent / "other"
    for folder in (target, other):
        folder.mkdir()
    size = (causal / WEIGHTS).stat().st_size
    copy_checkpoint(causal, other, link_from=size)  # it is not in the cache
    monkeypatch.setenv("POLLICE_CACHE", str(causal.parent))
    copy_checkpoint(causal, target, link_from=size)
    assert (target / WEIGHTS).samefile(causal / WEIGHTS)
    assert (target / WEIGHTS).stat().st_mode & 0o222 == 0
    assert not (other / WEIGHTS).samefile(causal / WEIGHTS)
    assert not (target / "config.json").samefile(causal / "config.json")
