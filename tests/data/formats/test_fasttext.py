"""Lines of fastText, and files of one text a line."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pollice.data.formats.columns import Columns
from pollice.data.tables import read_columns
from pollice.errors import DataError


def read(path: Path, content: str) -> Columns:
    path.write_text(content, encoding="utf-8")
    return read_columns(path, lambda names: names)


@pytest.mark.parametrize("name", ["a.txt", "a.ft", "a.fasttext"])
def test_labels_are_taken_out_of_their_lines(tmp_path: Path, name: str) -> None:
    content = "__label__pos warm  soup\n\ncold soup __label__neg\r\nsoup, a__label__x\n"
    columns = read(tmp_path / name, content)
    assert columns.values == {
        "text": ["warm  soup", "cold soup", "soup, a__label__x"],
        "label": ["pos", "neg", None],
    }
    assert [columns.place(row) for row in (1, 2)] == ["line 3", "line 4"]
    assert columns.notes == ()


def test_several_labels_of_a_line_stay_visible(tmp_path: Path) -> None:
    columns = read(tmp_path / "a.txt", "__label__food __label__staff warm\n__label__food x\n")
    assert columns.values["label"] == ['["food", "staff"]', "food"]


def test_without_labels_each_line_is_a_text_and_that_is_said(tmp_path: Path) -> None:
    columns = read(tmp_path / "a.txt", "warm soup\ncold soup\n")
    assert columns.values == {"text": ["warm soup", "cold soup"]}
    assert columns.notes == ("a.txt has no __label__: each of its 2 lines is one text.",)


@pytest.mark.parametrize(
    ("first", "named"),
    [
        ("text,label", "commas"),
        ('"id";"text"', "semicolons"),
        ("text\tlabel", "tabs"),
        ("label | text", "bars"),
    ],
)
def test_a_table_named_as_text_is_refused(tmp_path: Path, first: str, named: str) -> None:
    """Its line of names would be judged as an opinion."""
    path = tmp_path / "a.txt"

    def choose(names: Sequence[str]) -> Sequence[str]:
        if "text" not in names:
            raise DataError("No text.")
        return ["text"]

    path.write_text(f"{first}\nwarm soup,pos\n")
    with pytest.raises(DataError) as raised:
        read_columns(path, choose)
    assert str(raised.value) == (
        f"Expected one text a line in {path}, but its first line names columns that are parted by "
        f"{named}. Rename it so that it ends in .csv."
    )
    path.write_text("A text, with a comma\ntext\n")
    assert len(read_columns(path, choose)) == 2
