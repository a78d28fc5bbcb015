"""The columns of a table that have a role."""

import re
from pathlib import Path

import pytest

from pollice.data.columns import ReadOptions, column_notes, find_columns
from pollice.data.reading import read_dataset, read_texts
from pollice.errors import DataError

PATH = Path("reviews.csv")


def found(*names: str, labelled: bool = True, **options: str) -> dict[str, str]:
    return find_columns(PATH, names, ReadOptions(**options), labelled=labelled)  # type: ignore[arg-type]


def test_no_column_is_read_where_none_is_asked_for() -> None:
    names = ("text", "label", "id", "split")
    assert found(*names, id_column="none", split_column="None") == {
        "text": "text",
        "label": "label",
    }
    assert found(*names, labelled=False, label_column="none") == {"text": "text", "id": "id"}


def test_a_column_may_be_called_none() -> None:
    assert found("text", "label", "None", "id", id_column="none")["id"] == "None"


def test_a_label_column_is_needed_to_learn() -> None:
    with pytest.raises(DataError, match=r"^Expected the label column 'none' in reviews\.csv"):
        found("text", "label", label_column="none")


def test_two_columns_of_one_name_are_refused_where_it_matters() -> None:
    sentence = (
        "Expected one column named 'label' in reviews.csv, but its columns 2 and 3 have that name. "
        "Rename one of them, or name another with --label-column."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        found("text", "label", "label")
    assert found("text", "label", "", "", "note", "note") == {"text": "text", "label": "label"}


def test_other_columns_that_could_have_the_role_are_named() -> None:
    names = ("title", "Review", "comment", "category", "rating", "price")
    options = ReadOptions()
    taken = find_columns(PATH, names, options, labelled=True)
    assert column_notes(PATH, names, options, taken) == (
        "The text column of reviews.csv is 'Review'. Others could be it too: 'title', 'comment'. "
        "Name another with --text-column.",
        "The label column of reviews.csv is 'category'. Others could be it too: 'rating'. Name "
        "another with --label-column.",
    )
    named = ReadOptions(text_column="Review", label_column="category")
    assert column_notes(PATH, names, named, taken) == ()


def test_rows_are_numbered_and_parts_left_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text,label,split\n7,warm,pos,1\n7,cold,neg,2\n")
    options = ReadOptions(id_column="none", split_column="none")
    dataset = read_dataset(str(path), options)
    assert (dataset.ids, dataset.parts) == (("0", "1"), None)
    assert dataset.reading is not None
    assert (dataset.reading.text_column, dataset.reading.label_column) == ("text", "label")


def test_parts_of_file_names_are_left_on_demand(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,pos\nb,neg\n")
    (tmp_path / "test.csv").write_text("text,label\nc,pos\n")
    assert read_dataset(str(tmp_path)).parts == ("test", "train", "train")
    assert read_dataset(str(tmp_path), ReadOptions(split_column="none")).parts is None


def test_a_preferred_column_comes_before_usual_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,words\na,b\n")
    assert read_texts(str(path), preferred={"text": "Words"}).texts == ("b",)
    other = read_texts(str(path), preferred={"text": "review text"})
    assert other.texts == ("a",)
    assert other.notes[1:] == (
        f"The predictor learned from the column 'review text', but {path} has none: 'text' is "
        "judged. Name another with --text-column.",
    )


def test_a_very_long_name_is_shown_in_part(tmp_path: Path) -> None:
    long = "x" * 5000
    sentence = (
        "Expected a text column named text, review, content, sentence, comment or alike in "
        f"reviews.csv, but its columns are {'x' * 100}..., label. Name it with --text-column (in "
        "Python: text_column)."
    )
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        found(long, "label")
    path = tmp_path / "a.csv"
    path.write_text(f"text,label,{long}\nwarm,pos,1\ncold,neg,2\n")
    assert read_dataset(str(path)).notes == (
        "a.csv: texts from the column 'text', labels from the column 'label'; not used: "
        f"'{'x' * 100}...'.",
    )


def test_many_names_are_counted_and_none_is_said() -> None:
    with pytest.raises(DataError, match=r"but its columns are c0, c1, .*, c99 and 20 more\. Name"):
        found(*[f"c{number}" for number in range(120)])
    with pytest.raises(DataError, match=r"but it has no columns with names\. Name it"):
        found("", "")
