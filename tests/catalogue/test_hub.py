"""What was trained comes to the Hub, here a server of the test's own, or the reason why not."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pollice.catalogue.hub import reserve_repository, upload_folder
from pollice.errors import SourceError
from stand_in_hub import Hub, serving_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    with serving_hub(monkeypatch) as server:
        yield server


def test_a_new_repository_is_private(hub: type[Hub]) -> None:
    reserve_repository("someone/opinions")
    (created,) = hub.created
    assert (created["organization"], created["name"]) == ("someone", "opinions")
    assert created.get("private") or created["visibility"] == "private"


def test_every_file_of_a_checkpoint_is_uploaded(hub: type[Hub], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    upload_folder(tmp_path, "someone/opinions")
    assert hub.files == {"config.json": b"{}", "model.safetensors": b"weights"}


def test_a_refusal_is_said_in_one_sentence(hub: type[Hub], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SourceError) as refused:
        upload_folder(tmp_path, "nobody/opinions")
    assert re.fullmatch(
        r"The Hub did not take push_to_hub nobody/opinions: .*404.*\. Name it owner/name, give a "
        r"token that may write there in HF_TOKEN, or leave push_to_hub out; what has been trained "
        r"is kept\.",
        str(refused.value),
    )
