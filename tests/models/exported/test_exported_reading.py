"""An exported predictor reads the very same token ids, and knows its files."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from pollice.errors import OptionError, RunError
from pollice.models.encoder.reader import Reader
from pollice.models.exported.classifier import ExportedClassifier
from pollice.models.exported.forms import FORMS, check_packages
from pollice.models.pieces import Frame
from pollice.models.plain_tokenizer import PlainTokenizer
from pollice.models.pretrained.tokenizer import TextTokenizer
from tiny import ENCODER_FAMILIES, tiny_encoder

TEXTS = (
    "The film was wonderful",
    "",
    " ",
    "[SEP] </s> <s> [CLS]",
    "Grün, café, 北京, \U0001f600 \ud800 \x00 end",
    "the story with actors " * 30,
)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
@pytest.mark.parametrize("keep", ["head_tail", "chunks"])
def test_the_token_ids_are_the_same_from_the_saved_tokenizer(
    tmp_path: Path, family: str, keep: Literal["head_tail", "chunks"]
) -> None:
    tokenizer = TextTokenizer(tiny_encoder(tmp_path / "checkpoint", family))
    reader = Reader(tokenizer, max_tokens=24, keep=keep, prefix="it was: ")
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer.plain.to_json(), encoding="utf-8")
    again = PlainTokenizer(path.read_text(encoding="utf-8"), tokenizer.control_tokens)
    expected, found = reader.read(TEXTS), reader.frame.read(TEXTS, again.encode_texts)
    assert found.tokens == expected.tokens
    assert found.owners.tolist() == expected.owners.tolist()
    assert found.truncated.tolist() == expected.truncated.tolist()
    assert 20 < max(map(len, found.tokens)) <= 24


def test_a_prefix_stays_before_whatever_is_kept() -> None:
    frame = Frame(prefix="p", prefixed=(9,), lead=(1,), trail=(2,), max_tokens=5, keep="tail")
    read = frame.read(["abcd"], lambda texts: [[9, *range(10, 10 + len(texts[0]) - 1)]])
    assert read.tokens == [[1, 9, 12, 13, 2]]
    assert read.truncated.tolist() == [True]
    assert replace(frame, max_tokens=9).room == 6


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    sentence = (
        "The form openvino-int8 needs nncf, which is not installed. Install it with: "
        "pip install 'pollice[openvino]'."
    )
    form = FORMS["openvino-int8"]
    with pytest.raises(OptionError, match=f"^{re.escape(sentence)}$"):
        check_packages(form, form.makers)


def test_settings_of_something_else_are_refused(tmp_path: Path) -> None:
    content = {"form": "onnx", "frame": 1, "control": [], "label_names": ["a", "b"]}
    path = tmp_path / "exported.json"
    path.write_text(json.dumps(content))
    sentence = (
        f"Expected the settings of an export in {path}, but they cannot be read as such. "
        "Copy the predictor again from where it was saved."
    )
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        ExportedClassifier.load(tmp_path)
