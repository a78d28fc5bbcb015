"""A resume point of another run is refused; an option without effect never stops a resumption."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from pollice.errors import RunError
from pollice.method import NO_EFFECT, NOT_COMPARED, OPTIONS, formerly
from pollice.models.training.job import Identity


@dataclass(frozen=True, kw_only=True, config=OPTIONS)
class Options:
    """Options of each kind."""

    batch_size: int = 16
    long_text: str = Field(default="head", json_schema_extra=formerly("keep"))
    dtype: str = "auto"
    passes: int = Field(default=1, json_schema_extra=NO_EFFECT)
    checkpoint: str = Field(default="minilm", json_schema_extra=NOT_COMPARED)


def identity(rows: str = "abc", **options: Any) -> Identity:
    return Identity(options=Options(**options), facts={"rows": rows, "labels": ("a", "b")})


def test_it_holds_the_facts_and_the_options_that_count() -> None:
    assert identity(passes=7, checkpoint="other").values() == {
        "rows": "abc",
        "labels": ["a", "b"],
        "batch_size": 16,
        "long_text": "head",
        "dtype": "auto",
    }


def test_further_facts_are_checked_too(tmp_path: Path) -> None:
    more = identity().with_facts(processes=2)
    assert more.values() == {**identity().values(), "processes": 2}
    with pytest.raises(RunError, match=r"processes is 'not set' there and 2 here\."):
        more.check(identity().values(), tmp_path)


def test_the_same_identity_is_accepted(tmp_path: Path) -> None:
    identity().check(identity(passes=3, checkpoint="other").values(), tmp_path)


@pytest.mark.parametrize(
    "found",
    [
        {"passes": 4, "checkpoint": "elsewhere"},
        {"long_text": ..., "keep": "head"},
        {"dtype": ...},
    ],
    ids=["more was compared", "an older name", "dtype was not written"],
)
def test_a_resume_point_of_an_older_version_is_accepted(
    found: Mapping[str, Any], tmp_path: Path
) -> None:
    older = {**identity().values(), **found}
    kept = {name: value for name, value in older.items() if value is not ...}
    identity().check(kept, tmp_path)


@pytest.mark.parametrize(
    ("found", "key", "there", "here"),
    [
        (identity(batch_size=8).values(), "batch_size", "8", "16"),
        (identity(dtype="float32").values(), "dtype", "'float32'", "'auto'"),
        (identity("xyz", batch_size=8).values(), "rows", "'xyz'", "'abc'"),
        ({**identity().values(), "processes": 2}, "processes", "2", "'not set'"),
        ({"rows": "abc", "labels": ["a", "b"]}, "batch_size", "'not set'", "16"),
    ],
)
def test_another_identity_is_refused_by_name(
    found: Mapping[str, Any], key: str, there: str, here: str, tmp_path: Path
) -> None:
    sentence = (
        f"The resume point in {tmp_path} belongs to another run: {key} is {there} there and {here} "
        "here. Go back to how it was, or delete that folder to begin anew."
    )
    with pytest.raises(RunError, match=f"^{re.escape(sentence)}$"):
        identity().check(found, tmp_path)
