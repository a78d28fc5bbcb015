"""The command explain, with the predictor of a finished comparison."""

import io
import json
import sys
from pathlib import Path

import pytest

from conftest import Invoke


def test_words_are_shown_with_signs_for_readers_without_colours(
    invoke: Invoke, finished: Path
) -> None:
    code, said, _ = invoke("explain", str(finished / "baseline"), "a lovely film, not dull")
    assert code == 0
    first, *_ = said.splitlines()
    assert first.split()[0] in ("neg", "pos")
    assert "lovely[" in said
    assert "dull[" in said
    assert "exact weights" in said


def test_json_has_every_word_with_its_place(invoke: Invoke, finished: Path) -> None:
    code, said, _ = invoke(
        "explain",
        str(finished / "words" / "predictor"),
        "Lovely. Dull.",
        "--label",
        "neg",
        "--json",
    )
    assert code == 0
    found = json.loads(said)
    assert found["label"] == "neg"
    assert found["exact"] is True
    assert found["truncated"] is False
    weights = {word["text"]: word["weight"] for word in found["words"]}
    assert weights["Dull"] > 0 > weights["Lovely"]
    assert [sentence["text"] for sentence in found["sentences"]] == ["Lovely.", "Dull."]


def test_a_text_is_read_from_standard_input(
    invoke: Invoke, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("schön lovely\n".encode())))
    code, said, _ = invoke("explain", str(finished / "baseline"), "-")
    assert code == 0
    assert "schön" in said


def test_control_characters_of_a_text_are_shown(invoke: Invoke, finished: Path) -> None:
    _, said, _ = invoke("explain", str(finished / "baseline"), "lovely \x1b[31m film")
    assert "\x1b" not in said


def test_a_wrong_label_is_refused(invoke: Invoke, finished: Path) -> None:
    code, _, said = invoke("explain", str(finished / "baseline"), "a", "--label", "good")
    assert code == 2
    assert "Expected --label to be one of neg, pos, but found 'good'." in said
